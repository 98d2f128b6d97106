"""Limit the training time of a generator, and log its losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

#: Time between progress lines in seconds.
_LOG_INTERVAL = 15.0


@dataclass
class Budget:
    """Limit on the wall-clock time of a training run, and log of its steps and losses.

    A time limit makes the cost of a training run predictable on any machine. However, training is
    not reproducible, although it has a random seed, because the number of steps varies. Samples
    from a checkpoint are reproducible.

    Parameters
    ----------
    seconds
        Training time of all stages together.
    echo
        Function that prints a progress line, called every 15 seconds.
    log
        Maps each stage to its numbers of steps and seconds and its losses.
    """

    seconds: float
    echo: Callable[[str], None] = print
    log: dict[str, dict[str, float]] = field(default_factory=dict)
    _losses: dict[str, torch.Tensor] = field(default_factory=dict)

    def steps(self, stage: str, share: float = 1.0) -> Iterator[float]:
        """Yield the progress, from 0 to 1, before each step until the time of the stage is over.

        Parameters
        ----------
        stage
            Name of the stage in the log.
        share
            Fraction of ``seconds`` for this stage, in (0, 1].
        """
        start = last = time.monotonic()
        limit, steps = self.seconds * share, 0
        self._losses = {}
        while (now := time.monotonic()) - start < limit:
            yield (now - start) / limit
            steps += 1
            if now - last > _LOG_INTERVAL:
                last = now
                self.echo(f"  {stage}: {self._record(stage, steps, now - start)}")
        self._record(stage, steps, time.monotonic() - start)

    def report(self, **losses: torch.Tensor) -> None:
        """Update the running means, over about 50 steps, of the losses of the current stage."""
        for name, loss in losses.items():
            value = loss.detach()
            self._losses[name] = torch.lerp(value, self._losses.get(name, value), 0.98)

    def _record(self, stage: str, steps: int, seconds: float) -> dict[str, float]:
        losses = {name: float(loss) for name, loss in self._losses.items()}
        self.log[stage] = {"steps": steps, "seconds": round(seconds, 1), **losses}
        return self.log[stage]

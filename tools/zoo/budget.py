"""Training time and running losses of a generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

_LOG_INTERVAL = 15.0


@dataclass
class Budget:
    """Wall-clock training budget with a log of steps and losses.

    A time limit makes the cost of a training run predictable on any machine. The price: training is
    seeded, but it does not repeat bit for bit. Samples of a given checkpoint do.

    Parameters
    ----------
    seconds
        Training time over all stages.
    echo
        Receives a progress line every 15 seconds.
    """

    seconds: float
    echo: Callable[[str], None] = print
    log: dict[str, dict[str, float]] = field(default_factory=dict)
    _losses: dict[str, torch.Tensor] = field(default_factory=dict)

    def steps(self, stage: str, share: float = 1.0) -> Iterator[float]:
        """Yield the progress from 0 to 1 once per step until the stage's time is used up.

        Parameters
        ----------
        stage
            Name of the stage in the log.
        share
            Part of ``seconds`` that this stage may use, in (0, 1].
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
        """Update the running means of the current stage's losses (over about fifty steps)."""
        for name, loss in losses.items():
            value = loss.detach()
            self._losses[name] = torch.lerp(value, self._losses.get(name, value), 0.98)

    def _record(self, stage: str, steps: int, seconds: float) -> dict[str, float]:
        losses = {name: float(loss) for name, loss in self._losses.items()}
        self.log[stage] = {"steps": steps, "seconds": round(seconds, 1), **losses}
        return self.log[stage]

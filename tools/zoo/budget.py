"""How long a generator may train, and what became of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

_SAY_EVERY = 15.0


@dataclass
class Budget:
    """Seconds of training, with a log of steps and losses.

    The budget is wall-clock time rather than steps: what a small machine can afford is known in
    minutes, and a GPU makes more of the same minutes. So a training is seeded, but not repeatable
    to the bit; samples of a checkpoint are.

    Parameters
    ----------
    seconds
        Wall-clock time in all.
    say
        AnswerSummary a line of progress now and then.
    """

    seconds: float
    say: Callable[[str], None] = print
    log: dict[str, dict[str, float]] = field(default_factory=dict)

    def steps(self, stage: str, share: float = 1.0) -> Iterator[float]:
        """Progress from 0 towards 1, once a step, until this share of the seconds is used up."""
        start = said = time.monotonic()
        entry = self.log[stage] = {"steps": 0, "seconds": 0.0}
        limit = self.seconds * share
        while (now := time.monotonic()) - start < limit:
            yield (now - start) / limit
            entry["steps"] += 1
            entry["seconds"] = round(time.monotonic() - start, 1)
            if now - said > _SAY_EVERY:
                said = now
                self.say(f"  {stage}: " + ", ".join(f"{k} {v:.4g}" for k, v in entry.items()))

    def report(self, **losses: torch.Tensor) -> None:
        """Keep running means (over about fifty steps) of the latest stage's losses."""
        entry = self.log[next(reversed(self.log))]
        for name, loss in losses.items():
            value = float(loss.detach())
            entry[name] = value + 0.98 * (entry.get(name, value) - value)

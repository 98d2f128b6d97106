"""Margin between the two most probable origins (Scheffer et al., 2001): p_(1)(x) − p_(2)(x)."""

from __future__ import annotations

import numpy as np

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import OpenSetScore
from whichgen.openset.max_probability import softmax_probabilities


class Margin(OpenSetScore):
    """The largest probability minus the second largest (0 for a single origin), in [0, 1]."""

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Score the images of a batch: float64 array (n,)."""
        ranked = np.sort(softmax_probabilities(output.logits), axis=1)
        second = ranked[:, -2] if ranked.shape[1] > 1 else 0.0
        return np.asarray(ranked[:, -1] - second)

"""Maximum logit (Hendrycks et al., 2022): max_j z_j(x).

Logits still rank images whose probabilities are all rounded to 1.
"""

from __future__ import annotations

import numpy as np

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import OpenSetScore


class MaxLogit(OpenSetScore):
    """The largest logit."""

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Score the images of a batch: float64 array (n,)."""
        return np.asarray(np.max(output.logits, axis=1), dtype=np.float64)

"""Detect images whose features are far outside the range of the training images.

The range is that of the model's *exemplars*, the images whose features are stored in the model. For
view v (a feature block), r_v is the root mean square of the features after standardization with the
mean and standard deviation of the exemplars. It is divided by the largest r_v among the exemplars;
the distance of an image is the mean of these ratios over views::

    d(x) = mean_v r_v(x) / max_e r_v(e)

An image is outside the range if its distance is greater than :data:`RANGE_FACTOR` times the largest
distance among the exemplars; never if there are fewer than :data:`MIN_EXEMPLARS` exemplars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Minimum number of exemplars; the range of fewer exemplars is not meaningful.
MIN_EXEMPLARS = 20

#: Ratio of an image's distance to the largest distance among the exemplars, above which the image
#: is outside the range. With the built-in model, the ratio was at most 1.2 for 40 images from a
#: held-out source (from 2022), 1.3 for a page of text, 1.6 for noise and 2.8 for a single color.
RANGE_FACTOR = 1.25

#: Note on an image outside the training range.
FAR_NOTE = (
    "Unlike the training images: the features of the image are far outside their range. Do not "
    "rely on the answer."
)


class TrainingRange:
    """Range of the features of a model's exemplars.

    Parameters
    ----------
    features
        Features of the exemplars, with the views concatenated: float array (n, d).
    widths
        Number of features of each view; they sum to d.
    """

    def __init__(self, features: np.ndarray, widths: Sequence[int]) -> None:
        x = features.astype(np.float32)
        self._ends = np.cumsum([0, *widths])
        self._mean, self._scale = x.mean(axis=0), x.std(axis=0)
        self._scale[self._scale == 0] = 1
        rms = self._compute_rms(x)
        self._largest = np.maximum(rms.max(axis=0), np.finfo(np.float32).tiny)
        self._limit = np.inf
        if len(x) >= MIN_EXEMPLARS:
            self._limit = RANGE_FACTOR * float((rms / self._largest).mean(axis=1).max())

    def is_far(self, features: np.ndarray) -> np.ndarray:
        """Return whether each image is outside the training range.

        Parameters
        ----------
        features
            Features of the images: float array (m, d).

        Returns
        -------
        numpy.ndarray
            Bool array (m,); all false if there are fewer than :data:`MIN_EXEMPLARS` exemplars.
        """
        distances = (self._compute_rms(features.astype(np.float32)) / self._largest).mean(axis=1)
        return np.asarray(distances > self._limit)

    def _compute_rms(self, features: np.ndarray) -> np.ndarray:
        """Return the root mean square r_v of each image and view: float array (m, views)."""
        squares = ((features - self._mean) / self._scale) ** 2
        views = [
            squares[:, start:end].mean(axis=1)
            for start, end in zip(self._ends, self._ends[1:], strict=False)
        ]
        return np.asarray(np.sqrt(np.stack(views, axis=1)))

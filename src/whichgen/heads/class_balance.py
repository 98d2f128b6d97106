"""Class balancing of the reference implementation (UniversalAttribution), by sample weights.

The reference implementation repeats the training images of each class in order until the class is
as large as the largest class. If a class has n images and the largest class has N, the first N mod
n images of the class occur ⌊N/n⌋ + 1 times and the others ⌊N/n⌋ times. Instead of copying images, a
head method whose field ``balanced`` is true weights each image by the number of its occurrences
(:func:`count_repeats`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.head import HeadMethod
from whichgen.option_names import name_option

M = TypeVar("M", bound=HeadMethod)


def count_repeats(labels: np.ndarray, n_origins: int) -> np.ndarray:
    """Count how often each training image occurs after the classes are repeated to equal size.

    Parameters
    ----------
    labels
        Origin index of each training image: integer array (n,).
    n_origins
        Number of origins; each needs at least one image.

    Returns
    -------
    int64 array (n,)
        Number of occurrences of each image, ≥ 1; their sum is the same for every origin.
    """
    sizes = np.bincount(labels, minlength=n_origins)
    order = np.argsort(labels, kind="stable")
    positions = np.empty(len(labels), dtype=np.int64)
    positions[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    quotients, remainders = np.divmod(sizes.max(), sizes[labels])
    return np.asarray(quotients + (positions < remainders), dtype=np.int64)


def balance_classes(head_method: M) -> M:
    """Return a copy of a head method that balances the classes.

    Parameters
    ----------
    head_method
        A dataclass with a field ``balanced``.

    Raises
    ------
    FitError
        The method has no field ``balanced``.
    """
    if not hasattr(head_method, "balanced"):
        raise FitError(
            f"the head method {head_method.name!r} can't balance classes, which "
            f"{name_option('--protocol paper')} requires. Use {name_option('--protocol clean')}, "
            "or implement a field 'balanced' as described in whichgen.heads.class_balance."
        )
    method: Any = head_method
    balanced: M = replace(method, balanced=True)
    return balanced

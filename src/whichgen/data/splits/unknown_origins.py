"""Divide the unknown origins into those for validation and those for testing."""

from __future__ import annotations

import numpy as np

from whichgen.data.splits.split_options import SplitOptions


def split_unknown_origins(options: SplitOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the unknown origins for validation, and those for testing.

    See :class:`SplitOptions` for ``unknown``, ``unknown_val``, ``share_unknown`` and ``seed``.
    """
    if options.share_unknown:
        return options.unknown, options.unknown
    val = options.unknown_val
    if not val and len(options.unknown) > 1:
        order = np.random.default_rng(options.seed).permutation(sorted(options.unknown))
        val = tuple(str(o) for o in order[: len(order) // 2])
    return val, tuple(o for o in options.unknown if o not in val)

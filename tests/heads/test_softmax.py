"""Softmax and log-sum-exp equal those of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from whichgen.heads import softmax as ours


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_are_those_of_scipy(name: str, axis: int, dtype: type) -> None:
    # Values whose exponential overflows or underflows, and equal values.
    scale = np.array([[1], [1e-3], [300], [0]])
    values = np.random.default_rng(0).normal(size=(5, 4, 6)) * scale + 1000 * scale
    values = values.astype(dtype)
    result = getattr(ours, name)(values, axis=axis)
    expected = getattr(scipy.special, name)(values, axis=axis)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=1e-6 if dtype == np.float32 else 1e-13)


def test_logsumexp_of_logarithms_of_zero() -> None:
    values = np.array([[-np.inf, 0.0], [-np.inf, -np.inf]])
    with np.errstate(all="raise"):
        assert ours.logsumexp(values, axis=1).tolist() == [0, -np.inf]

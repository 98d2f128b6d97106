"""Validate the shapes, dtypes and values of the arrays and predictions of an untrusted model.

The messages of :class:`~whichgen.errors.FitError` in this module are only reasons:
:func:`whichgen.models.saved_model.load_model` adds the folder and advice to them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whichgen.errors import FitError, ModelFileError
from whichgen.heads.head import HeadOutput
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel

#: Errors that heads, NumPy, SciPy and faiss raise for arrays of wrong shapes or dtypes.
_ARRAY_ERRORS = (
    *(ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError),
    FitError,
)


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Check that arrays contain neither NaN nor infinity.

    Parameters
    ----------
    arrays
        Maps the name of each array to the array.

    Raises
    ------
    FitError
        An array contains NaN or infinity.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FitError(f"{name} contains NaN or infinity")


def check_calibration(calibration: Calibration, n_origins: int) -> None:
    """Validate the calibration data of a model with ``n_origins`` origins.

    Raises
    ------
    FitError
        A shape or dtype is wrong, a label is out of range, the arrays are empty, or a probability
        is not in [0, 1].
    """
    probabilities, n = calibration.probabilities, calibration.labels.size
    _check_labels("calibration", calibration.labels, n_origins)
    _check_array("calibration probabilities", probabilities, (n, n_origins), "f")
    _check_array("calibration scores", calibration.scores, (n,), "f")
    if calibration.sources is not None:
        _check_array("calibration sources", calibration.sources, (n,), "i")
    if not n:
        raise FitError("calibration probabilities are empty")
    if ((probabilities < 0) | (probabilities > 1)).any():
        raise FitError("calibration probabilities are not between 0 and 1")


def check_exemplars(exemplars: Exemplars, n_origins: int) -> None:
    """Validate the exemplars of a model with ``n_origins`` origins.

    Raises
    ------
    FitError
        A shape or dtype is wrong, a label is out of range, there are no exemplars, or the number of
        thumbnails is neither 0 nor the number of exemplars.
    """
    n, features = exemplars.labels.size, exemplars.features
    _check_labels("exemplar", exemplars.labels, n_origins)
    _check_array("exemplar features", features, (n, *features.shape[-1:]), "f")
    _check_array("held_out flags", exemplars.held_out, (n,), "b")
    if not n:
        raise FitError("the model has no exemplars")
    if len(exemplars.thumbnails) not in (0, n):
        raise FitError(
            f"the model has {len(exemplars.thumbnails)} thumbnails, expected {n} (one per exemplar)"
        )


def split_bytes(content: np.ndarray, sizes: np.ndarray) -> tuple[bytes, ...]:
    """Split the concatenated bytes of thumbnails into the bytes of each thumbnail.

    Parameters
    ----------
    content
        Concatenated bytes of all thumbnails: uint8 array (total size,).
    sizes
        Size of each thumbnail in bytes, at least 0: integer array (n,).

    Returns
    -------
    tuple of bytes
        The bytes of the n thumbnails.

    Raises
    ------
    FitError
        A shape or dtype is wrong, a size is negative, or the sizes do not add up to the length of
        ``content``.
    """
    is_valid = (
        content.ndim == sizes.ndim == 1 and content.dtype == np.uint8 and sizes.dtype.kind in "iu"
    )
    # Check each size, because the sum of very large integers can overflow to the correct value.
    if not is_valid or ((sizes < 0) | (sizes > len(content))).any() or sizes.sum() != len(content):
        raise FitError(
            "the array of thumbnails or of their sizes is invalid. The sizes must be nonnegative "
            "integers that add up to the length of the uint8 array of thumbnails."
        )
    ends = np.cumsum(sizes).tolist()
    data = content.tobytes()
    return tuple(data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))


def predict_and_validate(
    model: OriginModel, features: np.ndarray
) -> tuple[HeadOutput, np.ndarray, np.ndarray]:
    """Predict probabilities and open-set scores, and validate them.

    Parameters
    ----------
    model
        The fitted model.
    features
        The head's input for n images: float array (n, d).

    Returns
    -------
    output
        Output of the head for the n images.
    probabilities, scores
        Probabilities in [0, 1], float64 array (n, origins), and open-set scores, float64 array
        (n,).

    Raises
    ------
    ModelFileError
        The model raises an error for the features, the probabilities or scores have the wrong
        shape, a probability is NaN or infinite, or a score is NaN.
    """
    try:
        output = model.head.forward(features)
        probabilities, scores = model.predict_from(output)
    except _ARRAY_ERRORS as e:
        raise make_inconsistency_error(
            f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"
        ) from None
    n = len(features)
    if probabilities.shape != (n, len(model.origins)) or scores.shape != (n,):
        raise make_inconsistency_error(
            f"probabilities have shape {probabilities.shape}, expected {(n, len(model.origins))}; "
            f"scores have shape {scores.shape}, expected {(n,)}"
        )
    if not np.isfinite(probabilities).all() or np.isnan(scores).any():
        raise make_inconsistency_error("a probability is NaN or infinite, or a score is NaN")
    return output, probabilities, scores


def make_inconsistency_error(reason: str) -> ModelFileError:
    """Return an error for arrays that do not fit together; its message contains ``reason``."""
    return ModelFileError(
        f"the model's arrays are inconsistent ({reason}). Copy the model folder again, or fit the "
        "model again."
    )


def _check_labels(name: str, labels: np.ndarray, n_origins: int) -> None:
    """Check that labels are a one-dimensional array of integers from 0 to n_origins - 1."""
    _check_array(f"{name} labels", labels, (labels.size,), "iu")
    if ((labels < 0) | (labels >= n_origins)).any():
        raise FitError(f"{name} labels must be from 0 to {n_origins - 1}")


def _check_array(name: str, array: np.ndarray, shape: tuple[int, ...], kinds: str) -> None:
    """Check the shape of an array and the kind of its dtype (``dtype.kind``)."""
    if array.shape != shape or array.dtype.kind not in kinds:
        raise FitError(
            f"{name} have dtype {array.dtype} and shape {array.shape}, expected dtype kind "
            f"{' or '.join(kinds)} and shape {shape}"
        )

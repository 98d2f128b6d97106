"""Validate the arrays of an untrusted model folder, which may have any shape, dtype and value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whichgen.errors import FitError, ModelFileError
from whichgen.heads.base import HeadOutput
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise :class:`FitError` if an array holds NaN or infinity."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FitError(f"{name} holds NaN or infinity")


def check_calibration(calibration: Calibration, n_origins: int) -> None:
    """Raise :class:`FitError` unless the arrays fit together and probabilities are in [0, 1]."""
    probabilities, n = calibration.probabilities, len(calibration.labels)
    _check_labels("calibration", calibration.labels, n_origins)
    _check_array("calibration probabilities", probabilities, (n, n_origins), "f")
    _check_array("calibration scores", calibration.scores, (n,), "f")
    if not n or ((probabilities < 0) | (probabilities > 1)).any():
        raise FitError("calibration probabilities are missing or not between 0 and 1")


def check_exemplars(exemplars: Exemplars, n_origins: int) -> None:
    """Raise :class:`FitError` unless features, labels, flags and thumbnails have one length."""
    n, features = len(exemplars.labels), exemplars.features
    _check_labels("exemplars", exemplars.labels, n_origins)
    _check_array("exemplar features", features, (n, *features.shape[-1:]), "f")
    _check_array("held_out flags", exemplars.held_out, (n,), "b")
    if not n:
        raise FitError("there are no exemplars")
    if len(exemplars.thumbnails) not in (0, n):
        raise FitError(f"{len(exemplars.thumbnails)} thumbnails for {n} exemplars")


def split_bytes(content: np.ndarray, sizes: np.ndarray) -> tuple[bytes, ...]:
    """Split concatenated files, a uint8 array, by their sizes in bytes.

    Raises
    ------
    FitError
        The sizes do not add up to the content.
    """
    valid = (
        content.ndim == sizes.ndim == 1 and content.dtype == np.uint8 and sizes.dtype.kind in "iu"
    )
    # Each size is checked, too: the sum of very large integers can overflow to the right value.
    if not valid or ((sizes < 0) | (sizes > len(content))).any() or sizes.sum() != len(content):
        raise FitError("the thumbnail sizes do not match the thumbnails")
    ends = np.cumsum(sizes).tolist()
    data = content.tobytes()
    return tuple(data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True))


def check_feature_width(model: OriginModel, width: int) -> None:
    """Raise :class:`ModelFileError` unless the model accepts features with ``width`` columns."""
    n_features = model.exemplars.features.shape[1]
    if n_features != width:
        raise _mismatch(f"exemplars have {n_features} features, not {width}")
    for n in (1, 2):  # arrays that accept both batch sizes accept any
        predict_checked(model, np.zeros((n, width), dtype=np.float32))


def predict_checked(
    model: OriginModel, features: np.ndarray
) -> tuple[HeadOutput, np.ndarray, np.ndarray]:
    """Run the head, predict, and check shapes and values.

    Returns
    -------
    output, probabilities, scores
        Output of the head, and finite float64 arrays (n, origins) and (n,).

    Raises
    ------
    ModelFileError
        The model's arrays do not fit together, or it outputs NaN.
    """
    try:
        output = model.head.forward(features)
        probabilities, scores = model.predict_from(output)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as e:
        # Arrays of wrong shapes raise whatever NumPy, SciPy or faiss raises for them.
        raise _mismatch(f"{type(e).__name__}: {' '.join(str(e).split())[:200]}") from None
    n = len(features)
    if probabilities.shape != (n, len(model.origins)) or scores.shape != (n,):
        raise _mismatch(f"its output has the shapes {probabilities.shape} and {scores.shape}")
    if not np.isfinite(probabilities).all() or np.isnan(scores).any():
        raise _mismatch("its output is NaN")
    return output, probabilities, scores


def _mismatch(reason: str) -> ModelFileError:
    return ModelFileError(
        f"the model's arrays do not fit each other or the encoder ({reason}). Copy the model "
        "folder again, or fit the model again."
    )


def _check_labels(name: str, labels: np.ndarray, n_origins: int) -> None:
    _check_array(f"{name} labels", labels, (labels.size,), "iu")
    if ((labels < 0) | (labels >= n_origins)).any():
        raise FitError(f"a label of the {name} is not one of the {n_origins} origins")


def _check_array(name: str, array: np.ndarray, shape: tuple[int, ...], kinds: str) -> None:
    if array.shape != shape or array.dtype.kind not in kinds:
        raise FitError(f"{name} are {array.dtype} {array.shape}, expected shape {shape}")

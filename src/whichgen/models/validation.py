"""Whether what a model folder holds fits together: arrays of a stranger may be of any shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from whichgen.errors import FitError, ModelFileError

if TYPE_CHECKING:
    from whichgen.models.saved_model import Exemplars, OriginModel


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """:class:`FitError` if a number is NaN or infinite."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FitError(f"{name} holds NaN or infinity")


def check_calibration(probabilities: np.ndarray, labels: np.ndarray, n_origins: int) -> None:
    """:class:`FitError` unless there are probabilities (n, origins) and labels (n,)."""
    if probabilities.shape != (len(labels), n_origins) or probabilities.dtype.kind != "f":
        raise FitError(f"calibration probabilities are {_kind(probabilities)}")
    if ((probabilities < 0) | (probabilities > 1)).any():
        raise FitError("calibration probabilities are not between 0 and 1")
    _check_labels("calibration", labels, n_origins)


def check_exemplars(kept: Exemplars, n_origins: int) -> None:
    """:class:`FitError` unless features (n, d), labels, flags and pictures are of n images."""
    n = len(kept.labels)
    _check_labels("exemplars", kept.labels, n_origins)
    if kept.features.ndim != 2 or len(kept.features) != n or kept.features.dtype.kind != "f":
        raise FitError(f"features of {n} exemplars are {_kind(kept.features)}")
    if kept.held_out.shape != (n,) or kept.held_out.dtype != np.bool_:
        raise FitError(f"held_out of {n} exemplars is {_kind(kept.held_out)}")
    if len(kept.thumbnails) not in (0, n):
        raise FitError(f"{len(kept.thumbnails)} pictures of {n} exemplars")


def cut(joined: np.ndarray, sizes: np.ndarray) -> tuple[bytes, ...]:
    """Files that lie one after the other, by their sizes; :class:`FitError` if these are wrong."""
    fits = joined.ndim == sizes.ndim == 1 and joined.dtype == np.uint8 and sizes.dtype.kind in "iu"
    # Sizes one by one: a sum of the largest integers would begin anew at 0.
    if not fits or (sizes < 0).any() or (sizes > len(joined)).any() or sizes.sum() != len(joined):
        raise FitError("the sizes of pictures are not those of the pictures")
    ends = np.cumsum(sizes).tolist()
    content = joined.tobytes()
    return tuple(content[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True))


def check_width(model: OriginModel, width: int) -> None:
    """:class:`ModelFileError` unless the model answers features of so many columns."""
    kept = model.exemplars
    if kept is not None and kept.features.shape[1] != width:
        raise _unfit(f"{kept.features.shape[1]} features an exemplar, not {width}")
    for n in (1, 2):  # arrays that fit both fit any number
        asked(model, np.zeros((n, width), dtype=np.float32))


def asked(model: OriginModel, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:meth:`OriginModel.predict`, checked: float64 arrays (n, origins) and (n,), and no NaN.

    Raises
    ------
    ModelFileError
        The model's arrays do not fit together.
    """
    try:
        probabilities, scores = model.predict(features)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as e:
        # Arrays of other shapes than a head's or a score's raise whatever they come upon.
        raise _unfit(f"{type(e).__name__}: {' '.join(str(e).split())[:200]}") from None
    n = len(features)
    if probabilities.shape != (n, len(model.origins)) or scores.shape != (n,):
        raise _unfit(f"answers of shapes {probabilities.shape} and {scores.shape}")
    if not np.isfinite(probabilities).all() or np.isnan(scores).any():
        raise _unfit("it answers NaN")
    return probabilities, scores


def _unfit(why: str) -> ModelFileError:
    return ModelFileError(
        f"the model's arrays do not fit together or its encoder ({why}). Copy its folder anew, or "
        "fit again."
    )


def _check_labels(what: str, labels: np.ndarray, n_origins: int) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise FitError(f"labels of {what} are {_kind(labels)}")
    if ((labels < 0) | (labels >= n_origins)).any():
        raise FitError(f"a label of {what} is none of the {n_origins} origins")


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"

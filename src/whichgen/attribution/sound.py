"""Whether what a model folder holds fits together: arrays of a stranger may be of any shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from whichgen.errors import FitError, ModelFileError

if TYPE_CHECKING:
    from whichgen.attribution.model import Exemplars, OriginModel


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


def check_answers(model: OriginModel, width: int) -> None:
    """:class:`ModelFileError` unless the model answers features of so many columns."""
    kept = model.exemplars
    why = ""
    if kept is not None and kept.features.shape[1] != width:
        why = f"exemplars of {kept.features.shape[1]} features"
    else:
        blank = np.zeros((1, width), dtype=np.float32)
        try:
            probabilities, scores = model.answer(blank)
            model.deepest(blank, np.array([-1]))
            if probabilities.shape != (1, len(model.origins)) or scores.shape != (1,):
                why = f"answers of shapes {probabilities.shape} and {scores.shape}"
        except Exception as error:  # arrays that do not fit raise whatever they come upon
            why = f"{type(error).__name__}: {error}"
    if why:
        raise ModelFileError(
            f"the model does not fit its encoder, of {width} features ({why}). Copy its folder "
            "anew, or fit again."
        )


def check_answered(probabilities: np.ndarray, scores: np.ndarray) -> None:
    """:class:`ModelFileError` if an answer is no number."""
    if not np.isfinite(probabilities).all() or np.isnan(scores).any():
        raise ModelFileError(
            "the model answered NaN. Its arrays are damaged: copy its folder anew, or fit again."
        )


def _check_labels(what: str, labels: np.ndarray, n_origins: int) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise FitError(f"labels of {what} are {_kind(labels)}")
    if ((labels < 0) | (labels >= n_origins)).any():
        raise FitError(f"a label of {what} is none of the {n_origins} origins")


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"

"""whichgen as a scikit-learn estimator: on images, or on features that are there already.

>>> from whichgen.sklearn import OriginClassifier
>>> classifier = OriginClassifier(backbone="openai/clip-vit-base-patch16", unknown="unknown")
>>> classifier.fit(["a.png", "b.png", …], ["real", "gan", …]).predict(["c.png"])

It is the paper's method: block and C (or k) are chosen on a part of the training images, then the
head is fitted on all. Experiments with held-out generators, intervals and controls are the command
line's; this is for pipelines, grids and comparisons that speak scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from whichgen.errors import FitError
from whichgen.heads.base import HeadMethod
from whichgen.heads.knn import KnnMethod
from whichgen.heads.methods import head_method
from whichgen.openset.threshold import threshold_at_tpr

if TYPE_CHECKING:
    from whichgen.encoders.base import Encoder

_HEADS = ("linear", "knn")


class OriginClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Origins of images, and which images are of none that is known.

    Parameters
    ----------
    head
        ``"linear"``, L2-regularized logistic regression, or ``"knn"``.
    backbone
        An encoder's name or folder: X are then images (paths, bytes, Pillow images, uint8 arrays).
        ``None``: X is a float array (n, d) of features.
    blocks
        The encoder's blocks to choose among; ``None``: all.
    values
        The values of C or k to choose among; ``None``: the paper's. A single one is not chosen.
    unknown
        What :meth:`predict` answers for an image whose score is below the threshold; ``None``: the
        most probable origin all the same.
    tpr
        The share of known images that the threshold keeps.
    validation_fraction
        The share of training images to choose on, and to set the threshold by. Where an origin has
        a single image there is none: the middle block and the middle value are taken.
    device, dtype, batch_size
        Of the encoder.
    random_state
        Of the validation part.

    Attributes
    ----------
    classes_
        The origins, sorted: array (origins,).
    block_, value_
        What was chosen; ``block_`` is 0 for features.
    validation_accuracy_
        Of the choice, in [0, 1]; NaN without validation images.
    threshold_
        On :meth:`score_samples`; −∞ without validation images.
    head_
        The fitted head.
    n_features_in_
        The number d of features, of the chosen block.
    """

    def __init__(
        self,
        *,
        head: str = "linear",
        backbone: str | None = None,
        blocks: Iterable[int] | None = None,
        values: Iterable[float] | None = None,
        unknown: Any = None,
        tpr: float = 0.95,
        validation_fraction: float = 0.25,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 32,
        random_state: int | None = 0,
    ) -> None:
        self.head = head
        self.backbone = backbone
        self.blocks = blocks
        self.values = values
        self.unknown = unknown
        self.tpr = tpr
        self.validation_fraction = validation_fraction
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> OriginClassifier:
        """Chooses, and fits on all images.

        Parameters
        ----------
        X
            Images, or a float array (n, d).
        y
            The origin of each: array (n,).

        Raises
        ------
        ValueError
            As scikit-learn's estimators: shapes, NaN, one class.
        FitError, EncoderError, ImageError
            An option that there is not; an encoder or an image that can't be read.
        """
        if self.head not in _HEADS:
            raise FitError(f"head {self.head!r}: choose one of {', '.join(_HEADS)}.")
        if self.backbone is None:
            X, y = validate_data(self, X, y)
            features = {0: X}
        else:
            y = np.asarray(y)
            features = self._encoded(X)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        n_origins = len(self.classes_)
        if n_origins < 2:
            raise ValueError("only one class: there is nothing to tell apart.")
        check_consistent_length(next(iter(features.values())), labels)
        method = self._method(len(labels))
        train, val = self._parts(labels)
        grid = method.grid(len(train))
        self.block_, self.value_ = list(features)[len(features) // 2], grid[len(grid) // 2]
        self.validation_accuracy_, self.threshold_ = -np.inf, -np.inf
        for block, x in features.items() if len(val) else ():
            swept = method.sweep(x[train], labels[train], n_origins, [x[val]])
            for value, (said,) in swept:
                accuracy = float((said.argmax(axis=1) == labels[val]).mean())
                if accuracy > self.validation_accuracy_:  # of equals the first
                    self.validation_accuracy_, self.block_, self.value_ = accuracy, block, value
                    self.threshold_ = threshold_at_tpr(said.max(axis=1), self.tpr)
        if not len(val):
            self.validation_accuracy_ = float("nan")
        chosen = features[self.block_]
        self.n_features_in_ = chosen.shape[1]
        self.head_ = method.fit(chosen, labels, n_origins, self.value_)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each known origin: float64 array (n, origins)."""
        features = self._features(X)
        return np.asarray(self.head_.predict_proba(features))

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits: float64 array (n, origins); of two origins their difference, (n,)."""
        features = self._features(X)
        logits = self.head_.logits(features)
        return np.asarray(logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits)

    def score_samples(self, X: Any) -> np.ndarray:
        """How known an image looks, its largest probability: float64 array (n,) in [0, 1]."""
        return np.asarray(self.predict_proba(X).max(axis=1))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable origin, or :attr:`unknown`: array (n,)."""
        probabilities = self.predict_proba(X)
        found = self.classes_[probabilities.argmax(axis=1)]
        if self.unknown is None:
            return np.asarray(found)
        known = probabilities.max(axis=1) >= self.threshold_
        return np.array(
            [origin if kept else self.unknown for origin, kept in zip(found, known, strict=True)]
        )

    def _method(self, n_images: int) -> HeadMethod:
        method = head_method(self.head)
        if self.values is not None:
            values = tuple(self.values)
            return type(method)(values)  # type: ignore[call-arg]
        if isinstance(method, KnnMethod):  # as many neighbors as half the images allow
            return KnnMethod(tuple(k for k in method.values if k <= max(1, n_images // 2)))
        return method

    def _parts(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows to fit on while choosing, and those to choose on."""
        every, counts = np.arange(len(labels)), np.bincount(labels)
        n_val = int(np.ceil(self.validation_fraction * len(labels)))
        if counts.min() < 2 or n_val < len(counts) or len(labels) - n_val < len(counts):
            return every, every[:0]
        split = StratifiedShuffleSplit(1, test_size=n_val, random_state=self.random_state)
        (train, val), *_ = split.split(every, labels)
        return train, val

    def _features(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        if self.backbone is None:
            return np.asarray(validate_data(self, X, reset=False))
        return self._encoded(X)[self.block_]

    def _encoded(self, X: Any) -> dict[int, np.ndarray]:
        """Images → for each block its features, float32 (n, d)."""
        from whichgen.features.inference import encode_images

        encoder = _encoder(str(self.backbone), self.device, self.dtype)
        blocks = encode_images(list(X), encoder, batch_size=self.batch_size)
        wanted = range(len(blocks)) if self.blocks is None else sorted(set(self.blocks))
        return {block: blocks[block] for block in wanted}


@lru_cache(maxsize=1)
def _encoder(name: str, device: str, dtype: str) -> Encoder:
    """The encoder last asked for stays loaded: fit and every predict use the same one."""
    from whichgen.encoders.loading import load_encoder

    return load_encoder(name, device=device, dtype=dtype)

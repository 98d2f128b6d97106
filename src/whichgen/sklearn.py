"""Scikit-learn estimator that attributes images or precomputed features to an origin.

>>> from whichgen.sklearn import OriginClassifier
>>> classifier = OriginClassifier(backbone="openai/clip-vit-base-patch16", unknown="unknown")
>>> classifier.fit(["a.png", "b.png", …], ["real", "gan", …]).predict(["c.png"])

The estimator implements the method of the paper (UniversalAttribution): select the encoder block
and C (or k) on a validation set drawn from the training images, then fit the head (classifier) on
all training images. Use it in scikit-learn pipelines, grid searches and comparisons; use the
command line for experiments with held-out generators, confidence intervals and control experiments.

A source is the website, repository or person that published an image. If you pass the source of
each image, the block, C (or k) and the threshold are selected by cross-validation over sources:

>>> classifier.fit(images, origins, sources=["flickr", "gallery", …])
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from whichgen.data.dataset import Sample
from whichgen.data.origins.origin_names import validate_origin_names
from whichgen.data.splits.source_folds import assign_folds
from whichgen.defaults import BATCH_SIZE, TPR
from whichgen.deterministic import call_single_threaded
from whichgen.errors import ConvergenceError, DataError, FitError, WhichgenWarning
from whichgen.heads.head import HeadOutput, SweepMethod
from whichgen.heads.knn import PAPER_K, KnnMethod
from whichgen.heads.linear import PAPER_C, LinearMethod, advise_on_convergence
from whichgen.openset.threshold import choose_threshold_at_tpr
from whichgen.training.held_out import SOURCE_FOLDS
from whichgen.training.selection import fit_first

if TYPE_CHECKING:
    from whichgen.encoders.encoder import Encoder


class OriginClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier of image origins that can reject images of unknown origin.

    Parameters
    ----------
    head : {"linear", "knn"}, default="linear"
        L2-regularized logistic regression, or k-nearest neighbors by cosine similarity.
    backbone : str or None, default=None
        Name or folder of an encoder for images (paths, bytes, Pillow images or uint8 arrays). If
        ``None``, X must be a float array of features.
    blocks : iterable of int or None, default=None
        Candidate blocks of the encoder, counted from 0; all blocks if ``None``. Ignored if
        ``backbone`` is ``None``.
    values : iterable of float or None, default=None
        Candidate values of C or k. If ``None``, the paper's values are used (for k, only those up
        to half the number of images). Values of k above the number of training images are ignored.
    unknown : object, default=None
        Label that :meth:`predict` returns for images whose score is below the threshold. If
        ``None``, :meth:`predict` always returns the most probable origin. The label must have the
        same type as the classes and must not be one of them.
    tpr : float, default=0.95
        Minimum fraction of the validation images (with sources: of the held-out images) that the
        threshold accepts, in (0, 1].
    validation_fraction : float, default=0.25
        Fraction of the training images used to select the block and the value of C or k, and to set
        the threshold, in (0, 1). There is no validation set if a class has only one image, or if
        there would be fewer training or validation images than classes. In this case, the middle
        candidate block and value are selected, and the threshold accepts all images. Ignored if
        :meth:`fit` is called with sources.
    device : str, default="auto"
        Device of the encoder: ``auto``, ``openvino`` or a device of torch, such as ``cpu`` or
        ``cuda:0`` (:func:`whichgen.encoders.devices.resolve_device`).
    dtype : {"float32", "bfloat16"}, default="float32"
        Floating-point type of the encoder.
    batch_size : int, default=32
        Maximum number of images per forward pass of the encoder.
    random_state : int or None, default=0
        Seed of the split into training and validation images, or of the folds of sources. If
        ``None``, the split is different in each call, and the seed of the folds is 0.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Origins in sorted order.
    block_ : int
        Selected block; 0 if X is an array of features.
    value_ : float
        Selected value of C or k.
    validation_accuracy_ : float
        Accuracy of the selected block and value on the validation images or, with sources, on all
        images, each held out with its source; in [0, 1]. NaN without validation images.
    threshold_ : float
        Threshold on :meth:`score_samples`; −∞ without validation images.
    head_ : whichgen.heads.head.Head
        The fitted head.
    n_features_in_ : int
        Number of features of the selected block.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features; defined only if X is a data frame whose column names are strings.
    """

    def __init__(
        self,
        *,
        head: str = "linear",
        backbone: str | None = None,
        blocks: Iterable[int] | None = None,
        values: Iterable[float] | None = None,
        unknown: Any = None,
        tpr: float = TPR,
        validation_fraction: float = 0.25,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = BATCH_SIZE,
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

    def fit(self, X: Any, y: Any, sources: Any = None) -> OriginClassifier:
        """Select the block and the value of C or k, set the threshold, and fit the head.

        With sources, selection and threshold are based on predictions for held-out sources: the
        sources are divided into at most :data:`~whichgen.training.held_out.SOURCE_FOLDS` folds, and
        a head fitted on the other folds predicts each fold. The folds are assigned by
        :func:`whichgen.data.splits.source_folds.assign_folds`.

        Parameters
        ----------
        X : sequence of n_samples images, or array-like of shape (n_samples, n_features)
            Training images or features.
        y : array-like of shape (n_samples,)
            Origin of each image.
        sources : array-like of shape (n_samples,) or None, default=None
            Source of each image, like ``groups`` in scikit-learn. In a pipeline, name the step:
            ``originclassifier__sources``. For cross-validation or a grid search, enable metadata
            routing and call ``set_fit_request(sources=True)``.

        Returns
        -------
        self : OriginClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            X, y or sources has an invalid shape, X contains NaN or infinity, y is continuous or has
            fewer than two classes, a class is the value of ``unknown`` or a string that is not a
            valid origin name, two classes differ only in case or Unicode form
            (:func:`whichgen.data.origins.origin_names.validate_origin_names`), or all images of a
            class are in the same fold of sources.
        FitError
            ``head``, ``blocks``, ``values`` or ``tpr`` is invalid, or the head did not converge for
            any value (:class:`~whichgen.errors.ConvergenceError`).
        EncoderError
            The encoder can't be loaded or run, or returned invalid features.
        ImageError
            An image can't be read.

        Warns
        -----
        WhichgenWarning
            The head did not converge for some values on some blocks, and these values can't be
            selected on these blocks; or memory is insufficient for a batch of images, and the batch
            size is halved.
        """
        if self.backbone is None:
            X, y = validate_data(self, X, y)
        y = np.asarray(y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._check_classes()
        n_origins = len(self.classes_)
        features = {0: X} if self.backbone is None else self._encode(X)
        check_consistent_length(next(iter(features.values())), labels)
        method = self._make_head_method(len(labels))
        splits = self._split(labels) if sources is None else self._split_sources(labels, sources)
        n_train = min((len(train) for train, _ in splits), default=len(labels))
        values = method.list_candidate_values(n_train)
        candidates: list[tuple[float, int, float, float]] = []
        if not splits:
            middle_block, middle_value = (
                list(features)[len(features) // 2],
                values[len(values) // 2],
            )
            candidates.append((float("nan"), middle_block, middle_value, -np.inf))
        held_out = np.concatenate([labels[val] for _, val in splits]) if splits else labels[:0]
        failed_values: set[float] = set()
        for block, x in features.items() if splits else ():
            predictions = call_single_threaded(_sweep_folds, method, x, labels, splits)
            for value, parts in predictions.items():
                if len(parts) < len(splits):
                    continue
                probabilities = np.concatenate(parts)
                accuracy = float((probabilities.argmax(axis=1) == held_out).mean())
                threshold = choose_threshold_at_tpr(probabilities.max(axis=1), self.tpr)
                candidates.append((accuracy, block, value, threshold))
            failed_values |= {
                value for value in values if len(predictions.get(value, [])) < len(splits)
            }
        candidates.sort(key=lambda candidate: candidate[0], reverse=True)
        for candidate in candidates:
            self.validation_accuracy_, self.block_, self.value_, self.threshold_ = candidate
            x = features[self.block_]
            _, head = call_single_threaded(fit_first, method, x, labels, n_origins, [self.value_])
            if head is not None:
                break
            failed_values.add(self.value_)
        else:
            raise ConvergenceError(
                f"the head did not converge for any value of {method.parameter} that was tried. "
                f"{advise_on_convergence()}"
            )
        if failed_values:
            text = ", ".join(f"{value:g}" for value in sorted(failed_values))
            warnings.warn(
                f"the head did not converge at {method.parameter} = {text} on some blocks; these "
                "values can't be selected on these blocks",
                WhichgenWarning,
                stacklevel=2,
            )
        self.n_features_in_, self.head_ = x.shape[1], head
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each known origin.

        Parameters
        ----------
        X : sequence of n_samples images, or array-like of shape (n_samples, n_features)
            Images or features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Probabilities in the order of ``classes_``; each row sums to 1.

        Raises
        ------
        NotFittedError
            :meth:`fit` has not been called.
        ValueError
            X has an invalid shape, or contains NaN or infinity.
        EncoderError
            The encoder can't be loaded or run, or returned invalid features.
        ImageError
            An image can't be read.

        Warns
        -----
        WhichgenWarning
            Memory is insufficient for a batch of images; the batch size is halved.
        """
        return self._forward(X).probabilities

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the logit of each class (for k-NN: the logarithm of its probability).

        Parameters
        ----------
        X : sequence of n_samples images, or array-like of shape (n_samples, n_features)
            Images or features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples,), float64
            Logits; for two classes, the logit of the second class minus that of the first.

        Raises
        ------
        NotFittedError, ValueError, EncoderError, ImageError
            See :meth:`predict_proba`, also for warnings.
        """
        logits = self._forward(X).logits
        return np.asarray(logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits)

    def score_samples(self, X: Any) -> np.ndarray:
        """Compute the open-set score of each image: its largest class probability.

        Parameters
        ----------
        X : sequence of n_samples images, or array-like of shape (n_samples, n_features)
            Images or features.

        Returns
        -------
        ndarray of shape (n_samples,), float64 in [0, 1]
            High for images that resemble the training images.

        Raises
        ------
        NotFittedError, ValueError, EncoderError, ImageError
            See :meth:`predict_proba`, also for warnings.
        """
        return np.asarray(self.predict_proba(X).max(axis=1))

    def predict(self, X: Any) -> np.ndarray:
        """Predict the origin of each image.

        Parameters
        ----------
        X : sequence of n_samples images, or array-like of shape (n_samples, n_features)
            Images or features.

        Returns
        -------
        ndarray of shape (n_samples,)
            The most probable origin of each image or, if the score of the image is below
            ``threshold_``, the value of ``unknown`` (unless it is ``None``).

        Raises
        ------
        NotFittedError, ValueError, EncoderError, ImageError
            See :meth:`predict_proba`, also for warnings.
        """
        probabilities = self.predict_proba(X)
        origins = self.classes_[probabilities.argmax(axis=1)]
        if self.unknown is None:
            return np.asarray(origins)
        known = probabilities.max(axis=1) >= self.threshold_
        return np.array(
            [o if is_known else self.unknown for o, is_known in zip(origins, known, strict=True)]
        )

    def _check_classes(self) -> None:
        """Raise ValueError if there are fewer than two classes or a class can't be an origin."""
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must have more than one class, got {self.classes_.tolist()}. "
                "Pass images of at least two classes."
            )
        if self.unknown is not None and self.unknown in self.classes_.tolist():
            raise ValueError(
                f"{self.unknown!r} is both a class and the value of `unknown`. Set another value."
            )
        try:
            validate_origin_names([c for c in self.classes_.tolist() if isinstance(c, str)])
        except DataError as error:
            raise ValueError(str(error)) from None

    def _make_head_method(self, n_images: int) -> SweepMethod:
        """Return the head method with its candidate values of C or k."""
        if self.head not in ("linear", "knn"):
            raise FitError(f"unknown head {self.head!r}. Choose from linear, knn.")
        if self.head == "linear":
            return LinearMethod(tuple(PAPER_C if self.values is None else self.values))
        if self.values is None:
            return KnnMethod(tuple(k for k in PAPER_K if k <= max(1, n_images // 2)))
        return KnnMethod(tuple(self.values))  # type: ignore[arg-type]

    def _split(self, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the row indices of training and validation images: int arrays (n,) and (m,).

        The random split is stratified by class. The list has one pair; it is empty if a class has
        only one image, or if there would be fewer training or validation images than classes.
        """
        rows, counts = np.arange(len(labels)), np.bincount(labels)
        n_val = int(np.ceil(self.validation_fraction * len(labels)))
        if counts.min() < 2 or n_val < len(counts) or len(labels) - n_val < len(counts):
            return []
        train, val = train_test_split(
            rows, test_size=n_val, stratify=labels, random_state=self.random_state
        )
        return [(train, val)]

    def _split_sources(
        self, labels: np.ndarray, sources: Any
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the row indices of the training and the held-out images of each fold of sources.

        Each image is held out once. Empty folds are omitted.
        """
        names = column_or_1d(np.asarray(sources), dtype=None)
        check_consistent_length(labels, names)
        samples = [
            Sample(Path(), str(label), source=f"source {name}")
            for label, name in zip(labels, names, strict=True)
        ]
        folds = assign_folds(samples, SOURCE_FOLDS, self.random_state or 0)
        held_out = [folds == k for k in np.unique(folds)]
        splits = [(np.flatnonzero(~rows), np.flatnonzero(rows)) for rows in held_out]
        for train, _ in splits:
            if missing := sorted(set(range(len(self.classes_))) - set(labels[train].tolist())):
                raise ValueError(
                    f"all images of class {str(self.classes_[missing[0]])!r} are in one fold of "
                    "sources. Pass images of this class from more sources."
                )
        return splits

    def _forward(self, X: Any) -> HeadOutput:
        """Run the fitted head on images or features."""
        check_is_fitted(self)
        if self.backbone is None:
            return self.head_.forward(np.asarray(validate_data(self, X, reset=False)))
        return self.head_.forward(self._encode(X)[self.block_])

    def _encode(self, X: Any) -> dict[int, np.ndarray]:
        """Encode images; map each candidate block to a float32 array (n_samples, n_features)."""
        from whichgen.features.image_encoding import encode_images

        encoder = _load_encoder(str(self.backbone), self.device, self.dtype)
        blocks = encode_images(list(X), encoder, batch_size=self.batch_size)
        selected_blocks = range(len(blocks)) if self.blocks is None else sorted(set(self.blocks))
        if not selected_blocks or not 0 <= selected_blocks[0] <= selected_blocks[-1] < len(blocks):
            raise FitError(
                f"invalid `blocks={list(selected_blocks)}`. Choose one or more blocks of "
                f"{encoder.name}, from 0 to {len(blocks) - 1}."
            )
        return {block: blocks[block] for block in selected_blocks}


def _sweep_folds(
    method: SweepMethod,
    features: np.ndarray,
    labels: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
) -> dict[float, list[np.ndarray]]:
    """Map each hyperparameter value to its probabilities for the held-out images of each split.

    Splits for which the head did not converge are omitted.
    """
    n_origins = int(labels.max()) + 1
    predictions: dict[float, list[np.ndarray]] = {}
    for train, val in splits:
        sweep = method.sweep(features[train], labels[train], n_origins, [features[val]])
        for value, (probabilities,) in sweep:
            predictions.setdefault(value, []).append(probabilities)
    return predictions


@lru_cache(maxsize=1)
def _load_encoder(name: str, device: str, dtype: str) -> Encoder:
    """Load an encoder; the most recently loaded encoder is cached."""
    from whichgen.encoders.loading import load_encoder

    return load_encoder(name, device=device, dtype=dtype)

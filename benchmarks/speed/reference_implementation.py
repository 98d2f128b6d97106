"""Reproduction of the reference implementation (UniversalAttribution), as the baseline for speed.

It performs the same steps as the published code. For each block, it decodes and encodes the images
of five loaders: training images, with repeated images of small classes; known and unknown
validation images; known and unknown test images. For each value of C or k, it fits scikit-learn's
logistic regression or builds a faiss index, and predicts in batches of eight.

There are two differences. Images are preprocessed as the checkpoint specifies, so that features can
be compared, whereas the published code scales all images to squares. Metrics are computed by
whichgen, which takes less time.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import faiss
import numpy as np
import torch
from PIL import Image
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset, TensorDataset

from whichgen.evaluation.oscr import compute_oscr
from whichgen.evaluation.unknown_detection import compute_auroc

#: Tolerance and maximum number of iterations of the logistic regression.
TOLERANCE, MAX_ITER = 1e-12, 1000

#: Batch sizes of the published configuration, and number of processes that decode images.
TRAIN_BATCH, EVALUATION_BATCH, PREDICTION_BATCH, WORKERS = 16, 64, 8, 8

#: Path and label of an image.
Annotation = tuple[str, int]

#: A fitted classifier: features (n, d) to probabilities (n, classes).
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metrics:
    """Metrics of one classifier, in percent."""

    accuracy: float
    auroc: float
    oscr: float


@dataclass(frozen=True)
class Features:
    """Features of the images of one loader: float32 array (n, d) and labels (n,)."""

    x: torch.Tensor
    y: torch.Tensor


def balance(annotations: Sequence[Annotation]) -> list[list[Annotation]]:
    """Return the images of each class; small classes start again until all have the same size."""
    labels = sorted({label for _, label in annotations})
    classes = [[a for a in annotations if a[1] == label] for label in labels]
    size = max(map(len, classes))
    return [list(islice(cycle(images), size)) for images in classes]


class _BalancedImages(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Dataset whose item i contains the i-th image of each class (:func:`balance`)."""

    def __init__(self, annotations: Sequence[Annotation]) -> None:
        self._classes = balance(annotations)

    def __len__(self) -> int:
        return len(self._classes[0])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = [images[index] for images in self._classes]
        pixels = torch.stack([_preprocess(path) for path, _ in images])
        return pixels, torch.tensor([label for _, label in images])


class _Images(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, annotations: Sequence[Annotation]) -> None:
        self._annotations = annotations

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self._annotations[index]
        return _preprocess(path), label


def _preprocess(path: str) -> torch.Tensor:
    """Preprocess as DINOv2: shortest side 256 (bicubic), center crop 224, ImageNet mean and std."""
    with Path(path).open("rb") as file:
        image = Image.open(file).convert("RGB")
    width, height = (int(256 * side / min(image.size)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    image = image.crop((left, top, left + 224, top + 224))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    return (pixels - mean) / deviation


def read_annotations(file: Path) -> list[Annotation]:
    """Read lines of path, tab, label."""
    lines = (line.split("\t") for line in file.read_text().splitlines())
    return [(path, int(label)) for path, label in lines]


def make_loaders(split: dict[str, list[Annotation]]) -> dict[str, DataLoader[object]]:
    """Create the loader of each part; ``train`` is balanced."""
    return {
        part: DataLoader(
            _BalancedImages(annotations) if part == "train" else _Images(annotations),
            batch_size=TRAIN_BATCH if part == "train" else EVALUATION_BATCH,
            num_workers=WORKERS,
            shuffle=True,
        )
        for part, annotations in split.items()
    }


@torch.inference_mode()
def extract_features(
    loader: DataLoader[object], network: torch.nn.Module, blocks: Sequence[int]
) -> dict[int, Features]:
    """Run the network on all images, and return the CLS tokens of the given blocks."""
    features: dict[int, list[torch.Tensor]] = {block: [] for block in blocks}
    labels = []
    for pixels, label in loader:
        outputs = network(pixels.reshape(-1, *pixels.shape[-3:]))
        for block in blocks:
            features[block].append(outputs[block][:, 0].clone())
        labels.append(label.reshape(-1))
    y = torch.cat(labels)
    return {block: Features(torch.cat(x), y) for block, x in features.items()}


@dataclass(frozen=True)
class LinearProbe:
    """A fitted linear probe, which predicts probabilities (:data:`Predict`)."""

    model: LogisticRegression

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict_proba(x.astype(np.float64)))


def fit_linear(train: Features, c: float) -> LinearProbe:
    """Fit a linear probe; a fit that reaches the maximum number of iterations is used as it is."""
    model = LogisticRegression(C=c, tol=TOLERANCE, max_iter=MAX_ITER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train.x.double().numpy(), train.y.double().numpy())
    return LinearProbe(model)


def objective(weights: np.ndarray, bias: np.ndarray, train: Features, c: float) -> float:
    """Return the objective that a linear probe minimizes: penalty plus C times the total loss."""
    logits = train.x.double().numpy() @ weights.T + bias
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(logits)), train.y.numpy()]
    return float(0.5 * np.square(weights).sum() + c * loss.sum())


def fit_knn(train: Features, k: float) -> Predict:
    """Build an index of unit vectors; votes are weighted by cosine similarity."""
    index = faiss.IndexFlatIP(train.x.shape[1])
    index.add(normalize(train.x).numpy())
    classes, labels = int(train.y.max()) + 1, train.y.numpy()

    def predict(x: np.ndarray) -> np.ndarray:
        similarities, neighbors = index.search(normalize(torch.from_numpy(x)).numpy(), int(k))
        votes = np.zeros((len(x), classes))
        for i in range(len(x)):
            for j in range(int(k)):
                votes[i, labels[neighbors[i, j]]] += similarities[i, j]
        return votes / votes.sum(axis=1, keepdims=True)

    return predict


def evaluate(predict: Predict, known: Features, unknown: Features) -> Metrics:
    """Predict in small batches and compute the metrics."""
    probabilities, unknown_probabilities = (_predict_all(predict, x) for x in (known, unknown))
    correct = probabilities.argmax(axis=1) == known.y.numpy()
    scores, unknown_scores = probabilities.max(axis=1), unknown_probabilities.max(axis=1)
    return Metrics(
        100 * float(correct.mean()),
        100 * compute_auroc(scores, unknown_scores),
        100 * compute_oscr(scores, correct, unknown_scores),
    )


def _predict_all(predict: Predict, part: Features) -> np.ndarray:
    batches = DataLoader(TensorDataset(part.x, part.y), batch_size=PREDICTION_BATCH)
    return np.concatenate([predict(x.numpy()) for x, _ in batches])


@dataclass(frozen=True)
class BlockResult:
    """Result of one block.

    Parameters
    ----------
    value
        Selected value of C or k.
    fits
        Classifier of each value.
    validation
        Validation metrics of each value.
    test
        Test metrics of the selected value.
    seconds
        Time of all fits and predictions.
    """

    value: float
    fits: dict[float, Predict]
    validation: dict[float, Metrics]
    test: Metrics
    seconds: float


def run_block(
    fit: Callable[[Features, float], Predict],
    values: Sequence[float],
    parts: dict[str, Features],
) -> BlockResult:
    """Sweep the values of C or k, select the first with the best AUROC, fit again, and test."""
    start = time.perf_counter()
    fits = {value: fit(parts["train"], value) for value in values}
    validation = {
        value: evaluate(predict, parts["val"], parts["val_unknown"])
        for value, predict in fits.items()
    }
    best = max(validation, key=lambda value: validation[value].auroc)
    test = evaluate(fit(parts["train"], best), parts["test"], parts["test_unknown"])
    return BlockResult(best, fits, validation, test, time.perf_counter() - start)

"""Attribute images to the generative model that created them, or to ``unknown``.

>>> from whichgen import Attributor
>>> attributor = Attributor.load("runs/demo")  # doctest: +SKIP
>>> attributor.attribute(["photo.jpg"])[0].origin  # doctest: +SKIP
'midjourney'

To fit your own model, open a folder of images with one subfolder per origin, load an encoder,
extract the features of the images, and fit a head:

>>> from pathlib import Path
>>> from whichgen import FitOptions, extract_splits, fit, load_encoder, open_dataset, save_model
>>> from whichgen.features.store import FeatureStore
>>> from whichgen.heads.linear import LinearMethod
>>> cache = Path("cache")
>>> dataset = open_dataset("my-images", cache=cache)  # doctest: +SKIP
>>> encoder = load_encoder("openai/clip-vit-base-patch16")  # doctest: +SKIP
>>> store = FeatureStore(cache / "features", encoder)  # doctest: +SKIP
>>> features = extract_splits(dataset, encoder, store)  # doctest: +SKIP
>>> model = fit(features, encoder, FitOptions(LinearMethod())).model  # doctest: +SKIP
>>> save_model(model, Path("my-model"))  # doctest: +SKIP

:class:`OriginClassifier` is a scikit-learn estimator that does the same.

Each subpackage imports only from top-level modules such as :mod:`whichgen.errors`, from itself, and
from subpackages that precede it in this order::

    io → data → evidence → encoders → features → heads → openset → evaluation → models → inference
       → gallery → distributed → training → experiments → report → service → cli
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from whichgen.version import __version__ as __version__

if TYPE_CHECKING:
    from whichgen.data.open_dataset import open_dataset as open_dataset
    from whichgen.encoders.loading import load_encoder as load_encoder
    from whichgen.evaluation.evaluate_predictions import evaluate as evaluate
    from whichgen.inference.attribution import Attribution as Attribution
    from whichgen.inference.attributor import Attributor as Attributor
    from whichgen.inference.enroll import enroll_images as enroll_images
    from whichgen.models.origin_model import OriginModel as OriginModel
    from whichgen.models.saved_model import load_model as load_model
    from whichgen.models.saved_model import save_model as save_model
    from whichgen.sklearn import OriginClassifier as OriginClassifier
    from whichgen.training.fit_block import FitOptions as FitOptions
    from whichgen.training.fit_block import fit as fit
    from whichgen.training.fit_fusion import FusionOptions as FusionOptions
    from whichgen.training.fit_fusion import fuse as fuse
    from whichgen.training.split_features import extract_splits as extract_splits

# Module that defines each public name. Modules other than `version` are imported on first use,
# because `import whichgen` must not import torch.
_MODULES = {
    "Attribution": "inference.attribution",
    "Attributor": "inference.attributor",
    "FitOptions": "training.fit_block",
    "FusionOptions": "training.fit_fusion",
    "OriginClassifier": "sklearn",
    "OriginModel": "models.origin_model",
    "__version__": "version",
    "enroll_images": "inference.enroll",
    "evaluate": "evaluation.evaluate_predictions",
    "extract_splits": "training.split_features",
    "fit": "training.fit_block",
    "fuse": "training.fit_fusion",
    "load_encoder": "encoders.loading",
    "load_model": "models.saved_model",
    "open_dataset": "data.open_dataset",
    "save_model": "models.saved_model",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'whichgen' has no attribute {name!r}")
    return getattr(import_module(f"whichgen.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

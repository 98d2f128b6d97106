"""Options that several commands share, declared once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.console import needs_extra
from whichgen.constants import BATCH_SIZE, SPLIT_FRACTIONS
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.data.dataset_options import DatasetOptions
    from whichgen.encoders.base import Encoder
    from whichgen.features.store import FeatureStore
    from whichgen.inference.attributor import Attributor
    from whichgen.inference.nearest import Neighborhood
    from whichgen.models.saved_model import OriginModel

#: Folder of features, splits and sweeps.
CACHE_DIR = Path.home() / ".cache" / "whichgen"

# Panels of a command's `--help`.
DATASET = "Dataset"
ENCODER = "Encoder"
SELECTION = "Model selection"

Backbone = Annotated[
    str,
    typer.Option(
        help="Hugging Face ID, folder, timm name, efficientnet_lite0 or traces; append :patches "
        "or :crops; join several with +.",
        rich_help_panel=ENCODER,
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, openvino, cuda or cuda:N.", rich_help_panel=ENCODER)
]
Dtype = Annotated[
    str, typer.Option(help="Precision: float32 or bfloat16.", rich_help_panel=ENCODER)
]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Images per forward pass.", rich_help_panel=ENCODER)
]
CacheDir = Annotated[
    Path,
    typer.Option(
        envvar="WHICHGEN_CACHE",
        show_default="~/.cache/whichgen",
        help="Folder of cached features, splits and sweeps.",
    ),
]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing results.")]
Coverage = Annotated[
    float | None,
    typer.Option(help="Add a set of origins that contains the true one this often: 0.9."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
GalleryFolder = Annotated[
    Path, typer.Option("-g", "--gallery", help="Gallery folder from `gallery build`.")
]
QdrantUrl = Annotated[
    str,
    typer.Option(
        envvar="WHICHGEN_QDRANT_URL",
        help="Qdrant service; API key in WHICHGEN_QDRANT_API_KEY.",
    ),
]
VerifyKey = Annotated[
    Path | None,
    typer.Option(
        envvar="WHICHGEN_VERIFY_KEY",
        help="Public key (PEM) that must have signed the model.",
    ),
]
Model = Annotated[
    Path | None, typer.Option("-m", "--model", help="Folder of a model or of a training run.")
]


def require_model(model: Path | None) -> Path:
    """Return the folder given as ``--model``; :class:`DataError` if there is none."""
    if model is None:
        raise DataError(
            "no model given. Name the folder of a training run, "
            "e.g. --model output/linear-probe/openai/clip-vit-base-patch16/my_images."
        )
    return model


@dataclass(frozen=True)
class ModelOptions:
    """The model that a command uses, and how its encoder runs."""

    model: Model = None
    backbone: Annotated[
        str,
        typer.Option(
            help="Encoder folder, if it has moved since training.", rich_help_panel=ENCODER
        ),
    ] = ""
    device: Device = "auto"
    batch_size: BatchSize = BATCH_SIZE
    verify_key: VerifyKey = None

    @property
    def path(self) -> Path:
        """The model's folder, which is required."""
        return require_model(self.model)

    def load(self) -> Attributor:
        """Load the model and its encoder."""
        from whichgen.inference.attributor import Attributor

        return Attributor.load(
            self.path, device=self.device, backbone=self.backbone, key=self.verify_key
        )

    def run_folder(self) -> Path:
        """Return the folder of the training run that the model belongs to."""
        from whichgen.models.saved_model import find_model

        folder = find_model(self.path)
        return folder.parent if folder.name == "model" else folder


@dataclass(frozen=True)
class SplitFlags:
    """How a folder is split into train, val and test."""

    unknown: Annotated[
        str,
        typer.Option(help="Origins to hold out: NAME,NAME,…", rich_help_panel=DATASET),
    ] = ""
    unknown_val: Annotated[
        str,
        typer.Option(
            help="Unknown origins used in validation; the others are for test.",
            show_default="random half",
            rich_help_panel=DATASET,
        ),
    ] = ""
    share_unknown: Annotated[
        bool,
        typer.Option(
            "--share-unknown",
            help="Use all unknown origins in both validation and test.",
            rich_help_panel=DATASET,
        ),
    ] = False
    groups: Annotated[
        str,
        typer.Option(
            help="TSV or CSV file of path and group; groups are not split.", rich_help_panel=DATASET
        ),
    ] = ""
    group_column: Annotated[
        str, typer.Option(help="Column of --groups to use.", rich_help_panel=DATASET)
    ] = ""
    fractions: Annotated[
        str, typer.Option(help="Shares of train, val and test.", rich_help_panel=DATASET)
    ] = ",".join(map(str, SPLIT_FRACTIONS))
    seed: Seed = 0

    def dataset_options(
        self, data: str, *, families: str = "", per_class: int | None = None
    ) -> DatasetOptions:
        """Return the library's options for the dataset ``data`` split this way."""
        from whichgen.data.dataset_options import PER_CLASS, DatasetOptions

        return DatasetOptions(
            data=data,
            unknown=split_names(self.unknown),
            unknown_val=split_names(self.unknown_val),
            share_unknown=self.share_unknown,
            fractions=parse_fractions(self.fractions),
            groups=self.groups,
            group_column=self.group_column,
            families=families,
            seed=self.seed,
            per_class=PER_CLASS if per_class is None else per_class,
        )


@dataclass(frozen=True)
class TestData:
    """The dataset that a saved model is tested on."""

    data: Annotated[
        str,
        typer.Option(
            "-d",
            "--data",
            help="Folder or dataset whose test split is used.",
            show_default="the model's own dataset",
            rich_help_panel=DATASET,
        ),
    ] = ""
    split: SplitFlags = SplitFlags()
    cache_dir: CacheDir = CACHE_DIR

    def dataset_options(self, model: OriginModel) -> DatasetOptions:
        """Return the options of ``--data``, or of the dataset the model was trained on."""
        from whichgen.data.dataset_options import DatasetOptions

        if self.data:
            return self.split.dataset_options(self.data)
        if self.split != SplitFlags():
            raise DataError(
                "options such as --unknown, --groups and --seed describe another dataset. Name it "
                "with --data, or omit them to use the model's own test split."
            )
        if "data" not in model.run_metadata.get("config", {}):
            raise DataError("the model does not record its dataset. Name a dataset with --data.")
        return DatasetOptions.from_config(model.run_metadata["config"])


def resolve_backbone(backbone: str) -> str:
    """Make folders in a backbone name absolute, so that a model can be used from anywhere."""
    from whichgen.encoders.names import split_members, split_variants

    def resolve(member: str) -> str:
        name, variants = split_variants(member)
        return ":".join([str(Path(name).resolve()) if Path(name).is_dir() else name, *variants])

    return "+".join(map(resolve, split_members(backbone)))


def open_store(cache_dir: Path, encoder: Encoder) -> FeatureStore:
    """Open the feature store of an encoder."""
    from whichgen.features.store import FeatureStore

    return FeatureStore(cache_dir / "features", encoder)


def load_gallery(folder: Path, model: OriginModel, url: str) -> Neighborhood:
    """Open a gallery that was built with the model."""
    from whichgen.gallery.opening import open_gallery

    with needs_extra("qdrant"):
        return open_gallery(folder, model, url=url)


def check_writable(folder: Path) -> Path:
    """Return the folder; :class:`DataError` if it can't be written, before any work is done."""
    parent = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise DataError(f"{folder} can't be written. Choose another folder.")
    return folder


def split_names(text: str) -> tuple[str, ...]:
    """Split ``"a, b"`` into ``("a", "b")``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_counts(option: str, text: str) -> list[int]:
    """Parse ``"1,10,100"`` into sorted, distinct integers."""
    try:
        return sorted({int(n) for n in split_names(text)})
    except ValueError:
        raise DataError(
            f"{option} {text!r} is not a list of whole numbers. Write e.g. 1,10,100."
        ) from None


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Parse ``"0.6,0.2,0.2"`` into three numbers."""
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise DataError(
            f"--fractions {text!r} is not three numbers. Write e.g. 0.6,0.2,0.2."
        ) from None
    return train, val, test


def parse_kinds(text: str) -> tuple[str, ...]:
    """Parse ``"jpeg,blur"`` or ``"all"`` into distinct kinds of perturbation."""
    from whichgen.data.perturbations import INTENSITIES

    if text.strip() == "all":
        return tuple(INTENSITIES)
    kinds = tuple(dict.fromkeys(split_names(text)))
    unknown = [kind for kind in kinds if kind not in INTENSITIES]
    if unknown:
        raise DataError(
            f"unknown perturbation {', '.join(unknown)}. Choose from {', '.join(INTENSITIES)}, or "
            "all; intensities are fixed."
        )
    return kinds

"""Options, arguments and helper functions shared by several commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Argument, BadParameter, Option

from whichgen.cli.console import require_extra, say
from whichgen.defaults import BACKBONE, BATCH_SIZE, CACHE_DIR, SPLIT_FRACTIONS
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.data.dataset_options import DatasetOptions
    from whichgen.encoders.encoder import Encoder
    from whichgen.features.store import FeatureStore
    from whichgen.inference.attributor import Attributor
    from whichgen.inference.similar_images import NeighborIndex
    from whichgen.models.origin_model import OriginModel


def parse_folder(value: str | Path) -> Path:
    """Convert the value of an option for an output or cache folder to a path.

    Raises
    ------
    typer.BadParameter
        The value is empty, or the folder or one of its parents is a file.
    """
    if not str(value):  # Path("") would be the working folder
        raise BadParameter("the folder name is empty. Specify a folder, or omit the option.")
    path = Path(value)
    existing_path = next((p for p in (path, *path.absolute().parents) if os.path.lexists(p)), path)
    if existing_path.exists() and not existing_path.is_dir():
        raise BadParameter(f"{existing_path} is a file, not a folder. Choose another folder.")
    return path


#: The option ``--output-dir``; its help and default differ between commands.
OutputDir = partial(Option, "-o", "--output-dir", parser=parse_folder, metavar="FOLDER")

Images = Annotated[
    list[Path], Argument(help="Image files, folders, @FILE (one path per line), or - (stdin).")
]
Device = Annotated[str, Option(help="Device: auto, openvino, cpu (torch), cuda or cuda:N.")]
BatchSize = Annotated[int, Option(min=1, help="Number of images per forward pass.")]
CacheDir = Annotated[
    Path,
    Option(
        parser=parse_folder,
        metavar="FOLDER",
        envvar="WHICHGEN_CACHE",
        show_default="~/.cache/whichgen",
        help="Cache folder.",
    ),
]
RunFolder = Annotated[
    Path | None, OutputDir(help="Results folder.", show_default="the model's run folder")
]
Seed = Annotated[int, Option(min=0, max=2**32 - 1, help="Random seed.")]
Force = Annotated[bool, Option("--force", help="Overwrite existing results.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON.")]
Wide = Annotated[bool, Option("--wide", help="Print all columns and full paths.")]
Coverage = Annotated[
    float | None, Option(help="Add prediction sets with this coverage (between 0 and 1), e.g. 0.9.")
]
Sources = Annotated[
    str, Option(help="`folders` (ORIGIN/SOURCE/IMAGE), or TSV or CSV file of path and source.")
]
Real = Annotated[str, Option(help="Names of folders of photographs besides real: NAME,NAME,…")]
Stability = Annotated[
    bool,
    Option(
        "--stability/--no-stability",
        help="Make answers less specific if those of altered copies differ (6x time).",
    ),
]
QdrantUrl = Annotated[
    str,
    Option(envvar="WHICHGEN_QDRANT_URL", help="Qdrant URL; API key in WHICHGEN_QDRANT_API_KEY."),
]


def join_values(values: Iterable[object]) -> str:
    """Join values with commas, e.g. ``0.6,0.2,0.2``."""
    return ",".join(map(str, values))


@dataclass(frozen=True)
class ModelFolder:
    """Options for the folder of a model and the public key for its signature."""

    panel: ClassVar = "Model"

    model: Annotated[Path | None, Option("-m", "--model", help="Run folder or model folder.")] = (
        None
    )
    verify_key: Annotated[
        Path | None,
        Option(
            envvar="WHICHGEN_VERIFY_KEY",
            help="PEM file of the public key that must verify the model's signature.",
        ),
    ] = None

    @property
    def path(self) -> Path:
        """Value of ``--model``.

        Raises
        ------
        DataError
            The option is missing.
        """
        if self.model is None:
            from whichgen.models.saved_model import suggest_runs

            example = ", e.g. output/fusion/openai/clip-vit-base-patch16+traces/my_images"
            runs = suggest_runs(Path("output")) or example
            raise DataError(f"--model is missing. Set it to a run folder{runs}.")
        return self.model


@dataclass(frozen=True)
class ModelOptions(ModelFolder):
    """Options for a model, and the name, device and batch size of its encoder."""

    backbone: Annotated[
        str, Option(help="Name or folder of the encoder.", show_default="as in training")
    ] = ""
    device: Device = "auto"
    batch_size: BatchSize = BATCH_SIZE

    def load(self) -> Attributor:
        """Load the model and its encoder; verify the model's signature if a public key is set.

        Raises
        ------
        DataError
            ``--model`` is missing.
        ModelFileError
            The model is missing or damaged, its signature can't be verified with the key, or it was
            fitted on another encoder.
        EncoderError
            The encoder can't be loaded.
        """
        from whichgen.inference.attributor import Attributor

        return Attributor.load(
            self.path, device=self.device, backbone=self.backbone, key=self.verify_key
        )

    def describe_run(
        self, model: OriginModel, seeds: Mapping[str, int], data_hash: str, **config: Any
    ) -> dict[str, Any]:
        """Collect the run metadata of a result computed with the model.

        Parameters
        ----------
        model
            The loaded model.
        seeds
            Random seeds by name.
        data_hash
            Digest of the input images.
        config
            Further options to record.

        Returns
        -------
        dict
            Result of :func:`~whichgen.io.run_metadata.collect_run_metadata`.

        Raises
        ------
        DataError
            ``--model`` is missing, or the environment variable ``SOURCE_DATE_EPOCH`` is not a valid
            time.
        """
        from whichgen.io.run_metadata import collect_run_metadata

        config |= {"model": str(self.path.resolve()), "model_data_hash": model.data_hash}
        return collect_run_metadata(config, seeds=seeds, encoder=model.encoder, data_hash=data_hash)

    def find_run_folder(self) -> Path:
        """Return the run folder of the model, or the model folder if it is not named ``model``.

        Raises
        ------
        DataError
            ``--model`` is missing.
        ModelFileError
            The value of ``--model`` is neither a run folder nor a model folder.
        """
        from whichgen.models.saved_model import find_model_folder

        folder = find_model_folder(self.path)
        return folder.parent if folder.name == "model" else folder


@dataclass(frozen=True)
class AttributionModel(ModelOptions):
    """Like :class:`ModelOptions`, but ``--model`` defaults to the built-in model."""

    model: Annotated[
        Path | None,
        Option("-m", "--model", help="Run folder or model folder.", show_default="built-in"),
    ] = None

    @property
    def path(self) -> Path:
        """Value of ``--model``, or the folder of the built-in model."""
        from whichgen.models.builtin_model import BUILTIN_MODEL

        return self.model or BUILTIN_MODEL

    def load(self) -> Attributor:
        """Load the model and its encoder, and print a note if ``--model`` is not set.

        Raises
        ------
        ModelFileError, EncoderError
            See :meth:`ModelOptions.load`.
        """
        if self.model is None:
            say(f"The built-in model is used. Its metrics and limits: {self.path}/README.md")
        return super().load()


@dataclass(frozen=True)
class EncoderOptions:
    """Options for the encoder: its name, device, precision and batch size."""

    panel: ClassVar = "Encoder"

    backbone: Annotated[
        str, Option(help="Hugging Face ID, timm name, folder, traces or spectra; join with +.")
    ] = BACKBONE
    device: Device = "auto"
    dtype: Annotated[str, Option(help="Precision: float32 or bfloat16.")] = "float32"
    batch_size: BatchSize = BATCH_SIZE

    @property
    def name(self) -> str:
        """Value of ``--backbone`` with the paths of encoder folders converted to absolute paths."""
        from whichgen.encoders.encoder_names import split_members, split_variants

        def resolve_folder(member: str) -> str:
            name, variants = split_variants(member)
            return ":".join([str(Path(name).resolve()) if Path(name).is_dir() else name, *variants])

        return "+".join(map(resolve_folder, split_members(self.backbone)))


@dataclass(frozen=True)
class SplitFlags:
    """Options for splitting a folder into training, validation and test sets."""

    panel: ClassVar = "Dataset"

    unknown: Annotated[str, Option(help="Origins to hold out as unknown: NAME,NAME,…")] = ""
    unknown_val: Annotated[
        str,
        Option(help="Unknown origins for validation only: NAME,NAME,…", show_default="random half"),
    ] = ""
    share_unknown: Annotated[
        bool,
        Option("--share-unknown", help="Use every unknown origin in both validation and test."),
    ] = False
    groups: Annotated[
        str, Option(help="TSV or CSV file of path and group; each group stays in one split.")
    ] = ""
    group_column: Annotated[
        str,
        Option(
            help="Name or number of the group column in the --groups file.",
            show_default="group, content or the only other column",
        ),
    ] = ""
    sources: Sources = ""
    real: Real = ""
    fractions: Annotated[str, Option(help="Fractions of known images in train, val and test.")] = (
        join_values(SPLIT_FRACTIONS)
    )
    seed: Seed = 0

    def build_dataset_options(self, **settings: Any) -> DatasetOptions:
        """Build :class:`DatasetOptions` from these flags; ``settings`` add or replace fields.

        Raises
        ------
        DataError
            ``--fractions`` is not a list of three numbers.
        """
        from whichgen.data.dataset_options import DatasetOptions

        parsed_values = {
            "unknown": split_names(self.unknown),
            "unknown_val": split_names(self.unknown_val),
            "real": split_names(self.real),
            "fractions": parse_fractions(self.fractions),
        }
        return DatasetOptions(**{**asdict(self), **parsed_values, **settings})


@dataclass(frozen=True)
class EvaluationOptions:
    """Options for a saved model, the dataset to evaluate it on, and the cache folder."""

    panel: ClassVar = "Dataset"

    model: ModelOptions = ModelOptions()
    data: Annotated[
        str,
        Option(
            "-d",
            "--data",
            help="Folder or dataset string; its test split is used.",
            show_default="the model's test split",
        ),
    ] = ""
    split: SplitFlags = SplitFlags()
    cache_dir: CacheDir = CACHE_DIR


def open_store(cache_dir: Path, encoder: Encoder) -> FeatureStore:
    """Open the feature store of an encoder in ``cache_dir/features``.

    Raises
    ------
    StoreError
        The feature store can't be read or written.
    """
    from whichgen.features.store import FeatureStore

    return FeatureStore(cache_dir / "features", encoder)


def open_gallery(folder: Path, model: OriginModel, url: str) -> NeighborIndex:
    """Open a gallery that was built with ``model``.

    ``url`` is the URL of the Qdrant service; it is used only for galleries of kind ``qdrant``.

    Raises
    ------
    GalleryError
        The gallery is missing or damaged or was built with another model, or Qdrant can't be used
        (see :func:`~whichgen.gallery.search.load_gallery`).
    DataError
        The optional dependencies for Qdrant are not installed.
    """
    from whichgen.gallery.search import load_gallery

    with require_extra("qdrant"):
        return load_gallery(folder, model, url=url)


def check_writable(folder: Path) -> Path:
    """Check that a folder is writable or can be created, and return it.

    Raises
    ------
    DataError
        The folder is not writable or can't be created.
    """
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise DataError(f"{folder} is not writable. Choose another folder.")
    return folder


def split_names(text: str) -> tuple[str, ...]:
    """Split comma-separated names; omit empty and repeated names: ``"a, b"`` → ``("a", "b")``."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def parse_shots(text: str) -> list[int]:
    """Parse a value of ``--shots``, such as ``"1,10,100"``, into sorted, distinct integers.

    Raises
    ------
    DataError
        The text is empty or is not a list of integers.
    """
    try:
        numbers = sorted({int(n) for n in split_names(text)})
    except ValueError:
        numbers = []
    if not numbers:
        raise DataError(f"--shots {text!r} is not a list of integers. Write e.g. 1,10,100.")
    return numbers


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Parse a value of ``--fractions``, such as ``"0.6,0.2,0.2"``, into three numbers.

    Raises
    ------
    DataError
        The text is not a list of three numbers.
    """
    try:
        train, val, test = map(float, text.split(","))
    except ValueError:
        raise DataError(
            f"--fractions {text!r} is not a list of three numbers. Write e.g. 0.6,0.2,0.2."
        ) from None
    return train, val, test


def parse_kinds(text: str) -> tuple[str, ...]:
    """Parse a list such as ``"jpeg,blur"`` into distinct names of perturbations.

    The text ``"all"`` stands for all perturbations.

    Raises
    ------
    DataError
        A perturbation is unknown, or ``all`` is combined with other names.
    """
    from whichgen.data.images.perturbations import INTENSITIES

    if text.strip() == "all":
        return tuple(INTENSITIES)
    kinds = split_names(text)
    if unknown := [kind for kind in kinds if kind not in INTENSITIES]:
        raise DataError(
            f"unknown perturbation {', '.join(unknown)}. Choose from {', '.join(INTENSITIES)}. For "
            "all of them, write only `all`."
        )
    return kinds

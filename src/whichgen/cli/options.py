"""Options that several commands share, declared once."""

from __future__ import annotations

import functools
import inspect
import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from whichgen.cli.console import guarded, progress, warn
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.data.dataset import Dataset
    from whichgen.data.dataset_options import DatasetOptions
    from whichgen.encoders.base import Encoder
    from whichgen.features.store import FeatureStore
    from whichgen.heads.base import HeadMethod
    from whichgen.training.fit_block import FitOptions
    from whichgen.training.fit_fusion import FusionOptions
    from whichgen.training.split_features import Parts

#: Where features, splits and sweeps are kept, unless WHICHGEN_CACHE names another folder.
CACHE = Path.home() / ".cache" / "whichgen"

# The panels of `--help`.
FOLDERS = "A folder of folders as data"
ENCODER = "Encoder"
CHOICE = "Choice of block and hyperparameter"
CONTROLS = "Controls"

Device = Annotated[
    str, typer.Option(help="auto, cpu, openvino, cuda, cuda:1 …", rich_help_panel=ENCODER)
]
VerifyKey = Annotated[
    Path | None,
    typer.Option(
        envvar="WHICHGEN_VERIFY_KEY",
        help="Refuse a model that is not signed with this public key.",
    ),
]
Backbone = Annotated[
    str,
    typer.Option(
        help="Hub id, local folder, timm name, efficientnet_lite0 or traces (need no hub); "
        "then :patches, :crops; several joined by +.",
        rich_help_panel=ENCODER,
    ),
]
Dtype = Annotated[
    str, typer.Option(help="Precision: float32 or bfloat16.", rich_help_panel=ENCODER)
]
CacheFolder = Annotated[
    Path,
    typer.Option(
        envvar="WHICHGEN_CACHE",
        show_default="~/.cache/whichgen",
        help="Features, splits and sweeps are kept here.",
    ),
]
QdrantUrl = Annotated[
    str,
    typer.Option(
        envvar="WHICHGEN_QDRANT_URL",
        help="The Qdrant service of a gallery of kind qdrant; its key: WHICHGEN_QDRANT_API_KEY.",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(min=1, help="Images in one pass of the encoder.", rich_help_panel=ENCODER),
]
Unknown = Annotated[
    str, typer.Option(help="Origins to hold out: NAME,NAME,…", rich_help_panel=FOLDERS)
]
UnknownVal = Annotated[
    str,
    typer.Option(
        help="Those of --unknown for validation; test has the rest (default: a seeded half).",
        rich_help_panel=FOLDERS,
    ),
]
ShareUnknown = Annotated[
    bool,
    typer.Option(
        "--share-unknown",
        help="Validation and test both use all unknown origins.",
        rich_help_panel=FOLDERS,
    ),
]
Groups = Annotated[
    str,
    typer.Option(
        help="TSV or CSV file of path and group; a group's images stay in one part.",
        rich_help_panel=FOLDERS,
    ),
]
GroupColumn = Annotated[
    str, typer.Option(help="The groups file's column.", rich_help_panel=FOLDERS)
]
Fractions = Annotated[
    str,
    typer.Option(help="Shares of train, validation and test.", rich_help_panel=FOLDERS),
]
Seed = Annotated[int, typer.Option(help="Seed of splits, folds and draws.")]


@dataclass(frozen=True)
class Request:
    """What a fitting command was asked for, apart from the head."""

    source: DatasetOptions
    backbone: str
    device: str
    dtype: str
    output_dir: Path | None
    blocks: tuple[int, ...]
    metric: str
    protocol: str
    tpr: float
    augment: tuple[str, ...]
    batch_size: int
    cache: Path
    jobs: int
    force: bool
    leak_check: bool
    shuffles: int
    thumbnails: bool

    def as_config(self, method: HeadMethod | FusionOptions) -> dict[str, Any]:
        """The JSON values a result's provenance carries."""
        return {
            **self.source.as_config(),
            "backbone": self.backbone,
            "dtype": self.dtype,
            "head": asdict(method),  # type: ignore[arg-type]
            "blocks": list(self.blocks),
            "metric": self.metric,
            "protocol": self.protocol,
            "tpr": self.tpr,
            "augment": list(self.augment),
        }

    def fit_options(self, method: HeadMethod) -> FitOptions:
        """The options of :func:`whichgen.training.fit_block.fit`."""
        from whichgen.training.fit_block import FitOptions

        return FitOptions(
            head_method=method,
            blocks=self.blocks,
            metric=self.metric,
            protocol=self.protocol,
            tpr=self.tpr,
            seed=self.source.seed,
            jobs=self.jobs,
            thumbnails=self.thumbnails,
        )

    def run_folder(self, kind: str, dataset: Dataset) -> Path:
        """``OUTPUT_DIR/BACKBONE/DATASET``, without characters that a path should not hold."""
        from whichgen.encoders.names import split_members, split_variants

        def member(name: str) -> str:
            network, variants = split_variants(name)
            return "_".join([Path(network).name if Path(network).is_dir() else network, *variants])

        base = self.output_dir or Path("output") / kind
        folder = "+".join(member(name) for name in split_members(self.backbone))
        return base / folder / dataset.name.replace(":split=", "_").replace(":", "_")

    def extract(
        self,
        dataset: Dataset,
        options: FitOptions | None = None,
        copied: Sequence[str] = ("train",),
    ) -> tuple[Encoder, Parts]:
        """Loads the encoder, checks the blocks asked for, and extracts what the store lacks."""
        from whichgen.encoders.loading import load_encoder
        from whichgen.training.split_features import extract_parts

        encoder = load_encoder(self.backbone, device=self.device, dtype=self.dtype)
        if options:
            options.blocks_of(encoder)  # a wrong block is told now, not after hours
        parts = extract_parts(
            dataset,
            encoder,
            open_store(self.cache, encoder),
            augment=self.augment,
            copied=copied,
            seed=self.source.seed,
            batch_size=self.batch_size,
            progress=progress,
        )
        warn_skipped(parts.skipped)
        return encoder, parts


def resolved(backbone: str) -> str:
    """The same with absolute folders: a model file names its encoder, and is used from anywhere."""
    from whichgen.encoders.names import split_members, split_variants

    def member(name: str) -> str:
        network, variants = split_variants(name)
        place = str(Path(network).resolve()) if Path(network).is_dir() else network
        return ":".join([place, *variants])

    return "+".join(member(name) for name in split_members(backbone))


def warn_skipped(reasons: Sequence[str]) -> None:
    """Says how many files are left out, if any."""
    if reasons:
        warn(f"{len(reasons)} files can't be read and are left out, the first: {reasons[0]}")


def open_store(cache: Path, encoder: Encoder) -> FeatureStore:
    """The feature store of an encoder."""
    from whichgen.features.store import FeatureStore

    return FeatureStore(cache / "features", encoder)


def writable(folder: Path) -> Path:
    """The folder; :class:`DataError` if nothing can be written there: now, not after hours."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise DataError(f"{folder} can't be written. Choose another place.")
    return folder


def names(text: str) -> tuple[str, ...]:
    """``"a, b"`` → ``("a", "b")``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def shares(text: str) -> tuple[float, float, float]:
    """``"0.6,0.2,0.2"`` → three numbers."""
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise DataError(f"fractions {text!r}: expected three numbers, as in 0.6,0.2,0.2.") from None
    return train, val, test


def kinds_of(text: str) -> tuple[str, ...]:
    """``"jpeg,blur"`` → kinds of perturbation, each once; ``"all"`` → all there are."""
    from whichgen.data.perturbations import INTENSITIES

    if text.strip() == "all":
        return tuple(INTENSITIES)
    kinds = tuple(dict.fromkeys(names(text)))
    stray = [kind for kind in kinds if kind not in INTENSITIES]
    if stray:
        raise DataError(
            f"no kind of perturbation: {', '.join(stray)}. There are {', '.join(INTENSITIES)}, and "
            "`all` of them; their intensities are fixed."
        )
    return kinds


def load_config(context: typer.Context, value: str) -> str:
    """``-c``: a TOML file whose keys are option names, or ``base``, the built-in defaults."""
    if value in ("", "base"):
        return value
    try:
        settings = tomllib.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(
            f"{value} can't be read as TOML ({error}). Give a file with lines such as "
            'backbone = "efficientnet_lite0", or leave -c out.'
        ) from None
    allowed = {p.name for p in context.command.params}
    stray = sorted(k for k in settings if k.replace("-", "_") not in allowed)
    if stray:
        raise typer.BadParameter(
            f"{value}: no option {', '.join(stray)}; there are {', '.join(sorted(allowed))}."
        )
    given = {
        k.replace("-", "_"): ",".join(map(str, v)) if isinstance(v, list) and k != "blocks" else v
        for k, v in settings.items()
    }
    context.default_map = {**(context.default_map or {}), **given}
    return value


def _shared(
    config_name: Annotated[
        str,
        typer.Option(
            "-c",
            "--config_name",
            is_eager=True,
            callback=load_config,
            help='TOML file of option values, e.g. backbone = "efficientnet_lite0".',
        ),
    ] = "base",
    data: Annotated[
        str,
        typer.Option(
            "-d",
            "--data",
            help="A folder with one sub-folder an origin; or GenImage:split=split1…5, "
            "OSMA:split=split1…5, DiffusionForensics, NAME (of `dataset split`), with "
            ":root=FOLDER if not under ./dataset.",
        ),
    ] = "GenImage:split=split1",
    device: Device = "auto",
    output_dir: Annotated[
        Path | None, typer.Option("-o", "--output_dir", help="Results: OUTPUT_DIR/BACKBONE/DATA.")
    ] = None,
    blocks: Annotated[
        list[int] | None,
        typer.Option(
            "-b",
            "--blocks",
            help="Blocks to try, counted from 0: -b 5 6 7 (default: all).",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    backbone: Backbone = "openai/clip-vit-base-patch16",
    dtype: Dtype = "float32",
    unknown: Unknown = "",
    unknown_val: UnknownVal = "",
    share_unknown: ShareUnknown = False,
    groups: Groups = "",
    group_column: GroupColumn = "",
    families: Annotated[
        str,
        typer.Option(help="TSV file of origin and family, beside the built-in table."),
    ] = "",
    fractions: Fractions = "0.6,0.2,0.2",
    samples_per_class: Annotated[
        int, typer.Option("--samples_per_class", min=0, help="Images a class at most; 0: all.")
    ] = 4000,
    metric: Annotated[
        str,
        typer.Option(help="Chosen by: AUC, OSCR or accuracy.", rich_help_panel=CHOICE),
    ] = "AUC",
    protocol: Annotated[
        str,
        typer.Option(
            help="clean, or paper: the first implementation's, whose figures flatter.",
            rich_help_panel=CHOICE,
        ),
    ] = "clean",
    tpr: Annotated[
        float, typer.Option(help="Share of known validation images the threshold keeps.")
    ] = 0.95,
    augment: Annotated[
        str,
        typer.Option(help="Add perturbed training copies: all, or jpeg,blur, crop,resize,social."),
    ] = "",
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    cache: CacheFolder = CACHE,
    jobs: Annotated[
        int, typer.Option(min=-1, help="Processes that fit heads; -1: one for each core.")
    ] = -1,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite a run of other settings in the same folder."),
    ] = False,
    leak_check: Annotated[
        bool,
        typer.Option(help="Try to tell origins by file and color.", rich_help_panel=CONTROLS),
    ] = True,
    shuffles: Annotated[
        int,
        typer.Option(
            min=0, help="Fits on shuffled labels, which must fail.", rich_help_panel=CONTROLS
        ),
    ] = 5,
    no_pictures: Annotated[
        bool,
        typer.Option(
            "--no-pictures", help="Keep no small pictures of images in the model, to show."
        ),
    ] = False,
) -> Request:
    from whichgen.data.dataset_options import DatasetOptions

    return Request(
        source=DatasetOptions(
            data=data,
            unknown=names(unknown),
            unknown_val=names(unknown_val),
            share_unknown=share_unknown,
            fractions=shares(fractions),
            groups=groups,
            group_column=group_column,
            families=families,
            seed=seed,
            per_class=samples_per_class,
        ),
        backbone=resolved(backbone),
        device=device,
        dtype=dtype,
        output_dir=output_dir,
        blocks=tuple(blocks or ()),
        metric=metric,
        protocol=protocol,
        tpr=tpr,
        augment=kinds_of(augment),
        batch_size=batch_size,
        cache=cache,
        jobs=jobs or -1,
        force=force,
        leak_check=leak_check,
        shuffles=shuffles,
        thumbnails=not no_pictures,
    )


def fitting_command(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the shared options, as ``request``, beside its own."""
    shared = inspect.signature(_shared).parameters
    own = inspect.signature(command).parameters
    hints = get_type_hints(_shared, include_extras=True) | get_type_hints(
        command, include_extras=True, localns={"Request": Request}
    )

    @functools.wraps(command)
    def run(**values: Any) -> None:
        request = _shared(**{name: values.pop(name) for name in shared})
        command(request=request, **values)

    parameters = [
        p.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, p in {**own, **shared}.items()
        if name != "request"
    ]
    result = guarded(run)
    result.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    result.__annotations__ = {p.name: p.annotation for p in parameters}
    del result.__wrapped__  # type: ignore[attr-defined]  # or typer would look through it
    return result

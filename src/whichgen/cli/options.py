"""Options that several commands share, declared once."""

from __future__ import annotations

import functools
import inspect
import os
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from whichgen.cli.console import guarded, track
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.data.samples import Dataset
    from whichgen.data.source import DataSource
    from whichgen.encoders.encoder import Encoder
    from whichgen.experiments.fit import FitOptions
    from whichgen.experiments.parts import Parts
    from whichgen.features.store import FeatureStore
    from whichgen.heads.base import HeadFamily

#: Where features, splits and sweeps are kept.
CACHE = Path(os.environ.get("WHICHGEN_CACHE", Path.home() / ".cache" / "whichgen"))

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")]
CacheFolder = Annotated[
    Path, typer.Option(help="Features, splits and sweeps are kept here [env: WHICHGEN_CACHE].")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in one pass of the encoder.")]
Unknown = Annotated[str, typer.Option(help="Folder: origins to hold out, NAME,NAME,…")]
UnknownVal = Annotated[
    str, typer.Option(help="Folder: those of --unknown that validation uses (else: a seeded half).")
]
ShareUnknown = Annotated[
    bool, typer.Option(help="Folder: validation and test use all unknown origins.")
]
Groups = Annotated[
    str, typer.Option(help="Folder: TSV/CSV of path and group; a group stays on one side.")
]
GroupColumn = Annotated[str, typer.Option(help="The groups file's column.")]
Fractions = Annotated[str, typer.Option(help="Folder: shares of train, validation and test.")]
Seed = Annotated[int, typer.Option(help="Seed of splits, folds and draws.")]


@dataclass(frozen=True)
class Request:
    """What a fitting command was asked for, apart from the head."""

    source: DataSource
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
    force: bool

    def as_config(self, family: HeadFamily) -> dict[str, Any]:
        """The JSON values a result's provenance carries."""
        return {
            **self.source.as_config(),
            "backbone": self.backbone,
            "dtype": self.dtype,
            "head": asdict(family),  # type: ignore[call-overload]
            "blocks": list(self.blocks),
            "metric": self.metric,
            "protocol": self.protocol,
            "tpr": self.tpr,
            "augment": list(self.augment),
        }

    def fit_options(self, family: HeadFamily) -> FitOptions:
        """The options of :func:`whichgen.experiments.fit.fit`."""
        from whichgen.experiments.fit import FitOptions

        return FitOptions(
            family=family,
            blocks=self.blocks,
            metric=self.metric,
            protocol=self.protocol,
            tpr=self.tpr,
            seed=self.source.seed,
        )

    def run_folder(self, kind: str, dataset: Dataset) -> Path:
        """``OUTPUT_DIR/BACKBONE/DATASET``, without characters that a path should not hold."""
        base = self.output_dir or Path("output") / kind
        backbone = Path(self.backbone).name if Path(self.backbone).is_dir() else self.backbone
        return base / backbone / dataset.name.replace(":split=", "_").replace(":", "_")

    def extract(self, dataset: Dataset) -> tuple[Encoder, Parts]:
        """Loads the encoder and extracts what the store lacks."""
        from whichgen.encoders.load import load_encoder
        from whichgen.experiments.parts import extract_parts

        encoder = load_encoder(self.backbone, device=self.device, dtype=self.dtype)
        return encoder, extract_parts(
            dataset,
            encoder,
            open_store(self.cache, encoder),
            augment=self.augment,
            seed=self.source.seed,
            batch_size=self.batch_size,
            track=track,
        )


def open_store(cache: Path, encoder: Encoder) -> FeatureStore:
    """The feature store of an encoder."""
    from whichgen.features.store import FeatureStore

    return FeatureStore(cache / "features", encoder)


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
            help="TOML file with option values, or `base`: the built-in defaults.",
        ),
    ] = "base",
    data: Annotated[
        str,
        typer.Option(
            "-d",
            "--data",
            help="GenImage:split=split1…5, OSMA:split=split1…5, DiffusionForensics (each with "
            ":root=FOLDER if not under ./dataset), or a folder with one sub-folder an origin.",
        ),
    ] = "GenImage:split=split1",
    device: Device = "auto",
    output_dir: Annotated[
        Path | None, typer.Option("-o", "--output_dir", help="Results: OUTPUT_DIR/BACKBONE/DATA.")
    ] = None,
    blocks: Annotated[
        list[int] | None,
        typer.Option("-b", "--blocks", help="Blocks to try, from 0: -b 5 6 7 (default: all)."),
    ] = None,
    backbone: Annotated[
        str,
        typer.Option(
            help="Hub id, local folder, timm name, or efficientnet_lite0 (needs no hub).",
        ),
    ] = "openai/clip-vit-base-patch16",
    dtype: Annotated[str, typer.Option(help="Encoder precision: float32 or bfloat16.")] = "float32",
    unknown: Unknown = "",
    unknown_val: UnknownVal = "",
    share_unknown: ShareUnknown = False,
    groups: Groups = "",
    group_column: GroupColumn = "",
    fractions: Fractions = "0.6,0.2,0.2",
    samples_per_class: Annotated[
        int, typer.Option("--samples_per_class", min=0, help="Images a class at most; 0: all.")
    ] = 4000,
    metric: Annotated[str, typer.Option(help="Chosen by: AUC, OSCR or accuracy.")] = "AUC",
    protocol: Annotated[
        str, typer.Option(help="clean, or paper (the first implementation's; flattering).")
    ] = "clean",
    tpr: Annotated[
        float, typer.Option(help="Share of known validation images the threshold keeps.")
    ] = 0.95,
    augment: Annotated[
        str, typer.Option(help="Perturbed training copies: jpeg,blur,crop,resize.")
    ] = "",
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    cache: CacheFolder = CACHE,
    force: Annotated[
        bool, typer.Option(help="Overwrite a run of other settings in the same folder.")
    ] = False,
) -> Request:
    from whichgen.data.perturb import parse_perturbation
    from whichgen.data.source import DataSource

    return Request(
        source=DataSource(
            data=data,
            unknown=names(unknown),
            unknown_val=names(unknown_val),
            share_unknown=share_unknown,
            fractions=shares(fractions),
            groups=groups,
            group_column=group_column,
            seed=seed,
            per_class=samples_per_class,
        ),
        backbone=backbone,
        device=device,
        dtype=dtype,
        output_dir=output_dir,
        blocks=tuple(blocks or ()),
        metric=metric,
        protocol=protocol,
        tpr=tpr,
        augment=tuple(parse_perturbation(kind).kind for kind in names(augment)),
        batch_size=batch_size,
        cache=cache,
        force=force,
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

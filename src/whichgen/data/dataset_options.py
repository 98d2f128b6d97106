"""Where a data set comes from: what the user asked for, enough to open the same one again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from whichgen.data.benchmarks import DEFAULT_ROOT, parse_spec
from whichgen.data.dataset import Dataset, limit_per_class
from whichgen.data.families import read_families
from whichgen.data.folders import open_dataset
from whichgen.data.groups import read_groups
from whichgen.data.splits import SplitOptions
from whichgen.errors import DataError
from whichgen.progress import Progress, no_progress

#: Images a class at most, as in the paper.
PER_CLASS = 4000


@dataclass(frozen=True)
class DatasetOptions:
    """A data-set string or a folder of folders, and how a folder is split.

    Parameters
    ----------
    data
        ``GenImage:split=split1``, ``OSMA:split=split2:root=/data``, or a folder.
    unknown, unknown_val, share_unknown, fractions, seed
        See :class:`~whichgen.data.splits.SplitOptions`; for a folder only.
    groups, group_column
        A TSV or CSV file that names the group of each image, and its column (empty: guessed).
    families
        A file of ``origin<TAB>family`` lines.
    per_class
        Images a class at most in each part; 0: all.
    """

    data: str
    unknown: tuple[str, ...] = ()
    unknown_val: tuple[str, ...] = ()
    share_unknown: bool = False
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    groups: str = ""
    group_column: str = ""
    families: str = ""
    seed: int = 0
    per_class: int = PER_CLASS

    def open(self, cache: Path, *, progress: Progress = no_progress) -> Dataset:
        """The data set; :class:`~whichgen.errors.DataError` says what is wrong with it."""
        options = SplitOptions(
            unknown=self.unknown,
            unknown_val=self.unknown_val,
            share_unknown=self.share_unknown,
            fractions=self.fractions,
            groups=read_groups(Path(self.groups), self.group_column or None)
            if self.groups
            else None,
            seed=self.seed,
        )
        opened = limit_per_class(
            open_dataset(self.data, options, cache=cache, progress=progress), self.per_class
        )
        if self.families:
            opened = replace(opened, families=read_families(Path(self.families)))
        return opened

    def as_config(self) -> dict[str, Any]:
        """JSON values, with absolute paths, from which :meth:`from_config` makes it again."""
        config = asdict(self)
        config["data"] = resolve_spec(self.data)
        for file in ("groups", "families"):
            if config[file]:
                config[file] = str(Path(config[file]).resolve())
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DatasetOptions:
        """The source that :meth:`as_config` described; other keys are passed over.

        Raises
        ------
        DataError
            A value is of another type than :meth:`as_config` gives.
        """
        known = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        try:
            return TypeAdapter(cls).validate_python(known)
        except ValidationError as error:
            wrong = ", ".join(str(e["loc"][0]) for e in error.errors() if e["loc"])
            raise DataError(
                f"what is recorded of the data can't be read ({wrong}). Name the data with --data."
            ) from None


def resolve_spec(data: str) -> str:
    """A folder or a data-set string, as it is called from any working directory."""
    if os.path.isdir(data):  # noqa: PTH112 (Path's raises if a name is too long)
        return str(Path(data).resolve())
    name, options = parse_spec(data)
    root = Path(options.pop("root", DEFAULT_ROOT)).resolve()
    return ":".join([name, *(f"{k}={v}" for k, v in options.items()), f"root={root}"])

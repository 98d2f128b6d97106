"""Dataset options, which are saved with each run so that the dataset can be opened again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from whichgen.data.benchmarks.benchmark_files import DEFAULT_ROOT, parse_spec
from whichgen.data.dataset import Dataset, Sample, limit_per_class
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.layouts.folder_layout import read_layout, warn_about_layout
from whichgen.data.open_dataset import open_dataset
from whichgen.data.origins.families import read_families
from whichgen.data.splits.split_images import read_samples
from whichgen.data.splits.split_options import SplitOptions, check_split_options
from whichgen.data.tables.groups_and_sources import SOURCE_FOLDERS, read_groups, read_source_option
from whichgen.defaults import SAMPLES_PER_CLASS
from whichgen.errors import DataError
from whichgen.option_names import name_option
from whichgen.progress import Progress, no_progress

#: Minimum fraction of the images of a folder that counts as most of them.
_MOST_SHARE = 0.9


@dataclass(frozen=True)
class DatasetOptions(SplitOptions):
    """Options that select a dataset and, for an image folder, define its splits.

    The options of :class:`~whichgen.data.splits.split_options.SplitOptions` apply only to image
    folders.

    Parameters
    ----------
    data
        Dataset string, such as ``OSMA:split=split2:root=/data``, or image folder.
    groups
        TSV or CSV file with the group of each image
        (:mod:`whichgen.data.tables.groups_and_sources`); if empty, the groups are not known. Only
        for image folders.
    group_column
        Name of the group column in the file ``groups``, or its number, counted from 1; if empty,
        :func:`~whichgen.data.tables.groups_and_sources.read_groups` chooses the column.
    sources
        ``folders`` if each source is a subfolder of its origin's folder, or a TSV or CSV file with
        the source of each image (:mod:`whichgen.data.tables.groups_and_sources`); if empty, the
        sources are not known. Only for image folders.
    families
        File of ``origin<TAB>family`` lines; if empty, no file is read. For an origin that is not in
        the file, :mod:`whichgen.data.origins.families` determines the family by the name.
    samples_per_class
        Maximum number of images per origin in each split; 0 for no limit.
    """

    data: str
    groups: str = ""
    group_column: str = ""
    sources: str = ""
    families: str = ""
    samples_per_class: int = SAMPLES_PER_CLASS

    def open(
        self, cache: Path, *, reader: ImageReader | None = None, progress: Progress = no_progress
    ) -> Dataset:
        """Open the dataset, and apply ``samples_per_class`` and ``families``.

        Parameters
        ----------
        cache
            Cache folder in which the splits of an image folder are stored.
        reader
            Reads the images to split a folder; by default, a reader with the same cache.
        progress
            Progress bar (:data:`whichgen.progress.Progress`).

        Returns
        -------
        Dataset
            The dataset with its five splits.

        Raises
        ------
        DataError
            The dataset, the groups, sources or families file, or an option is invalid.
        StoreError
            The cache of the reader can't be read or written.
        OSError
            The splits can't be written to the cache, for example because the disk is full.

        Warns
        -----
        WhichgenWarning
            Files are skipped, the groups or sources file has no header or is incomplete, or the
            stored facts about images are damaged.
        """
        split = SplitOptions(**{f.name: getattr(self, f.name) for f in fields(SplitOptions)})
        dataset = open_dataset(
            self.data,
            split,
            **self._read_groups_and_sources(),
            cache=cache,
            reader=reader,
            progress=progress,
        )
        if self.samples_per_class:
            dataset = limit_per_class(dataset, self.samples_per_class)
        if self.families:
            dataset = replace(dataset, families=read_families(Path(self.families)))
        return dataset

    def uses_most_images(self, samples: Sequence[Sample]) -> bool:
        """Return whether the splits contain at least 90 % of the images of the dataset folder.

        The number of images in the splits is estimated from ``fractions`` and
        ``samples_per_class``, as if all origins were known.

        Parameters
        ----------
        samples
            All images of the folder.
        """
        counts = Counter(sample.origin for sample in samples).values()
        limit = self.samples_per_class or len(samples)
        n_in_splits = sum(min(share * n, limit) for n in counts for share in self.fractions)
        return n_in_splits >= _MOST_SHARE * len(samples)

    def list_samples(self) -> list[Sample]:
        """Return all images of an image folder, with their groups and sources, without splits.

        Raises
        ------
        DataError
            ``data`` is not a folder, or its origins can't be determined
            (:func:`~whichgen.data.layouts.folder_layout.read_layout`); the groups or sources file
            is invalid or lacks an image; ``sources`` is ``folders``, but an image is not in a
            source folder; or an option or the name of an origin is invalid
            (:func:`~whichgen.data.splits.split_options.check_split_options`).

        Warns
        -----
        WhichgenWarning
            The origins may be wrong
            (:func:`~whichgen.data.layouts.folder_layout.warn_about_layout`), files are skipped, or
            the groups or sources file has no header or has rows without an image.
        """
        folder = Path(self.data).resolve()
        layout = read_layout(folder, self.real)
        check_split_options(folder, layout.origins, self)
        warn_about_layout(layout)
        return read_samples(folder, layout, **self._read_groups_and_sources())

    def _read_groups_and_sources(self) -> dict[str, dict[str, str] | None]:
        folder, groups = Path(self.data), None
        if self.groups:
            groups = read_groups(Path(self.groups), self.group_column, folder=folder)
        return {
            "groups": groups,
            "sources": read_source_option(self.sources, folder, self.real)
            if self.sources
            else None,
        }

    def as_config(self) -> dict[str, Any]:
        """Return the options as a JSON-compatible dictionary with absolute paths.

        :meth:`from_config` is the inverse.

        Raises
        ------
        DataError
            ``data`` is neither a folder nor a valid dataset string.
        """
        config = asdict(self)
        config["data"] = resolve_spec(self.data)
        for file in ("groups", "sources", "families"):
            if config[file] and (file, config[file]) != ("sources", SOURCE_FOLDERS):
                config[file] = str(Path(config[file]).resolve())
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DatasetOptions:
        """Create options from a dictionary returned by :meth:`as_config`; ignore additional keys.

        Raises
        ------
        DataError
            A value has the wrong type, or ``data`` is missing.
        """
        values = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            invalid_names = ", ".join(str(e["loc"][0]) for e in error.errors() if e["loc"])
            raise DataError(
                f"the saved dataset options are invalid ({invalid_names}). Specify the dataset "
                f"with {name_option('--data')}."
            ) from None


def resolve_spec(data: str) -> str:
    """Return the absolute path of a folder, or a dataset string with an absolute ``root``.

    If a dataset string has no ``root``, the absolute path of
    :data:`~whichgen.data.benchmarks.benchmark_files.DEFAULT_ROOT` is added.

    Parameters
    ----------
    data
        Path of a folder, or dataset string.

    Raises
    ------
    DataError
        ``data`` is neither a folder nor a valid dataset string
        (:func:`~whichgen.data.benchmarks.benchmark_files.parse_spec`).
    """
    if os.path.isdir(data):  # noqa: PTH112 (Path.is_dir raises on long names)
        return str(Path(data).resolve())
    name, options = parse_spec(data)
    root = Path(options.pop("root", DEFAULT_ROOT)).resolve()
    return ":".join([name, *(f"{k}={v}" for k, v in options.items()), f"root={root}"])

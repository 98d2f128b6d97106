"""Lists of the known and unknown origins of benchmarks.

The lists of public benchmarks are bundled with whichgen, in the folder ``origins`` beside this
file.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from whichgen.errors import DataError
from whichgen.io.untrusted_files import read_text_file

#: Possible names of the annotation file of all unknown images of a split, in the order in which the
#: files are looked up. ``part`` is ``val`` or ``test``.
UnknownFile = Literal["{split}_{part}_out_all.txt", "{split}_{part}_out.txt", "{part}_out.txt"]
UNKNOWN_FILES: tuple[UnknownFile, ...] = get_args(UnknownFile)


def _validate_folder_name(name: str) -> str:
    """Return ``name`` unchanged if it is a valid folder name of at most 200 bytes.

    Lists of origins are untrusted, and a name such as ``..`` would escape the root folder.

    Raises
    ------
    ValueError
        ``name`` is not valid.
    """
    # File systems allow 255 bytes, and the names of annotation files begin with the split's name.
    if name in ("", ".", "..") or any(c in name for c in "/\\\0") or len(name.encode()) > 200:
        raise ValueError(f"{name[:80]!r} is not a valid folder name of at most 200 bytes")
    return name


_FolderName = Annotated[str, AfterValidator(_validate_folder_name)]


class SplitOrigins(BaseModel):
    """Known and unknown origins of a benchmark split.

    Parameters
    ----------
    known
        Known origins, in the order of their class indices.
    unknown
        Maps the name of each subset of the unknown origins to the origins in it. The subset
        ``all``, if there is one, contains all unknown origins.
    """

    model_config = ConfigDict(extra="forbid")
    known: tuple[str, ...]
    unknown: dict[str, tuple[str, ...]]


class BenchmarkOrigins(BaseModel):
    """Origins of a benchmark: content of ``origins.json`` or of a bundled JSON file.

    ``name``, ``folder`` and the names of the splits must be valid folder names of at most 200
    bytes.

    Parameters
    ----------
    name
        Name of the benchmark.
    folder
        Name of the benchmark's folder in the root folder.
    source
        URL where the benchmark is published; may be empty.
    notes
        Sentences about the dataset that are shown with evaluation results.
    splits
        Maps the name of each benchmark split to its known and unknown origins; at least one split.
    indices
        Whether all labels in the annotation files are indices. If not, a label may also be the name
        of an origin.
    unknown_file
        Name, in the reference implementation, of the annotation files of all unknown images.
    image_folders
        Maps each origin to the folders that contain its images in the published archives. A folder
        is specified by the consecutive last parts of its path, such as ``fake/ProGAN/celebahq``.
        Only letters and digits are compared, without case.

    Raises
    ------
    pydantic.ValidationError
        A value is invalid or missing, or there is a value for an unknown field.
    """

    model_config = ConfigDict(extra="forbid")
    name: _FolderName
    folder: _FolderName
    source: str = ""
    notes: tuple[str, ...] = ()
    indices: bool = False
    unknown_file: UnknownFile = UNKNOWN_FILES[0]
    image_folders: dict[str, tuple[str, ...]] = {}
    splits: Annotated[dict[_FolderName, SplitOrigins], Field(min_length=1)]


def list_benchmarks() -> list[str]:
    """Return the names of the benchmarks with a bundled list of origins, in alphabetical order."""
    paths = (files("whichgen.data.benchmarks") / "origins").iterdir()
    return sorted(p.name.removesuffix(".json") for p in paths if p.name.endswith(".json"))


def load_origins(name: str, root: Path) -> BenchmarkOrigins:
    """Read ``root/name/origins.json``; if it does not exist, read the bundled list of origins.

    Parameters
    ----------
    name
        Name of the benchmark; the names of bundled lists are case-insensitive.
    root
        Parent folder of the benchmark's folder.

    Raises
    ------
    DataError
        There is neither a file nor a bundled list, or the file is unreadable or invalid.
    """
    file = root / name / "origins.json"
    if os.path.exists(file):  # noqa: PTH110 (Path.exists raises on long names)
        return _parse(read_text_file(file, "list of origins"), str(file))
    if name.lower() not in map(str.lower, list_benchmarks()):
        raise DataError(
            f"dataset {name!r} is not one of {', '.join(list_benchmarks())}, and {file} does not "
            "exist. Check the spelling of the dataset or image folder, or specify the folder that "
            f"contains the folder {name}: `{name}:root=FOLDER`."
        )
    return load_bundled_origins(name)


def load_bundled_origins(name: str) -> BenchmarkOrigins:
    """Read the bundled list of origins of a benchmark; ``name`` is case-insensitive.

    Raises
    ------
    DataError
        No bundled list has this name.
    """
    file = next((n for n in list_benchmarks() if n.lower() == name.lower()), "")
    if not file:
        raise DataError(
            f"benchmark {name!r} is not supported. Choose from {', '.join(list_benchmarks())}."
        )
    path = f"origins/{file}.json"
    return _parse((files("whichgen.data.benchmarks") / path).read_text(encoding="utf-8"), path)


def _parse(content: str, file: str) -> BenchmarkOrigins:
    try:
        return BenchmarkOrigins.model_validate_json(content)
    except ValidationError as error:
        raise DataError(
            f"{file} is not a valid list of origins: {summarize_errors(error)}. Correct the file."
        ) from None


def summarize_errors(error: ValidationError) -> str:
    """Return the first three validation errors on one line; long texts are truncated."""
    lines = [f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in error.errors()]
    return "; ".join(lines[:3]) + ("; …" if len(lines) > 3 else "")

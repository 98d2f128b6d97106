"""Fuzz the readers of annotation files, groups files and families files."""

from __future__ import annotations

from pathlib import Path

from tools.fuzz.case_limits import enforce_limits, require
from tools.fuzz.temporary_folders import make_folder
from whichgen.data.origins.families import read_families
from whichgen.data.tables.annotations import read_annotations, write_annotations
from whichgen.data.tables.groups_and_sources import read_groups
from whichgen.errors import DataError, WhichgenError

_FOLDER = make_folder("annotations")
_FILE = _FOLDER / "file.txt"
_KNOWN, _UNKNOWN = ("real", "gan", "1"), ("a", "b")


def seeds() -> list[bytes]:
    """Return valid files, each after a byte that selects the reader."""
    texts = (
        *("\0a.png\treal\nb.png\t1\n", "\0/x/y z.png\t2\r\n\n\t.png\tgan\n", "\0\ufeffa\t0\n"),
        *("\1a.png\t3\nb.png\t4\n", "\1a.png\ta\n", "\1a.png\t0\n", "\0" + "a" * 300 + "\t0\n"),
        *("\2path\tgroup\na.png\tx\nb.png\ty\n", "\3path,content\na.png,x\n"),
        *('\3group,path\n"x\ny","a.png"\n', "\4real\tcamera\ngan\tGAN\n"),
    )
    return [text.encode() for text in texts]


def check(data: bytes) -> None:
    """Check that a reader returns valid values or raises :class:`DataError`.

    Annotations that are written again must be read with the same paths and origins.
    """
    kind, text = data[:1] or b"\0", data[1:]
    _FILE.write_bytes(text)
    with enforce_limits(_FOLDER):
        try:
            _read(kind[0] % 5)
        except WhichgenError as error:
            require(isinstance(error, DataError), f"a {type(error).__name__}")
            require(len(str(error)) < 5000, "an error of more than 5000 characters")


def _read(kind: int) -> None:
    if kind < 2:
        origins, first = ((_KNOWN, 0), (_UNKNOWN, 3))[kind]
        samples = read_annotations(_FILE, origins, bases=(Path(), _FOLDER), first_index=first)
        require(all(s.origin in origins for s in samples), "an origin is not allowed")
        again = _FOLDER / "again.txt"
        write_annotations(again, samples, {o: i for i, o in enumerate(origins, first)})
        restored = read_annotations(again, origins, bases=(), first_index=first, indices=True)
        require([s.origin for s in restored] == [s.origin for s in samples], "different origins")
        paths = [s.path.absolute() for s in samples]
        require([s.path for s in restored] == paths, "different paths")
    elif kind == 4:
        families = read_families(_FILE)
        require(all(o and f for o, f in families.items()), "an empty name")
    else:
        table = _FILE.rename(_FILE.with_suffix(".csv" if kind == 3 else ".tsv"))
        groups = read_groups(table)
        texts = [text for pair in groups.items() for text in pair]
        require(all(isinstance(text, str) for text in texts), "a path or group is not a string")

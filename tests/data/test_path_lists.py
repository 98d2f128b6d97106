"""Lists of paths: ``@FILE``, and files whose names begin with ``@`` or a hyphen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whichgen.cli.app import prepend_dot_slash
from whichgen.cli.image_arguments import find_images
from whichgen.data.shards.find_shards import find_shards
from whichgen.data.tables.path_lists import get_list_file, read_path_list
from whichgen.errors import DataError, WhichgenWarning

NAMES = ("a b,c;d.png", "#1.png", "sub/é.png")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a few files."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "lines",
    [
        ("# made by hand", "{0}", "", "{1}  ", "#no file", "{2}"),
        ("path", "{0}", "{1}", "{2}"),
        ('"{0}"', '"{1}"', "", '"{2}"'),
        ("{here}/{0}", "{here}/{1}", "{here}/{2}"),
        (".\\{0}", ".\\{1}", "sub\\é.png"),
    ],
)
def test_list_of_an_editor_or_spreadsheet(
    folder: Path, lines: tuple[str, ...], end: str, encoding: str
) -> None:
    text = end.join(lines).format(*NAMES, here=folder)
    (folder / "list.txt").write_bytes(text.encode(encoding))
    paths = [os.path.relpath(path) for path in read_path_list(Path("list.txt"))]
    assert paths == list(NAMES)
    assert [p.resolve() for p in find_images([Path("@list.txt")])] == [folder / n for n in NAMES]


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        ("list.csv", 'group,Image Path\nx,"a b,c;d.png"\ny,#1.png\n', "`Image Path`"),
        ("train.txt", "a b,c;d.png\t0\n#1.png\t1\n", "1"),  # an annotation file
    ],
)
def test_column_of_a_table_is_reported(folder: Path, name: str, text: str, column: str) -> None:
    (folder / name).write_text(text)
    with pytest.warns(WhichgenWarning, match=f"paths are in column {column}; other columns are"):
        assert read_path_list(Path(name)) == list(NAMES[:2])


def test_a_list_may_be_a_csv_file(folder: Path) -> None:
    (folder / "list.csv").write_text("path\n#1.png\n")
    assert find_images([Path("@list.csv")]) == [Path("#1.png")]


def test_paths_may_start_from_the_folder_of_the_list(folder: Path) -> None:
    (folder / "sub" / "list.txt").write_text("é.png\nnone.png\n")
    assert read_path_list(Path("sub/list.txt")) == ["sub/é.png", "none.png"]


def test_names_that_are_not_utf8_are_kept(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Path(name).touch()
    Path("list.txt").write_bytes(os.fsencode(f"{name}\n{NAMES[0]}\n"))
    assert read_path_list(Path("list.txt")) == [name, NAMES[0]]


@pytest.mark.parametrize("text", ["", "\n# see https://host\n", "path\n", "group,path\nx\n"])
def test_empty_list_is_an_error(folder: Path, text: str) -> None:
    (folder / "list.txt").write_text(text)
    with pytest.raises(DataError, match=r"contains no paths\. Write one path per line"):
        read_path_list(Path("list.txt"))


def test_existing_file_takes_precedence_over_a_list(folder: Path) -> None:
    Path("@user.jpg").touch()
    Path("@eaDir").mkdir()
    Path("user.jpg").write_text(NAMES[0])
    with pytest.warns(WhichgenWarning, match=r"For the list user\.jpg, use @\./user\.jpg"):
        assert find_images([Path("@user.jpg")]) == [Path("@user.jpg")]
    with pytest.warns(WhichgenWarning, match="is not read as a list"):
        (shard,) = find_shards(["@user.jpg"])
    assert [item.name for item in shard.read()] == ["@user.jpg"]
    assert get_list_file("@./user.jpg") == Path("user.jpg")
    assert find_images([Path("@./user.jpg")]) == [Path(NAMES[0])]
    with pytest.warns(WhichgenWarning), pytest.raises(DataError, match="@eaDir contains no images"):
        find_images([Path("@eaDir")])
    with pytest.raises(
        DataError, match=r"none\.jpg does not exist. An argument that begins with @ is a"
    ):
        find_images([Path("@none.jpg")])


def test_names_that_begin_with_a_hyphen_are_not_options(folder: Path) -> None:
    for name in ("-x.jpg", "--rotated.PNG", "-m", "--json", "-notes.txt"):
        Path(name).touch()
    Path("-set").mkdir()
    arguments = ["-x.jpg", "--rotated.PNG", "-m", "--json", "-notes.txt", "-set", "-no.jpg", "a"]
    assert prepend_dot_slash(arguments) == [
        *("./-x.jpg", "./--rotated.PNG", "-m", "--json", "-notes.txt", "./-set", "-no.jpg", "a"),
    ]
    assert prepend_dot_slash(["-" + "x" * 5000]) == ["-" + "x" * 5000]

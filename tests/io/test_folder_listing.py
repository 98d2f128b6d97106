"""One rule for links, hidden files and the folders of operating and storage systems."""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from pathlib import Path, PurePath
from types import SimpleNamespace

import pytest

from whichgen.errors import WhichgenWarning
from whichgen.io.folder_listing import (
    BROKEN_LINK,
    REPEATED_LINK,
    SYSTEM,
    UNREADABLE,
    is_system_path,
    list_files,
    list_folder,
)

SYSTEM_FILES = (
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "real/@eaDir/a.jpg",
    "#recycle/a.jpg",
    "@Recycle/a.jpg",
    "$RECYCLE.BIN/S-1-5-21/$RABC.jpg",
    "System Volume Information/a.jpg",
    ".Trash-1000/files/a.jpg",
    "__MACOSX/real/._a.jpg",
    "real/._a.jpg",
    "real/Thumbs.db",
    "real/.DS_Store",
    "lost+found/a.jpg",
)


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", SYSTEM_FILES)
def test_system_files_are_skipped_and_reported(tmp_path: Path, name: str) -> None:
    make(tmp_path, "real/b.jpg", name)
    with pytest.warns(WhichgenWarning, match=f"1 × {SYSTEM}"):
        assert list_files(tmp_path, {".jpg", ".db"}) == [tmp_path / "real" / "b.jpg"]
    (skipped,) = list_folder(tmp_path).skipped
    assert skipped.reason == SYSTEM
    assert is_system_path(PurePath(name))


@pytest.mark.parametrize("name", ["recycle/a.jpg", "real/eaDir.jpg", "a.b/c..jpg", "#1/@user.jpg"])
def test_similar_names_are_listed(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list_files(make(tmp_path, name), {".jpg"}) == [tmp_path / name]


def test_linked_folders_and_files_are_listed(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "a.jpg", "deep/b.jpg")
    folder = make(tmp_path / "images", "real/c.jpg")
    (folder / "gan").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "real" / "d.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = [p.relative_to(folder).as_posix() for p in list_files(folder, {".jpg"})]
    assert names == ["gan/a.jpg", "gan/deep/b.jpg", "real/c.jpg", "real/d.jpg"]


def test_a_folder_is_listed_once(tmp_path: Path) -> None:
    make(tmp_path, "real/1.jpg", "real/sub/2.jpg")
    (tmp_path / "a link").symlink_to("real", target_is_directory=True)  # sorts before it
    (tmp_path / "real" / "up").symlink_to("..", target_is_directory=True)
    (tmp_path / "real" / "sub" / "self").symlink_to(".", target_is_directory=True)
    listing = list_folder(tmp_path)
    assert [p.as_posix() for p in listing.files] == ["real/1.jpg", "real/sub/2.jpg"]
    assert [(s.path.as_posix(), s.reason) for s in listing.skipped] == [
        ("a link", REPEATED_LINK),
        ("real/sub/self", REPEATED_LINK),
        ("real/up", REPEATED_LINK),
    ]


def test_link_to_the_folder_above_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "images/real/1.jpg", "images/gan/2.jpg", "pool/deep/3.jpg", "private/4.jpg")
    (tmp_path / "images" / "real" / "up").symlink_to("../..", target_is_directory=True)
    (tmp_path / "images" / "real" / "pool").symlink_to(tmp_path / "pool" / "deep")
    (tmp_path / "pool" / "deep" / "root").symlink_to(tmp_path, target_is_directory=True)
    listing = list_folder(tmp_path / "images" / "real")
    assert [p.as_posix() for p in listing.files] == ["1.jpg", "pool/3.jpg"]
    assert [s.path.as_posix() for s in listing.skipped] == ["pool/root", "up"]


def test_many_links_to_each_other_take_no_time(tmp_path: Path) -> None:
    # Without a memory of visited folders, the number of paths is a factorial.
    for i in range(30):
        make(tmp_path, f"{i}/a.jpg")
        for j in range(30):
            (tmp_path / f"{i}" / f"to {j}").symlink_to(f"../{j}", target_is_directory=True)
    assert len(list_folder(tmp_path).files) == 30


def test_broken_links_are_reported(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")  # not the name of an image: not worth a word
    message = f"Skipped in {tmp_path}: 3 × {BROKEN_LINK} (folder, gone.jpg, loop.jpg)"
    with pytest.warns(WhichgenWarning) as caught:
        list_files(tmp_path, {".jpg"})
    assert [str(w.message) for w in caught] == [message]
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.warns(WhichgenWarning, match=r"1 × pipe, socket or device \(pipe\.jpg\)"):
        list_files(tmp_path, {".jpg"})


def test_file_in_a_folder_without_search_permission_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat() -> None:
        raise PermissionError

    entry = SimpleNamespace(name="a.jpg", is_symlink=lambda: False, stat=stat)
    monkeypatch.setattr(os, "scandir", lambda _: nullcontext([entry]))
    (skipped,) = list_folder(tmp_path).skipped
    assert (skipped.path, skipped.reason) == (PurePath("a.jpg"), UNREADABLE)

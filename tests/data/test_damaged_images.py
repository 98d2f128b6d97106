"""Sample files with damage that viewers ignore, files that are not images, and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whichgen.cli.image_arguments import find_images
from whichgen.data.images.decoding import decode_image, read_image
from whichgen.data.tables.groups_and_sources import read_groups
from whichgen.errors import ImageError


@pytest.fixture
def cases(shared: Path) -> Path:
    """Folder of small sample files."""
    return shared / "cases"


@pytest.mark.parametrize(
    "name", ["iccp_bad_crc.png", "itxt_bad_crc.png", "ztxt_2mib.png", "gama_short.png"]
)
def test_damage_that_viewers_ignore_changes_no_pixel(cases: Path, name: str) -> None:
    # All files contain the same picture.
    expected = np.asarray(read_image(cases / "@user_photo.webp"))
    assert np.array_equal(np.asarray(read_image(cases / name)), expected)


def test_jpeg_without_end_marker_is_complete(cases: Path) -> None:
    data = (cases / "no_eoi.jpg").read_bytes()
    expected = np.asarray(decode_image(data + b"\xff\xd9"))
    assert np.array_equal(np.asarray(decode_image(data)), expected)
    with pytest.raises(ImageError, match="truncated"):  # pixels are missing, too
        decode_image(data[:-100])


def test_highlights_do_not_darken_a_float_image(cases: Path) -> None:
    pixels = np.asarray(read_image(cases / "float_hdr_1.2.tif"))
    assert 100 < pixels.mean() < 200
    assert pixels.max() == 255


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("html_named.jpg", "an HTML page, not an image; download the image itself"),
        ("lfs_pointer.png", "a Git LFS pointer, not an image; run `git lfs pull`"),
        ("IMG_0001.HEIC", r"(damaged or unsupported )?HEIC \(HEIF\) .*; "),
        ("cut.webp", "can't be decoded"),
        ("cut_in_pixels.png", "can't be decoded"),
    ],
)
def test_file_that_is_not_an_image_is_described(cases: Path, name: str, message: str) -> None:
    with pytest.raises(ImageError, match=f"{name}: {message}"):
        read_image(cases / name)


@pytest.mark.parametrize("name", ["bom_path_second.csv", "semicolon.csv"])
def test_groups_of_spreadsheets_are_read(cases: Path, name: str) -> None:
    groups = read_groups(cases / name)
    assert len(groups) == 36
    assert len(set(groups.values())) == 18
    assert groups["dcgan/0003.webp"] == "g1"
    assert groups["real/0011.webp"] == "g17"


def test_name_that_begins_with_at_is_a_file(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cases)
    assert find_images([Path("@user_photo.webp")]) == [Path("@user_photo.webp")]
    assert read_image(Path("@user_photo.webp")).size == (96, 96)

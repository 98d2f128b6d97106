"""Dataset checks: shortcuts, duplicates, label conflicts and unreadable files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from whichgen.data.checks.check_dataset import check_samples
from whichgen.data.dataset import Sample, list_images
from whichgen.data.splits.split_images import split_folder
from whichgen.data.splits.split_options import SplitOptions
from whichgen.errors import DataError


def _samples(folder: Path) -> list[Sample]:
    return [Sample(p, p.parent.name) for p in list_images(folder)]


def test_valid_folder_is_ok(image_folder: Callable[..., Path]) -> None:
    report = check_samples(_samples(image_folder({"real": 10, "gan": 8})))
    assert (report.warnings, report.errors) == ((), ())
    assert (report.exact_duplicates, report.near_duplicates) == (0, 0)
    rows = {r.origin: r for r in report.origins}
    assert {o: r.images for o, r in rows.items()} == {"real": 10, "gan": 8}
    assert rows["gan"].formats == {"PNG": 8}
    assert rows["gan"].sizes == {"32×32": 8}
    assert rows["gan"].modes == {"RGB": 8}


def test_png_versus_jpeg_is_a_shortcut(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"gan": 10, "mixed": 0})
    image_folder({"real": 10}, suffix=".jpg", seed=1)
    image_folder({"mixed": 5}, suffix=".jpg", seed=2)
    for path in list_images(image_folder({"mixed": 5}, name="more", seed=3) / "mixed"):
        shutil.copy(path, folder / "mixed" / f"m{path.name}")
    report = check_samples(_samples(folder))
    assert len(report.warnings) == 2
    for warning, origin, form, other in zip(
        report.warnings, ("gan", "real"), ("PNG", "JPEG"), ("real", "gan"), strict=True
    ):
        # The mixed origin has half of either and gives nothing away.
        assert warning.startswith(
            f"SHORTCUT: 10 of 10 images of {origin} have format {form}, unlike almost all images "
            f"of {other}."
        )


def test_check_detects_format_from_content(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({"gan": 5})
    image_folder({"real": 5}, suffix=".jpg", seed=1)
    for path in list_images(folder / "real"):
        path.rename(path.with_suffix(".png"))
    assert any("format JPEG" in w for w in check_samples(_samples(folder)).warnings)


def test_single_size_is_a_shortcut(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"gan": 10})
    for i in range(10):
        image_folder({f"real{i}": 1}, name="made", size=(40 + i, 32), seed=i + 1)
    (folder / "real").mkdir()
    for path in list_images(folder.parent / "made"):
        shutil.copy(path, folder / "real" / f"{path.parent.name}.png")
    (warning,) = check_samples(_samples(folder)).warnings
    assert warning.startswith("SHORTCUT: 10 of 10 images of gan have size 32×32")
    assert "Process the original files of all origins in the same way" in warning


def test_property_of_90_percent_is_a_shortcut_and_of_80_is_not(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({"gan": 10, "real": 10})
    image_folder({"real": 10}, suffix=".jpg", seed=1)
    for path in (folder / "real").glob("*.png"):
        path.unlink()
    for count, warned in ((1, True), (2, False)):
        for path in sorted((folder / "gan").glob("*.png"))[:1]:
            image_folder({"tmp": 1}, name="t", suffix=".jpg", seed=7 + count)
            path.unlink()
            shutil.copy(folder.parent / "t" / "tmp" / "000.jpg", path.with_suffix(".jpg"))
        warnings = check_samples(_samples(folder)).warnings
        assert any("images of gan have format PNG" in w for w in warnings) == warned


def test_same_file_with_two_labels_is_a_conflict(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({"real": 4, "gan": 4})
    shutil.copy(folder / "real" / "002.png", folder / "gan" / "copy.png")
    shutil.copy(folder / "real" / "001.png", folder / "real" / "copy.png")
    report = check_samples(_samples(folder))
    (warning,) = [w for w in report.warnings if not w.startswith("NEAR")]
    assert warning.startswith("LABEL CONFLICT: the same file is labeled gan and real")
    assert str(folder / "gan" / "copy.png") in warning
    assert str(folder / "real" / "002.png") in warning
    # The copy under its own label is counted, but no conflict.
    assert report.exact_duplicates == 2
    assert report.near_duplicates == 0


def test_near_duplicates_are_counted(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 4, "gan": 4})
    Image.open(folder / "real" / "000.png").save(folder / "real" / "again.bmp")
    report = check_samples(_samples(folder))
    assert (report.exact_duplicates, report.near_duplicates) == (0, 1)
    (warning,) = [w for w in report.warnings if w.startswith("NEAR")]
    assert "2 of 9 images are near-duplicates of one another, in 1 set" in warning
    assert "real/000.png and" in warning and "real/again.bmp" in warning


def test_frames_of_one_video_are_one_set(tmp_path: Path, noise: Callable[..., Any]) -> None:
    pixels = np.asarray(noise(1, (64, 64))).astype(int)
    for origin in ("real", "gan"):
        (tmp_path / "video" / origin).mkdir(parents=True)
    for i in range(40):
        frame = pixels + np.random.default_rng(i).integers(-2, 3, pixels.shape)
        frame = frame.clip(0, 255).astype(np.uint8)
        Image.fromarray(frame).save(tmp_path / "video" / "real" / f"{i}.png")
    for i in range(10):
        noise(i + 9, (64, 64)).save(tmp_path / "video" / "gan" / f"{i}.png")
    report = check_samples(_samples(tmp_path / "video"))
    assert report.near_duplicates == 39
    (warning,) = [w for w in report.warnings if w.startswith("NEAR")]
    assert "40 of 50 images" in warning and "the largest set has 40 images" in warning
    with pytest.raises(DataError, match=r"40 images of real can't be divided .* 1 set of near"):
        split_folder(tmp_path / "video", SplitOptions())


def test_near_duplicates_of_another_origin_are_a_warning(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({"real": 8, "gan": 8})
    Image.open(folder / "real" / "000.png").save(folder / "gan" / "again.bmp")
    (warning,) = [
        w for w in check_samples(_samples(folder)).warnings if "more than one origin" in w
    ]
    assert "2 images are in sets of near-duplicates with more than one origin" in warning
    assert "real/000.png" in warning and "gan/again.bmp" in warning


def test_missing_and_unreadable_files_are_counted_separately(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({"real": 3, "gan": 3})
    (folder / "gan" / "bad.png").write_text("no image")
    samples = [*_samples(folder), Sample(folder / "gan" / "gone.png", "gan")]
    report = check_samples(samples)
    (gan,) = (r for r in report.origins if r.origin == "gan")
    assert (gan.images, gan.missing, gan.unreadable) == (5, 1, 1)
    assert len(report.errors) == 2


def test_origin_without_readable_files_is_reported(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 3})
    (folder / "gan").mkdir()
    (folder / "gan" / "bad.png").write_text("no image")
    report = check_samples(_samples(folder))
    assert report.warnings == ()
    assert [r.unreadable for r in report.origins if r.origin == "gan"] == [1]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_color_mode_of_one_origin_is_a_shortcut(
    image_folder: Callable[..., Path], mode: str
) -> None:
    folder = image_folder({"real": 5, "gan": 5})
    for path in list_images(folder / "gan"):
        Image.open(path).convert(mode).save(path)
    assert any(f"mode {mode}" in w for w in check_samples(_samples(folder)).warnings)


def test_invalid_name_of_an_origin_is_a_warning(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 4, "unknown": 4})
    warnings = check_samples(_samples(folder)).warnings
    assert "ORIGIN NAME: 'unknown' is not a valid origin name" in warnings[0]


def test_shortcut_limits_are_inclusive(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 1, "gan": 9})
    image_folder({"real": 9}, suffix=".bmp", seed=1)
    image_folder({"gan": 1}, suffix=".jpg", seed=2)
    warnings = check_samples(_samples(folder)).warnings
    assert any("9 of 10 images of gan have format PNG" in w for w in warnings)


def test_jpeg_quality_is_compared_among_jpeg_files(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 4, "gan": 4})
    for origin, quality in (("real", 60), ("gan", 90)):
        for path in list_images(folder / origin)[:2]:
            Image.open(path).save(path.with_suffix(".jpg"), quality=quality)
            path.unlink()
    warnings = [w for w in check_samples(_samples(folder)).warnings if "quality" in w]
    assert "2 of 2 JPEG files of gan have JPEG quality 90, unlike almost all JPEG" in warnings[0]

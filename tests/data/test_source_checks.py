"""Source checks: counts, confounded and deviating sources, near-duplicates across sources."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from whichgen.data.checks.check_dataset import check_samples
from whichgen.data.checks.source_checks import SourceCount, count_sources
from whichgen.data.dataset import Sample, list_images


def _samples(folder: Path) -> list[Sample]:
    return [Sample(p, p.parent.parent.name, source=p.parent.name) for p in list_images(folder)]


def _source_warnings(samples: Iterable[Sample]) -> list[str]:
    return [w for w in check_samples(list(samples)).warnings if w.startswith("SOURCES")]


def test_count_sources(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"gan/a": 2, "gan/b": 5, "real/b": 1})
    assert count_sources(_samples(folder)) == [
        SourceCount("gan", n_sources=2, n_shared_sources=1, images_per_source_range=(2, 5)),
        SourceCount("real", n_sources=1, n_shared_sources=1, images_per_source_range=(1, 1)),
    ]


def test_shared_sources_of_one_kind_are_no_problem(image_folder: Callable[..., Path]) -> None:
    samples = _samples(image_folder({f"{o}/{s}": 4 for o in ("gan", "real") for s in "ab"}))
    assert _source_warnings(samples) == []
    assert check_samples(samples).sources == tuple(count_sources(samples))


def test_single_and_confounded_sources_are_one_warning_each(
    image_folder: Callable[..., Path],
) -> None:
    sizes = {"gan/a": 4, "vae/a": 4, "real/b": 4, "real/c": 4, "flow/d": 4, "flow/e": 4}
    single, confounded = _source_warnings(_samples(image_folder(sizes)))
    assert "origins with only one source: gan, vae. Their metrics do not apply" in single
    assert "no source of flow, real has images of another origin" in confounded


def test_source_of_another_size_format_or_quality_is_a_warning(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({f"{o}/{s}": 4 for o in ("gan", "real") for s in "abcd"})
    image_folder({"gan/format": 4, "gan/odd": 2}, suffix=".jpg", seed=1)
    image_folder({"gan/size": 4}, size=(40, 32), seed=2)
    (warning,) = _source_warnings(_samples(folder))
    # A source with two images is not compared.
    assert warning.startswith("SOURCES: 2 of 7 sources of gan differ")
    assert "JPEG quality: format, size." in warning

    for i, path in enumerate(list_images(folder)):
        quality = 60 if path.parent.name == "b" else 90
        image = Image.open(path).convert("RGB").resize((32, 32))
        path.unlink()
        image.save(path.with_name(f"{i}.jpg"), quality=quality)
    warnings = _source_warnings(_samples(folder))
    assert [w for w in warnings if "of gan differ" in w and "quality: b. Process" in w]


def test_near_duplicates_across_sources_are_a_warning(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({f"{o}/{s}": 4 for o in ("gan", "real") for s in "ab"})
    (folder / "gan" / "a" / "000.png").write_bytes(b"not an image")
    shutil.copy(folder / "real" / "a" / "001.png", folder / "real" / "b" / "001.png")
    shutil.copy(folder / "gan" / "b" / "001.png", folder / "gan" / "b" / "002.png")
    (warning,) = _source_warnings(_samples(folder))
    assert "2 images are in sets of near-duplicates with more than one source, such as" in warning
    assert "real/a/001.png and" in warning
    assert "real/b/001.png" in warning


def test_samples_without_a_source_are_not_checked(image_folder: Callable[..., Path]) -> None:
    samples = _samples(image_folder({"gan/a": 3, "real/b": 3}))
    samples[0] = Sample(samples[0].path, samples[0].origin)
    assert check_samples(samples).sources == ()
    assert _source_warnings(samples) == []

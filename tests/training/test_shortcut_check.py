"""The leak check on images that leak in one way, and on images that don't."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.errors import DataError
from whichgen.training import shortcut_check as module
from whichgen.training.shortcut_check import ShortcutMetrics, ShortcutReport, check_shortcuts

Noise = Callable[..., Image.Image]
Save = Callable[[Image.Image, Path, str, int], None]

KNOWN, UNKNOWN = ("real", "gan", "vae"), ("ddpm", "flow")


def _alike(image: Image.Image, path: Path, origin: str, i: int) -> None:
    image.save(path.with_suffix(".bmp"))


def _by_format(image: Image.Image, path: Path, origin: str, i: int) -> None:
    # Lossless ones: JPEG and WebP with loss blur these images' colors, each in its own way.
    suffix = {"gan": ".png", "vae": ".webp"}.get(origin, ".tiff")
    image.save(path.with_suffix(suffix), lossless=True)


def _by_jpeg_quality(image: Image.Image, path: Path, origin: str, i: int) -> None:
    # Of differing sizes, so that bytes tell little beside the tables.
    side = 16 + 8 * (i % 5)
    image = image.resize((side, side))
    image.save(path.with_suffix(".jpg"), quality={"real": 90, "gan": 88, "vae": 86}.get(origin, 84))


def _by_color(image: Image.Image, path: Path, origin: str, i: int) -> None:
    shift = {"real": -60, "gan": 0, "vae": 60}.get(origin, 120)
    pixels = np.asarray(image).astype(int)
    pixels[..., 0] += shift
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path.with_suffix(".bmp"))


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller forest sees these leaks as well."""
    monkeypatch.setattr(module, "_TREES", 60)


@pytest.fixture
def make(tmp_path: Path, noise: Noise) -> Callable[..., Dataset]:
    """Makes a data set of images that are all drawn alike, saved as ``save`` does."""

    def made(save: Save, *, train: int = 20, test: int = 16, seed: int = 0) -> Dataset:
        number = 100_000 * seed
        parts: dict[str, tuple[Sample, ...]] = {}
        for part in SPLITS:
            for origin in UNKNOWN if part.endswith("unknown") else KNOWN:
                folder = tmp_path / f"{seed}" / part / origin
                folder.mkdir(parents=True)
                for i in range({"train": train, "val": 1, "val_unknown": 1}.get(part, test)):
                    number += 1
                    save(noise(number), folder / f"{i:03d}", origin, i)
                samples = tuple(Sample(path, origin) for path in sorted(folder.iterdir()))
                parts[part] = parts.get(part, ()) + samples
        return Dataset("images", KNOWN, UNKNOWN, **parts)

    return made


def _by_name(report: ShortcutReport) -> dict[str, ShortcutMetrics]:
    assert [s.properties for s in report.sets] == ["file", "color", "all"]
    return {s.properties: s for s in report.sets}


def test_one_format_per_origin_is_detected(make: Callable[..., Dataset]) -> None:
    report = check_shortcuts(make(_by_format))
    metrics = _by_name(report)
    assert report.detected
    for name in ("file", "all"):
        assert metrics[name].detected
        assert metrics[name].accuracy == metrics[name].balanced_accuracy == 1
    assert not metrics["color"].detected
    assert report.message.startswith("Shortcut warning: balanced accuracy by file 100 %")
    assert "chance 33 %" in report.message
    assert "one format" in report.message
    assert "Mean color" not in report.message


def test_no_shortcut_in_identical_files(make: Callable[..., Dataset]) -> None:
    for seed in range(3):
        report = check_shortcuts(make(_alike, seed=seed))
        assert not report.detected
        assert report.message.startswith("No shortcut detected")
        for figures in report.sets:
            assert not figures.detected
            assert figures.balanced_accuracy == pytest.approx(1 / 3, abs=0.17)
            assert figures.auroc == pytest.approx(0.5, abs=0.2)
    # All files are of the same size and format: nothing in them to go by.
    assert _by_name(report)["file"].auroc == 0.5


def test_colors_are_separate_from_file_properties(make: Callable[..., Dataset]) -> None:
    report = check_shortcuts(make(_by_color))
    metrics = _by_name(report)
    assert metrics["color"].detected
    assert metrics["color"].balanced_accuracy > 0.7
    assert not metrics["file"].detected
    assert "Mean color" in report.message
    assert "one format" not in report.message


def test_one_jpeg_quality_per_origin_is_detected(make: Callable[..., Dataset]) -> None:
    metrics = _by_name(check_shortcuts(make(_by_jpeg_quality)))
    assert metrics["file"].balanced_accuracy == 1
    assert metrics["file"].detected


def test_properties_that_predict_only_together_have_their_own_advice() -> None:
    figures = {
        name: ShortcutMetrics(name, 0.5, 0.5, 0.4, leaking, None, None)
        for name, leaking in (("file", False), ("color", False), ("all", True))
    }
    message = module._summarize(tuple(figures.values()), 0.2)
    assert "only together" in message
    figures["file"] = replace(figures["file"], detected=True)
    message = module._summarize(tuple(figures.values()), 0.2)
    assert "only together" not in message
    assert "one format" in message


def test_chance_is_the_share_of_the_most_frequent_origin(make: Callable[..., Dataset]) -> None:
    dataset = make(_alike)
    few = [s for s in dataset.test if s.origin != "gan"]
    gan = [s for s in dataset.test if s.origin == "gan"][:8]
    report = check_shortcuts(replace(dataset, test=(*few, *gan)))
    assert report.chance == pytest.approx(16 / 40)
    assert report.balanced_chance == pytest.approx(1 / 3)
    assert report.warning_level == pytest.approx(1 / 3 + 0.1)
    assert (report.train_images, report.test_images, report.unknown_images) == (60, 40, 32)


def test_metrics_are_of_train_test_and_test_unknown(make: Callable[..., Dataset]) -> None:
    dataset = make(_by_format)
    # Validation images are not looked at; a test image of another origin's format is one error.
    gone = Path("gone.png")
    wrong = dataset.test[0]
    Image.open(wrong.path).save(wrong.path, "PNG")
    report = check_shortcuts(
        replace(dataset, val=(Sample(gone, "real"),), val_unknown=(Sample(gone, "ddpm"),))
    )
    metrics = _by_name(report)["file"]
    assert report.skipped == ()
    assert metrics.accuracy == pytest.approx(47 / 48)
    truth = np.repeat([0, 1, 2], 16)
    predicted = truth.copy()
    predicted[0] = 1
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert metrics.auroc is not None
    assert metrics.oscr is not None
    # Unknown files are TIFF, as photographs are: taken for them with the same certainty.
    assert 0.3 < metrics.oscr < metrics.auroc < 1


def test_without_unknown_images_there_are_no_figures_of_them(make: Callable[..., Dataset]) -> None:
    report = check_shortcuts(replace(make(_by_format), test_unknown=()))
    assert report.unknown_images == 0
    assert {(s.auroc, s.oscr) for s in report.sets} == {(None, None)}


def test_unreadable_files_are_left_out_and_counted(make: Callable[..., Dataset]) -> None:
    dataset = make(_by_format)
    for part in ("train", "test", "test_unknown"):
        dataset.split(part)[3].path.write_text("no image")
    report = check_shortcuts(dataset)
    assert len(report.skipped) == 3
    assert str(dataset.test[3].path) in report.skipped[1]
    assert (report.train_images, report.test_images, report.unknown_images) == (59, 47, 31)
    # Labels go on belonging to their files.
    assert _by_name(report)["file"].accuracy == 1


def test_origin_without_a_readable_file_raises_data_error(make: Callable[..., Dataset]) -> None:
    dataset = make(_alike, train=3, test=2)
    for sample in dataset.test:
        if sample.origin == "vae":
            sample.path.write_text("no image")
    with pytest.raises(DataError, match=r"no readable test image of vae.*unreadable file: .*vae"):
        check_shortcuts(dataset)
    with pytest.raises(DataError, match="no readable train image of real"):
        check_shortcuts(replace(dataset, train=dataset.train[3:]))


def test_the_same_seed_gives_the_same_report(make: Callable[..., Dataset]) -> None:
    dataset = make(_alike)
    assert check_shortcuts(dataset, seed=1) == check_shortcuts(dataset, seed=1)
    assert check_shortcuts(dataset, seed=1).sets != check_shortcuts(dataset, seed=2).sets


def test_the_bar_is_for_the_lower_bound_of_wilson_s_interval() -> None:
    for hits, n in ((0, 10), (7, 10), (40, 100), (100, 100)):
        expected = binomtest(hits, n).proportion_ci(0.95, method="wilson").low
        assert module._compute_wilson_bound(hits / n, n) == pytest.approx(expected, abs=1e-12)


def test_few_images_must_be_further_over_chance(make: Callable[..., Dataset]) -> None:
    # Perfect figures of two images an origin are no proof: 6 of 6 has a lower bound of 61 %.
    few = _by_name(check_shortcuts(make(_by_format, test=2)))["file"]
    many = _by_name(check_shortcuts(make(_by_format, test=16, seed=1)))["file"]
    assert few.balanced_accuracy == many.balanced_accuracy == 1
    assert few.balanced_accuracy_low == pytest.approx(
        binomtest(6, 6).proportion_ci(0.95, method="wilson").low
    )
    assert many.balanced_accuracy_low == pytest.approx(
        binomtest(48, 48).proportion_ci(0.95, method="wilson").low
    )
    # Of unequal numbers the smallest counts most: 3 · 3 / (1/16 + 1/16 + 1/2) = 14.4 images.
    dataset = make(_by_format, seed=2)
    gan = [s for s in dataset.test if s.origin == "gan"]
    uneven = replace(dataset, test=tuple(s for s in dataset.test if s not in gan[2:]))
    assert _by_name(check_shortcuts(uneven))["file"].balanced_accuracy_low == pytest.approx(
        module._compute_wilson_bound(1, 14.4)
    )


def test_large_splits_are_sampled_equally_by_origin(
    make: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(_by_format, train=20, test=4)
    gan = [s for s in dataset.train if s.origin == "gan"]
    dataset = replace(dataset, train=tuple(s for s in dataset.train if s not in gan[3:]))
    monkeypatch.setattr(module, "MAX_FILES", 30)
    report = check_shortcuts(dataset)
    assert report.train_images == 10 + 3 + 10
    assert report.test_images == 12
    assert report.detected

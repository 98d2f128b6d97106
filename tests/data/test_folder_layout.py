"""Layouts of published datasets: origins, splits and sources, and errors for unclear layouts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from whichgen.data.layouts.folder_layout import FolderLayout, check_origin_names, read_layout
from whichgen.errors import DataError


def _make(root: Path, folders: Collection[str]) -> Path:
    """Create an empty image in each folder; its name is the number of the folder."""
    for i, name in enumerate(folders):
        path = root / "data" / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root / "data"


def _origins(layout: FolderLayout) -> dict[str, list[int]]:
    return {
        origin: sorted(int(path.stem) for path in paths) for origin, paths in layout.origins.items()
    }


GENIMAGE = (
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/ai",
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/nature",
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/val/ai",
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/val/nature",
    "Midjourney/imagenet_midjourney/train/ai",
    "Midjourney/imagenet_midjourney/val/nature",
    "ADM/imagenet_ai_0508_adm/val/ai",
)


@pytest.mark.parametrize(
    ("folders", "origins"),
    [
        ("real gan gan/deep", {"gan": [1, 2], "real": [0]}),
        # Published splits, and those of Kaggle.
        (
            "train/real train/gan val/gan test/new",
            {"gan": [1, 2], "new": [3], "real": [0]},
        ),
        ("Training/real Validation/gan", {"gan": [1], "real": [0]}),
        ("train/REAL train/FAKE test/REAL test/FAKE", {"FAKE": [1, 3], "real": [0, 2]}),
        ("archive/train/Real archive/test/Fake archive/test/Real", {"Fake": [1], "real": [0, 2]}),
        ("real/train real/test gan/train gan/test", {"gan": [2, 3], "real": [0, 1]}),
        # CNNDetection (ForenSynths): the category `train` is no split.
        (
            "progan/cat/0_real progan/cat/1_fake progan/train/0_real progan/train/1_fake "
            "biggan/0_real biggan/1_fake",
            {"biggan": [5], "progan": [1, 3], "real": [0, 2, 4]},
        ),
        (
            "set/progan/cat/0_real set/progan/cat/1_fake set/biggan/1_fake",
            {"biggan": [2], "progan": [1], "real": [0]},
        ),
        (
            "train/progan/cat/0_real train/progan/cat/1_fake test/biggan/0_real test/biggan/1_fake",
            {"biggan": [3], "progan": [1], "real": [0, 2]},
        ),
        (
            "lsun/ProGAN/0_real lsun/ProGAN/1_fake celeba/StarGAN/1_fake",
            {"ProGAN": [1], "StarGAN": [2], "real": [0]},
        ),
        ("stylegan/car/0_real stylegan/car/1_fake", {"real": [0], "stylegan": [1]}),
        ("stylegan/car/1_fake stylegan/cat/1_fake real", {"real": [2], "stylegan": [0, 1]}),
        # GenImage, its parts, and without photographs.
        (
            " ".join(GENIMAGE),
            {"ADM": [6], "Midjourney": [4], "real": [1, 3, 5], "stable_diffusion_v_1_4": [0, 2]},
        ),
        ("sdv4/train/ai sdv4/train/nature sdv4/val/ai", {"real": [1], "sdv4": [0, 2]}),
        ("train/ai train/nature val/ai", {"ai": [0, 2], "real": [1]}),
        ("sdv4/train/ai ADM/train/ai", {"ADM": [1], "sdv4": [0]}),
        ("sdv4/ai/n01440764 sdv4/nature/n01440764", {"real": [1], "sdv4": [0]}),
        # DiffusionForensics.
        (
            "train/lsun_bedroom/real train/lsun_bedroom/adm test/celebahq/real "
            "test/celebahq/sdv2 train/imagenet/real/n01440764 test/imagenet/sdv1/12",
            {"adm": [1], "real": [0, 2, 4], "sdv1": [5], "sdv2": [3]},
        ),
        ("images/train/x/real images/train/x/adm", {"adm": [1], "real": [0]}),
        # OSMA, also inside a folder or with domains.
        (
            "real/celeba real/bedroom fake/ProGAN/bus fake/styleGAN/cat",
            {"ProGAN": [2], "real": [0, 1], "styleGAN": [3]},
        ),
        ("OSMA/real/celeba OSMA/fake/ProGAN/bus", {"ProGAN": [1], "real": [0]}),
        (
            "a/real a/fake/ProGAN b/real b/fake/ProGAN b/fake/MMDGAN",
            {"MMDGAN": [4], "ProGAN": [1, 3], "real": [0, 2]},
        ),
        # Categories and numbered videos are not generators.
        ("real/cat fake/cat fake/dog", {"fake": [1, 2], "real": [0]}),
        ("real/000 fake/000_003 fake/001_870", {"fake": [1, 2], "real": [0]}),
        # The top folder of an extracted ZIP file.
        ("mine/real mine/gan", {"gan": [1], "real": [0]}),
        # Here, `nature` is a subject, not a name for photographs.
        ("real gan/nature gan/city", {"gan": [1, 2], "real": [0]}),
    ],
)
def test_origins_of_published_layouts(
    tmp_path: Path, folders: str, origins: dict[str, list[int]]
) -> None:
    layout = read_layout(_make(tmp_path, folders.split()))
    assert _origins(layout) == origins
    if {name.split("/")[0] for name in folders.split()} != set(origins):
        assert layout.notes


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["real", "gan", "test/x"], r"contains folders of splits \(test\) and other folders"),
        (["train", "test"], "is the folder of a split but contains images directly.*/real/"),
        (["train/val/real"], "in the folders of several splits"),
        (
            ["airplane/0_real", "airplane/1_fake", "train/0_real"],
            "not names of generators: airplane, train.*If data is the generator, specify",
        ),
        (
            ["train/car/0_real", "train/car/1_fake", "test/biggan/1_fake"],
            "not names of generators: car",
        ),
        (
            ["photos/real", "photos/fake", "art/real", "art/fake"],
            "not names of generators: photos",
        ),
        (["a/0_real", "a/1_fake", "a/masks", "b/0_real", "b/1_fake"], "but also masks"),
        (
            ["a/0_real", "a/1_fake", "a"],
            "neither in a folder of photographs nor in a folder of generated",
        ),
        (["real", "gan/real"], "can't determine which folders are origins.*gan/real"),
        (["x/real", "x/adm", "y"], "can't determine which folders are origins"),
        (
            ["images/x/real", "recons/x/real", "dire/x/adm"],
            r"contains reconstructions .* in dire, recons\. .*data/images",
        ),
    ],
)
def test_unclear_layout_is_refused(tmp_path: Path, folders: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_layout(_make(tmp_path, folders))


@pytest.mark.parametrize(
    ("folders", "real", "origins"),
    [
        (["Real", "gan"], ["Real"], {"gan": [1], "real": [0]}),
        (["photos", "Nature", "gan"], ["photos", "nature"], {"gan": [2], "real": [0, 1]}),
        (["real", "photos", "gan"], ["photos"], {"gan": [2], "real": [0, 1]}),
        (
            ["a/foto", "a/1_fake", "b/foto", "b/1_fake"],
            ["foto"],
            {"a": [1], "b": [3], "real": [0, 2]},
        ),
        (["x/natural", "x/adm", "y/natural"], ["natural"], {"adm": [1], "real": [0, 2]}),
        (["train/photos", "train/gan", "test/photos"], ["photos"], {"gan": [1], "real": [0, 2]}),
        # `0_real` means `real` even without the option.
        (["a/0_real", "a/1_fake"], ["0_real"], {"a": [1], "real": [0]}),
    ],
)
def test_folders_of_photographs_are_specified(
    tmp_path: Path, folders: list[str], real: list[str], origins: dict[str, list[int]]
) -> None:
    layout = read_layout(_make(tmp_path, folders), real)
    assert _origins(layout) == origins
    assert check_origin_names(layout.origins) == []


def test_misspelled_folder_of_photographs_is_an_error(tmp_path: Path) -> None:
    folder = _make(tmp_path, ["photos", "gan"])
    with pytest.raises(DataError, match=r"contains no folder named phtos\. Set `real` .* photos\."):
        read_layout(folder, ["phtos"])


@pytest.mark.parametrize(
    "name",
    ["Real", "REAL", "0_real", "nature", "photos", "authentic", "Real Images", "coco", "CelebA-HQ"],
)
def test_photographs_under_another_name_are_a_warning(name: str) -> None:
    (warning,) = check_origin_names(["gan", name])
    assert "No origin is named real" in warning
    assert f"If {name} contains photographs, add `real=({name!r},)`." in warning
    (warning,) = check_origin_names(["gan", "real", name])
    assert f"{name} counts as a generator" in warning


def test_dataset_without_photographs_is_a_warning() -> None:
    (warning,) = check_origin_names(["gan", "realvisxl", "photoshop"])
    assert warning.endswith("Otherwise, add a folder named real.")
    (warning,) = check_origin_names(["training_fake", "training_real"])
    assert "If training_real contains photographs, add `real=('training_real',)`." in warning
    assert check_origin_names(["gan", "real"]) == []
    assert "gan is the only origin" in check_origin_names(["gan"])[0]


def test_splits_are_read_from_folders(tmp_path: Path) -> None:
    layout = read_layout(_make(tmp_path, GENIMAGE))
    splits = {int(path.stem): split for path, split in layout.splits.items()}
    assert splits == {0: "train", 1: "train", 2: "val", 3: "val", 4: "train", 5: "val", 6: "val"}
    assert "These folders are splits, not origins: train, val." in layout.notes
    assert any("The origin of the images in nature is real" in note for note in layout.notes)
    # Without training images, nothing is divided.
    assert read_layout(_make(tmp_path / "b", ["test/real", "test/gan"])).splits == {}


def test_unnamed_generators_are_explained(tmp_path: Path) -> None:
    layout = read_layout(_make(tmp_path, ["real", "ai", "fake"]))
    assert _origins(layout) == {"ai": [1], "fake": [2], "real": [0]}
    assert "named after the folder of generated images (ai, fake)" in layout.notes[0]


def test_source_is_the_subfolder_of_the_origin(tmp_path: Path) -> None:
    folders = ["train/real/flickr", "train/gan/reddit/x", "test/gan", "test/real/nasa"]
    layout = read_layout(_make(tmp_path, folders))
    sources = {int(path.stem): source for path, source in layout.sources.items()}
    assert sources == {0: "flickr", 1: "reddit", 3: "nasa"}

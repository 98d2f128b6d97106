"""``dataset split``, ``check`` and ``prepare``, and invalid datasets."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from whichgen.cli.dataset import format_frequent_values

from .conftest import UNKNOWN, Site, whichgen


def test_split_writes_annotations_and_a_table(site: Site) -> None:
    result = whichgen("dataset", "split", "images", *UNKNOWN)
    assert result.code == 0, result.err
    assert "images: images per split" in result.out
    train = Path("dataset/images/split1_train/annotations/split1_train.txt")
    assert len(train.read_text().splitlines()) == 18
    # A folder `images` exists, but the printed name refers to the annotation files.
    name = result.message.partition("Train with --data ")[2]
    assert name == "images:split=split1"
    result = whichgen("knn", *site.options(data=name), "--K", 2)
    assert result.code == 0, result.err
    assert (site.folder / "out/tiny_clip/images_split1/results.json").is_file()


def test_folder_of_annotation_files_names_the_dataset(site: Site) -> None:
    assert whichgen("dataset", "split", "images", *UNKNOWN, "-o", "sets").code == 0
    for command in (["dataset", "check"], ["knn", *site.options()[:-1], site.cache, "-d"]):
        result = whichgen(*command, "sets/images")
        assert result.code == 1
        name = re.search(r"Specify (\S+) instead", result.message)
        assert name and whichgen("dataset", "check", name[1]).code == 0


def test_check_passes_a_good_dataset(site: Site) -> None:
    result = whichgen("dataset", "check", "images")
    assert result.code == 0, result.err
    assert "images: 50 images" in result.out
    assert "No warnings." in result.message
    assert "missing" not in result.out and "unreadable" not in result.out
    assert "0 exact duplicates" in result.message


def test_check_reports_shortcuts_conflicts_and_unreadable_files(site: Site) -> None:
    for path in Path("images/gan").iterdir():
        with Image.open(path) as file:
            image = file.convert("RGB")
        path.unlink()
        image.save(path.with_suffix(".jpg"))
    (site.images / "vae/same.png").write_bytes((site.images / "real/000.png").read_bytes())
    (site.images / "flow/text.png").write_text("no image")
    result = whichgen("dataset", "check", "images")
    assert result.code == 1
    assert "unreadable" in result.out and "missing" not in result.out
    counts = {"64×64": 5, "32×32": 3, "1×1": 2, "2×2": 1}
    assert format_frequent_values(counts) == "64×64 (5)\n32×32 (3)\n1×1 (2)\n1 more"
    for message in (
        "SHORTCUT: 10 of 10 images of gan have format JPEG",
        "LABEL CONFLICT: the same file is labeled real and vae",
        "1 of 52 files can't be read. Check the path, or replace or remove the file:",
        "flow/text.png: a text file",
        "1 exact duplicate",
    ):
        assert message in result.message, message
    assert "No warnings." not in result.message


def test_check_accepts_a_dataset_name(site: Site) -> None:
    assert whichgen("dataset", "split", "images", *UNKNOWN, "-o", "sets").code == 0
    result = whichgen("dataset", "check", "images:root=sets")
    assert result.code == 0, result.err
    assert "images:root=sets: 50 images" in result.out
    Path("images/real/003.png").unlink()
    result = whichgen("dataset", "check", "images:root=sets")
    assert result.code == 1
    assert "003.png: no such file" in result.message


def test_check_counts_sources(site: Site) -> None:
    result = whichgen("dataset", "check", "images")
    assert "add --sources folders" not in result.message
    for path in sorted(Path("images").rglob("*.png")):
        folder = path.parent / f"site {int(path.stem) % 3}"
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    result = whichgen("dataset", "check", "images")
    assert (
        result.message.count("If the subfolders of the origins are sources, add --sources folders")
        == 1
    )
    result = whichgen("dataset", "check", "images", "--sources", "folders")
    assert result.code == 0, result.err
    assert "images per source" in result.out
    assert "add --sources" not in result.message
    split = ["dataset", "split", "images", *UNKNOWN, "-o", "sets", "--sources", "folders"]
    assert whichgen(*split).code == 0
    assert "images per source" in whichgen("dataset", "check", "images:root=sets").out
    result = whichgen("dataset", "check", "images:root=sets", "--sources", "folders")
    assert "but images:root=sets is a dataset string. Remove --sources." in result.message
    result = whichgen("dataset", "check", "images:root=sets", "--real", "Nature")
    assert "--real applies only to folders" in result.message
    result = whichgen("dataset", "check", "nowhere/images", "--sources", "folders")
    assert "nowhere/images does not exist" in result.message


def test_an_origin_with_one_image_is_named(site: Site) -> None:
    for path in sorted(Path("images/gan").iterdir())[1:]:
        path.unlink()
    for command in (["dataset", "split", "images"], ["linear", *site.options(out="x"), *UNKNOWN]):
        result = whichgen(*command)
        assert result.code == 1
        assert "images of gan. Every known origin needs images in train, val and test" in (
            result.message
        )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("image.png gan\n", r"line 2: expected a path and a label, got 'image.png gan'"),
        ("image.png\t7\n", "line 2: invalid label '7'. Use an index from 0 to 2"),
        ("image.png\tdalle\n", "line 2: invalid label 'dalle'"),
    ],
)
def test_a_wrong_annotation_line_is_located(site: Site, line: str, message: str) -> None:
    assert whichgen("dataset", "split", "images", *UNKNOWN, "-o", "sets").code == 0
    file = Path("sets/images/split1_train/annotations/split1_train.txt")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], line, *lines[1:]]))
    for command in (
        ["linear", *site.options(data="images:root=sets", out="x")],
        ["dataset", "check", "images:root=sets"],
    ):
        result = whichgen(*command)
        assert result.code == 1
        assert result.message.startswith("error: ")
        assert f"{file}, {message}" in result.message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["split", "nowhere"], "nowhere does not exist"),
        (["check", "nowhere/x"], "nowhere/x does not exist"),
        (["split", "images", "--unknown", "dalle"], "has no origin dalle"),
        (["split", "images", "--fractions", "a,b,c"], "is not a list of three numbers"),
        (["split", "images/real"], "If real is itself an origin, specify its parent folder: "),
        (["split", "deep/gan"], "If gan is itself an origin, specify its parent folder."),
    ],
)
def test_invalid_option_is_reported(site: Site, command: list[str], message: str) -> None:
    for origin in ("vae", "flow"):
        shutil.copytree(site.images / origin, site.folder / "deep/gan" / origin)
    for file in sorted((site.folder / "deep/gan/vae").iterdir())[1:]:
        file.unlink()
    result = whichgen("dataset", *command)
    assert result.code == 1
    assert result.message.startswith("error: ")
    assert message in result.message


def test_unreadable_files_are_skipped_in_training(site: Site) -> None:
    assert whichgen("dataset", "split", "images", *UNKNOWN, "-o", "sets").code == 0
    lines = Path("sets/images/split1_train/annotations/split1_train.txt").read_text().splitlines()
    for line in lines[:2]:
        path = Path(line.partition("\t")[0])
        path.write_bytes(path.read_bytes()[:-100])
    result = whichgen("knn", *site.options(data="images:root=sets", out="u"), "--K", 2)
    assert result.code == 0, result.err
    assert "Unreadable files skipped: 2. Replace or remove them. First error: " in result.message
    skipped = (site.folder / "u/tiny_clip/images_split1/skipped.txt").read_text()
    assert len(skipped.splitlines()) == 2
    assert "can't be decoded" in skipped


def test_published_layouts_are_read_and_explained(site: Site) -> None:
    """In GenImage's layout, every command recognizes the photographs."""
    for split, files in (("train", slice(0, 7)), ("val", slice(7, 10))):
        for name, kind in (("gan", "ai"), ("vae", "ai"), ("real", "nature"), ("ddpm", "ai")):
            folder = Path("set", "gan" if name == "real" else name, split, kind)
            folder.mkdir(parents=True)
            for path in sorted(Path("images", name).iterdir())[files]:
                shutil.copy(path, folder / path.name)
    result = whichgen("dataset", "check", "set")
    assert result.code == 0, result.err
    assert "These folders are splits, not origins: train, val." in result.message
    assert "The origin of the images in nature is real." in result.message
    rows = dict(re.findall(r"^(\w+) +(\d+) ", result.out, re.MULTILINE))
    assert rows == {"ddpm": "10", "gan": "10", "real": "10", "vae": "10"}
    result = whichgen("knn", *site.options(data="set"), "--unknown", "ddpm", "--K", 2)
    assert result.code == 0, result.err
    assert "The folders define the splits" in result.message
    assert "Photographs called synthetic" in result.out


def test_photographs_in_a_folder_of_another_name(site: Site) -> None:
    Path("images/real").rename("images/Nature")
    result = whichgen("dataset", "check", "images")
    assert result.code == 1
    assert "If Nature contains photographs, add --real Nature." in result.message
    assert "No warnings." not in result.message
    result = whichgen("dataset", "check", "images", "--real", "nature")
    assert result.code == 0, result.err
    assert re.search(r"^real +10 ", result.out, re.MULTILINE)
    result = whichgen("knn", *site.options(out="x"), *UNKNOWN, "--real", "Nature", "--K", 2)
    assert result.code == 0, result.err
    assert "Photographs called synthetic" in result.out


def test_genimage_is_prepared_checked_and_used(site: Site) -> None:
    """Train a model on a GenImage split, using only the images."""
    names = (
        *("ADM/imagenet_ai_0508_adm", "BigGAN/imagenet_ai_0419_biggan", "glide/imagenet_glide"),
        *("Midjourney/imagenet_midjourney", "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4"),
        *("stable_diffusion_v_1_5/imagenet_ai_0424_sdv5", "VQDM/imagenet_ai_0419_vqdm"),
        "wukong/imagenet_ai_0424_wukong",
    )
    images = {kind: sorted(Path("images", kind).iterdir()) for kind in ("real", "gan")}
    for k, name in enumerate(names):
        for split, numbers in (("train", range(4)), ("val", range(4, 10))):
            for kind, origin in (("ai", "gan"), ("nature", "real")):
                folder = Path("GenImage", name, split, kind)
                folder.mkdir(parents=True)
                for i in numbers:
                    data = images[origin][i].read_bytes()
                    # Different files of the same pixels.
                    (folder / f"{k}_{i}.png").write_bytes(data + bytes([k]))
    command = ["dataset", "prepare", "GenImage", "GenImage", "-o", "sets"]
    result = whichgen(*command, "--samples-per-class", 4)
    assert result.code == 0, result.err
    assert re.search(r"^split5 +20 +\d+ +12 +\d+ +12 *$", result.out, re.MULTILINE)
    assert "fewer than 4 val images: ADM 3, BigGAN 3" in result.message
    name = result.message.partition("Train with --data ")[2]
    assert name == "GenImage:split=split1:root=sets"
    assert "GenImage:split=split1:root=sets: " in whichgen("dataset", "check", name).out
    result = whichgen("knn", *site.options(data=name), "--K", 2, "--protocol", "paper")
    assert result.code == 0, result.err
    assert "These splits were made by `whichgen dataset prepare GenImage`" in result.message
    result = whichgen(*command)
    assert result.code == 1
    assert "annotations/split1_test.txt exists. Choose another --output-dir" in result.message
    assert whichgen(*command, "--force").code == 0
    result = whichgen("dataset", "prepare", "GenImage", "images", "-o", "other")
    assert result.code == 1
    assert "images found: real (10); split1 omitted" in result.message
    assert not Path("other").exists()

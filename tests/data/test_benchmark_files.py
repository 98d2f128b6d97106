"""Benchmarks: published lists of origins and the layout of annotation files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from whichgen.data.benchmarks.benchmark_files import (
    load_benchmark,
    parse_spec,
    read_benchmark,
    write_benchmark,
)
from whichgen.data.benchmarks.origin_lists import list_benchmarks, load_origins
from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.errors import DataError

GENIMAGE = {
    "split1": ("real", "wukong", "Midjourney", "VQDM", "stable_diffusion_v_1_4"),
    "split2": ("real", "Midjourney", "VQDM", "stable_diffusion_v_1_4", "ADM"),
    "split3": ("real", "VQDM", "stable_diffusion_v_1_4", "ADM", "BigGAN"),
    "split4": ("real", "stable_diffusion_v_1_4", "ADM", "BigGAN", "glide"),
    "split5": ("real", "ADM", "BigGAN", "glide", "stable_diffusion_v_1_5"),
}
ALL_GENIMAGE = {
    *("real", "wukong", "Midjourney", "VQDM", "stable_diffusion_v_1_4", "ADM", "BigGAN", "glide"),
    "stable_diffusion_v_1_5",
}


def _samples(*origins: str, part: str) -> tuple[Sample, ...]:
    return tuple(Sample(Path(f"/{part}/{o}_{i}.png"), o) for o in origins for i in range(2))


@pytest.fixture
def dataset() -> Dataset:
    """Two known origins, three unknown ones in two groups, two images of each in each part."""
    known, unknown = ("real", "gan"), ("a", "b", "c")
    parts = {
        part: _samples(*(unknown if part.endswith("unknown") else known), part=part)
        for part in SPLITS
    }
    return Dataset(
        "mine", known, unknown, **parts, unknown_groups={"seed": ("a",), "arch": ("b", "c")}
    )


def test_shipped_benchmarks() -> None:
    assert list_benchmarks() == ["DiffusionForensics", "GenImage", "OSMA"]


@pytest.mark.parametrize("split", GENIMAGE)
def test_genimage_has_9_origins_of_which_5_are_known(split: str) -> None:
    lists = load_origins("GenImage", Path("none"))
    assert tuple(lists.splits) == tuple(GENIMAGE)
    assert lists.splits[split].known == GENIMAGE[split]
    unknown = lists.splits[split].unknown["all"]
    assert len(unknown) == 4
    assert set(unknown) == ALL_GENIMAGE - set(GENIMAGE[split])


def test_diffusion_forensics_has_5_known_and_11_unknown_origins() -> None:
    lists = load_origins("DiffusionForensics", Path("none"))
    (split,) = lists.splits.values()
    assert split.known == ("real", "stylegan", "iddpm", "adm", "pndm")
    assert split.unknown == {
        "all": (
            *("dalle2", "ddpm", "diff-projectedgan", "diff-stylegan", "if", "ldm", "midjourney"),
            *("projectedgan", "sdv1_new", "sdv2", "vqdiffusion"),
        )
    }


def test_osma_matches_the_published_lists(shared: Path) -> None:
    published = json.loads((shared / "osma.json").read_text())
    ours = load_origins("OSMA", Path("none"))
    assert list(ours.splits) == ["split1", "split2", "split3", "split4", "split5"]
    assert {n: s.model_dump(mode="json") for n, s in ours.splits.items()} == {
        name: {"known": lists["known"], "unknown": lists["unknown"]}
        for name, lists in published.items()
    }


@pytest.mark.parametrize("split", ["split1", "split2", "split3", "split4", "split5"])
def test_osma_groups_are_a_partition_of_unknown_origins(split: str) -> None:
    lists = load_origins("OSMA", Path("none")).splits[split]
    groups = [lists.unknown[group] for group in ("seed", "arch", "dataset")]
    together = [origin for group in groups for origin in group]
    assert sorted(together) == sorted(lists.unknown["all"])
    assert len(set(together)) == len(together)
    assert len(lists.known) == 15
    assert lists.known[0] == "real"
    assert not set(lists.known) & set(together)


def test_write_and_read_round_trip(tmp_path: Path, dataset: Dataset) -> None:
    write_benchmark(dataset, tmp_path, "mine", "split2")
    read = load_benchmark(f"mine:split=split2:root={tmp_path}")
    assert read.name == "mine:split=split2"
    for field in ("known", "unknown", "unknown_groups", "notes", *SPLITS):
        assert getattr(read, field) == getattr(dataset, field), field


@pytest.mark.parametrize("known", [("real", "gan"), ("1", "0")])
def test_labels_are_indices(tmp_path: Path, dataset: Dataset, known: tuple[str, str]) -> None:
    """Known origins first, as in the reference implementation; also if names are numbers."""
    names = dict(zip(("real", "gan"), known, strict=True))
    parts = {
        part: tuple(replace(s, origin=names.get(s.origin, s.origin)) for s in dataset.split(part))
        for part in SPLITS
    }
    renamed = replace(dataset, known=known, **parts)
    folder = write_benchmark(renamed, tmp_path, "mine")
    labels = {
        file.name: sorted({line.split("\t")[1] for line in file.read_text().splitlines()})
        for file in folder.glob("*/annotations/*.txt")
    }
    assert labels == {
        "split1_train.txt": ["0", "1"],
        "split1_val.txt": ["0", "1"],
        "split1_test.txt": ["0", "1"],
        "split1_val_out_all.txt": ["2", "3", "4"],
        "split1_val_out_seed.txt": ["2"],
        "split1_val_out_arch.txt": ["3", "4"],
        "split1_test_out_all.txt": ["2", "3", "4"],
        "split1_test_out_seed.txt": ["2"],
        "split1_test_out_arch.txt": ["3", "4"],
    }
    read = read_benchmark("mine", tmp_path)
    for part in SPLITS:
        assert read.split(part) == renamed.split(part), part


def test_files_with_names_as_labels_are_still_read(tmp_path: Path, dataset: Dataset) -> None:
    folder = write_benchmark(dataset, tmp_path, "mine")
    names = (*dataset.known, *dataset.unknown)
    for file in folder.glob("*/annotations/*.txt"):
        rows = [line.split("\t") for line in file.read_text().splitlines()]
        file.write_text("".join(f"{path}\t{names[int(label)]}\n" for path, label in rows))
    origins = json.loads((folder / "origins.json").read_text())
    assert origins.pop("indices") is True
    (folder / "origins.json").write_text(json.dumps(origins))
    read = read_benchmark("mine", tmp_path)
    for part in SPLITS:
        assert read.split(part) == dataset.split(part), part


def test_first_split_is_the_default_and_root_may_contain_a_colon(
    tmp_path: Path, dataset: Dataset
) -> None:
    root = tmp_path / "a:b=c"
    write_benchmark(dataset, root, "my:set")
    assert read_benchmark("my:set", root).train == dataset.train


def test_genimage_layout_is_read(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        folder = tmp_path / "GenImage" / f"split1_{part}" / "annotations"
        folder.mkdir(parents=True)
        lines = [f"GenImage/{part}/{i}.png\t{i}\n" for i in range(5)]
        (folder / f"split1_{part}.txt").write_text("".join(lines))
    out = tmp_path / "GenImage" / "split1_test" / "annotations" / "split1_test_out_all.txt"
    out.write_text("".join(f"GenImage/out/{i}.png\t{i}\n" for i in range(4)))
    image = tmp_path / "GenImage" / "train" / "0.png"
    image.parent.mkdir()
    image.touch()

    read = load_benchmark(f"genimage:split=split1:root={tmp_path}")

    assert read.name == "GenImage:split=split1"
    assert [s.origin for s in read.train] == list(GENIMAGE["split1"])
    assert read.train[3].path == tmp_path / "GenImage" / "train" / "3.png"
    assert [s.origin for s in read.test_unknown] == [
        *("stable_diffusion_v_1_5", "BigGAN", "ADM", "glide")
    ]
    assert read.val_unknown == ()
    assert len(read.notes) == 1
    assert "unknown val images" in read.notes[0]


def test_missing_split_names_its_file(tmp_path: Path, dataset: Dataset) -> None:
    folder = write_benchmark(dataset, tmp_path, "mine")
    (folder / "split1_val" / "annotations" / "split1_val.txt").unlink()
    with pytest.raises(DataError, match=r"split1_val\.txt does not exist"):
        load_benchmark(f"mine:root={tmp_path}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("GenImage:split", "invalid option 'split'"),
        ("GenImage:split=", "invalid option 'split='"),
        ("GenImage:fold=1", "invalid option 'fold=1'"),
        ("GenImage:split=split9", "has no split 'split9'. Choose from split1, split2"),
        ("Genimagge", "'Genimagge' is not one of Diff.*Check the spelling"),
    ],
)
def test_invalid_dataset_string_is_an_error(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_benchmark(spec)


def test_dataset_string_is_name_and_options() -> None:
    assert parse_spec("OSMA:split=split3:root=/data") == (
        "OSMA",
        {"split": "split3", "root": "/data"},
    )


def test_damaged_list_of_origins_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "origins.json").write_text('{"name": 1}')
    with pytest.raises(DataError, match=r"origins\.json is not a valid list of origins"):
        load_benchmark(f"mine:root={tmp_path}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"known": ("real",)}, "at least two known origins"),
        ({"known": ("real", "real")}, "duplicate known origins: real"),
        ({"unknown": ("gan", "a")}, "gan can't be both known and unknown"),
        ({"val": ()}, "no val images of real, gan"),
        ({"test": (Sample(Path("/x"), "real"),)}, "no test images of gan"),
    ],
)
def test_invalid_dataset_is_refused(
    dataset: Dataset, change: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Dataset(**{**vars(dataset), **change}).validate()

"""Splits of published benchmarks, made from the images alone, and read by two implementations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from whichgen.data.benchmarks.benchmark_files import load_benchmark, write_splits
from whichgen.data.benchmarks.origin_lists import load_bundled_origins
from whichgen.data.benchmarks.prepare_benchmark import prepare_benchmark
from whichgen.data.dataset import SPLITS, Dataset
from whichgen.errors import DataError

#: The folders of GenImage's archives.
GENIMAGE = {
    "ADM": "ADM/imagenet_ai_0508_adm",
    "BigGAN": "BigGAN/imagenet_ai_0419_biggan",
    "glide": "glide/imagenet_glide",
    "Midjourney": "Midjourney/imagenet_midjourney",
    "stable_diffusion_v_1_4": "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4",
    "stable_diffusion_v_1_5": "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5",
    "VQDM": "VQDM/imagenet_ai_0419_vqdm",
    "wukong": "wukong/imagenet_ai_0424_wukong",
}

#: From configs/data/genimage.yaml of the reference implementation: known, then unknown classes.
REFERENCE_CLASSES = {
    "split1": (
        ["real", "wukong", "Midjourney", "VQDM", "stable_diffusion_v_1_4"],
        ["stable_diffusion_v_1_5", "BigGAN", "ADM", "glide"],
    ),
    "split5": (
        ["real", "ADM", "BigGAN", "glide", "stable_diffusion_v_1_5"],
        ["wukong", "stable_diffusion_v_1_4", "VQDM", "Midjourney"],
    ),
}

MakeTree = Callable[[dict[str, int]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> MakeTree:
    """Make a folder with a number of empty files in each given subfolder."""

    def make(counts: dict[str, int]) -> Path:
        for k, (name, count) in enumerate(counts.items()):
            folder = tmp_path / "data" / name
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                (folder / f"{k:03}_{i:03}.png").touch()
        return tmp_path / "data"

    return make


def _genimage(train: int = 8, val: int = 6) -> dict[str, int]:
    return {
        f"{folder}/{split}/{kind}": n
        for folder in GENIMAGE.values()
        for split, n in (("train", train), ("val", val))
        for kind in ("ai", "nature")
    }


def _read_like_the_reference(file: Path) -> list[tuple[str, int]]:
    """Read an annotation file as ``utils/common.py`` of the reference implementation does."""
    rows = []
    for line in file.read_text().splitlines():
        path, label = line.split("\t")
        rows.append((path, int(label)))
    return rows


def _true_origin(path: Path) -> str:
    """The origin of an image of the made tree of GenImage, from its path alone."""
    return "real" if path.parent.name == "nature" else path.parents[3].name


def test_genimage_is_divided_into_the_published_splits(tree: MakeTree) -> None:
    prepared = prepare_benchmark("genimage", tree(_genimage()), samples_per_class=7)
    assert list(prepared.splits) == ["split1", "split2", "split3", "split4", "split5"]
    lists = load_bundled_origins("GenImage")
    for split, dataset in prepared.splits.items():
        assert dataset.known == lists.splits[split].known
        assert dataset.unknown == lists.splits[split].unknown["all"]
        for part in SPLITS:
            origins = dataset.unknown if "unknown" in part else dataset.known
            counts = Counter(sample.origin for sample in dataset.split(part))
            sizes = {o: 7 if part == "train" or o == "real" else 3 for o in origins}
            assert counts == sizes, (split, part)
            folder = "train" if part == "train" else "val"
            for sample in dataset.split(part):
                assert _true_origin(sample.path) == sample.origin
                assert sample.path.parents[1].name == folder
        paths = [sample.path for part in SPLITS for sample in dataset.split(part)]
        assert len(set(paths)) == len(paths)
    assert "fewer than 7 val images: ADM 3, BigGAN 3" in " ".join(prepared.notes)
    assert "train images" not in " ".join(prepared.notes)


def test_each_origin_is_divided_alike_for_all_splits_and_seeds_differ(tree: MakeTree) -> None:
    folder = tree(_genimage(train=30))

    def train(dataset: Dataset, origin: str) -> list[Path]:
        return [sample.path for sample in dataset.train if sample.origin == origin]

    first = prepare_benchmark("GenImage", folder, samples_per_class=5)
    again = prepare_benchmark("GenImage", folder, samples_per_class=5)
    other = prepare_benchmark("GenImage", folder, samples_per_class=5, seed=1)
    assert first == again
    assert first.splits != other.splits
    adm = [train(first.splits[split], "ADM") for split in ("split2", "split3", "split5")]
    assert adm[0] == adm[1] == adm[2]
    # Not simply the first images, nor the same numbers for each generator.
    assert adm[0] != sorted(adm[0])
    glide = train(first.splits["split5"], "glide")
    assert [p.name[-7:] for p in glide] != [p.name[-7:] for p in adm[0]]


def test_both_implementations_read_the_annotation_files(tree: MakeTree, tmp_path: Path) -> None:
    prepared = prepare_benchmark("GenImage", tree(_genimage()), samples_per_class=5)
    root = tmp_path / "dataset"
    write_splits(prepared.splits, root, "GenImage", unknown_file=prepared.origins.unknown_file)
    for split, (known, unknown) in REFERENCE_CLASSES.items():
        dataset = load_benchmark(f"GenImage:split={split}:root={root}")
        for part in SPLITS:
            base = part.removesuffix("_unknown")
            name = f"{split}_{base}_out_all.txt" if part != base else f"{split}_{base}.txt"
            rows = _read_like_the_reference(
                root / "GenImage" / f"{split}_{base}" / "annotations" / name
            )
            assert [path for path, _ in rows] == [str(s.path) for s in dataset.split(part)]
            labels = sorted({label for _, label in rows})
            if part == base:
                # The reference implementation counts the classes by their labels.
                assert labels == list(range(len(known)))
                names = known
            else:
                # It names unknown classes by the rank of their label.
                names = unknown
            named = [names[labels.index(label)] for _, label in rows]
            assert named == [s.origin for s in dataset.split(part)]
            assert named == [_true_origin(Path(path)) for path, _ in rows]


def test_photographs_beside_several_generators_are_used_once(tree: MakeTree) -> None:
    folder = tree(_genimage())
    for generator in ("ADM", "glide"):
        for split in ("train", "val"):
            name = f"{GENIMAGE[generator]}/{split}/nature/n01440764_10026.JPEG"
            (folder / name).touch()
    prepared = prepare_benchmark("GenImage", folder, samples_per_class=0)
    dataset = prepared.splits["split1"]
    paths = [sample.path.name for part in SPLITS for sample in dataset.split(part)]
    assert paths.count("n01440764_10026.JPEG") == 1
    assert len(dataset.train) == 8 * 8 + 4 * 8 + 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stable_diffusion_v_1_4/imagenet_ai_0419_sdv4", "imagenet_ai_0419_sdv4"),
        ("Midjourney/imagenet_midjourney", "download/imagenet_midjourney/imagenet_midjourney"),
        ("ADM/imagenet_ai_0508_adm", "adm"),
        ("stable_diffusion_v_1_5/imagenet_ai_0424_sdv5", "SDv1.5"),
    ],
)
def test_archives_may_be_extracted_in_several_ways(tree: MakeTree, old: str, new: str) -> None:
    counts = {name.replace(old, new): n for name, n in _genimage().items()}
    assert len(prepare_benchmark("GenImage", tree(counts)).splits) == 5


def test_missing_generators_and_other_folders_are_reported(tree: MakeTree) -> None:
    counts = {n: c for n, c in _genimage().items() if not n.startswith(("wukong", "glide"))}
    prepared = prepare_benchmark("GenImage", tree(counts | {"dalle3": 2}))
    assert list(prepared.splits) == ["split2", "split3"]
    notes = " ".join(prepared.notes)
    assert "split1 omitted: too few or no images of wukong" in notes
    assert "no images of the unknown origins wukong, glide" in notes
    assert (
        "2 images omitted, because their folders do not denote an origin of GenImage: dalle3"
        in notes
    )


def test_folder_without_a_complete_split_is_an_error(tree: MakeTree) -> None:
    folder = tree({"Midjourney/train/ai": 3, "Midjourney/val/nature": 2})
    with pytest.raises(
        DataError, match=r"images found: Midjourney \(3\), real \(2\); split1 omitted"
    ):
        prepare_benchmark("GenImage", folder)
    with pytest.raises(DataError, match=r"benchmark 'Foo' is not supported\. Choose from Diff"):
        prepare_benchmark("Foo", folder)
    with pytest.raises(DataError, match="is not a folder"):
        prepare_benchmark("GenImage", folder / "none")


def test_diffusion_forensics_keeps_its_splits(tree: MakeTree, tmp_path: Path) -> None:
    known = ("real", "stylegan", "iddpm", "adm", "pndm")
    folder = tree(
        {f"images/{s}/lsun_bedroom/{o}": 4 for s in ("train", "val", "test") for o in known}
        | {f"images/test/lsun_bedroom/{o}": 3 for o in ("dalle2", "sdv2", "sdv1_new1")}
        | {"images/test/celebahq/dalle2": 5, "images/train/imagenet/adm/12": 5}
        | {"dire/train/celebahq/adm": 2}
    )
    prepared = prepare_benchmark("DiffusionForensics", folder)
    dataset = prepared.splits["df"]
    for part in ("train", "val", "test"):
        assert Counter(s.origin for s in dataset.split(part)) == dict.fromkeys(known, 4)
        assert {s.path.parents[2].name for s in dataset.split(part)} == {part}
    assert Counter(s.origin for s in dataset.test_unknown) == {
        "dalle2": 3,
        "sdv2": 3,
        "sdv1_new": 3,
    }
    assert dataset.val_unknown == ()
    assert any("12 images omitted" in note for note in prepared.notes)
    root = tmp_path / "dataset"
    write_splits(prepared.splits, root, "DiffusionForensics", unknown_file="{part}_out.txt")
    rows = _read_like_the_reference(root / "DiffusionForensics/df_test/annotations/test_out.txt")
    assert {label for _, label in rows} == {5, 13, 14}  # dalle2, sdv1_new, sdv2
    assert load_benchmark(f"DiffusionForensics:root={root}").test_unknown == dataset.test_unknown


def test_osma_is_divided_by_its_folders(tree: MakeTree, tmp_path: Path) -> None:
    lists = load_bundled_origins("OSMA")
    counts = {name: 20 for names in lists.image_folders.values() for name in names if "/" in name}
    prepared = prepare_benchmark("OSMA", tree(counts | {"real/celeba": 20, "real/bus": 20}))
    assert len(prepared.splits) == 5
    for split, dataset in prepared.splits.items():
        assert Counter(s.origin for s in dataset.train) == {
            origin: 32 if origin == "real" else 16 for origin in lists.splits[split].known
        }
        assert Counter(s.origin for s in dataset.test_unknown) == dict.fromkeys(dataset.unknown, 2)
        assert set(dataset.unknown_groups) == {"seed", "arch", "dataset"}
    root = tmp_path / "dataset"
    write_splits(prepared.splits, root, "OSMA", unknown_file=prepared.origins.unknown_file)
    annotations = root / "OSMA" / "split1_test" / "annotations"
    assert {file.name for file in annotations.iterdir()} == {
        "split1_test.txt",
        *(f"split1_test_out{group}.txt" for group in ("", "_seed", "_arch", "_dataset")),
    }
    read = load_benchmark(f"OSMA:split=split1:root={root}")
    assert read.test_unknown == prepared.splits["split1"].test_unknown


def test_every_origin_of_a_benchmark_has_its_own_folders() -> None:
    for name in ("GenImage", "OSMA", "DiffusionForensics"):
        lists = load_bundled_origins(name)
        origins = {o for s in lists.splits.values() for o in (*s.known, *s.unknown["all"])}
        assert set(lists.image_folders) == origins
        folders = [folder for names in lists.image_folders.values() for folder in names]
        assert len(set(folders)) == len(folders)

"""``linear``, ``knn`` and ``low-data``: command lines and result folders."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from whichgen.errors import WhichgenWarning
from whichgen.models.saved_model import load_model

from .conftest import GRID, UNKNOWN, Site, whichgen


def results(run: Path) -> Any:
    """Read the results of a run."""
    return json.loads((run / "results.json").read_text())


def test_linear_writes_a_run_folder(site: Site) -> None:
    output = (site.folder / "output.txt").read_text()
    assert "Closed-set accuracy" in output
    assert "note: selected on the unknown generators" in output
    assert "Run folder: " in output
    assert {p.name for p in site.run.iterdir()} == {
        *("model", "plots", "results.json", "report.md"),
        *("grid.csv", "predictions.csv", "embedding.csv"),
    }
    config = results(site.run)["run_metadata"]["config"]
    assert config["blocks"] == [0, 1, 2]
    assert config["head"]["values"] == pytest.approx([0.1, 10])
    assert config["unknown"] == ["ddpm", "flow"]
    assert Path(config["data"]).is_absolute()
    assert Path(config["backbone"]).is_absolute()


def test_rerunning_encodes_nothing_and_gives_the_same_metrics(site: Site) -> None:
    before, stored = results(site.run), sorted(site.cache.rglob("*.safetensors"))
    command = ["linear", *site.options(data="images"), *UNKNOWN, "-b", 0, 1, 2, *GRID]
    result = whichgen(
        *command, "--force"
    )  # the settings contain the folder, which differs in the copy
    assert result.code == 0, result.err
    assert sorted(site.cache.rglob("*.safetensors")) == stored
    after = results(site.run)
    assert after["test"] == before["test"]
    assert after["blocks"] == before["blocks"]
    assert whichgen(*command).code == 0


@pytest.mark.parametrize("spelling", ["--k_min", "--k-min"])
def test_underscore_aliases_are_the_same_options(site: Site, spelling: str) -> None:
    count, top = spelling.replace("min", "step"), spelling.replace("min", "max")
    options = [spelling, 2, top, 6, count, 3]
    result = whichgen("knn", *site.options(out="k"), *UNKNOWN, "-b", 1, *options)
    assert result.code == 0, result.err
    config = results(site.folder / "k/tiny_clip/images")["run_metadata"]["config"]
    assert config["head"]["values"] == [2, 4, 6]
    assert config["blocks"] == [1]


def test_values_that_do_not_converge_are_named_in_the_spelling_of_the_command_line(
    site: Site,
) -> None:
    options = [*site.options(out="steps"), *UNKNOWN, "-b", 1, "--c-min", -6, "--c-max", 8]
    note = (
        "the solver did not converge at C = 1e+08 (block 1); these values can't be selected on "
        "these blocks"
    )
    with pytest.warns(WhichgenWarning, match=re.escape(note)):
        result = whichgen("linear", *options, "--c-values", 3, "--max-iter", 6)
    assert result.code == 0, result.err
    run = site.folder / "steps/tiny_clip/images"
    assert note in results(run)["notes"]
    assert note in (run / "report.md").read_text()
    assert "1e+08" not in (run / "grid.csv").read_text()
    result = whichgen("linear", *site.options(out="none"), *UNKNOWN, "--C", 1e8, "--max-iter", 2)
    assert result.code == 1
    advice = (
        "Use a smaller --C or, with `whichgen linear`, a smaller --c-max or a larger --max-iter"
    )
    assert advice in " ".join(result.err.split())
    assert "max_iter" not in result.err


def test_one_value_instead_of_a_sweep(site: Site) -> None:
    for command, option, value in (("linear", "--C", 1.0), ("knn", "--K", 3)):
        result = whichgen(command, *site.options(out=command), *UNKNOWN, "-b", 2, option, value)
        assert result.code == 0, result.err
        model = load_model(site.folder / command / "tiny_clip/images")
        assert (model.hyperparameter, model.blocks[0]) == (value, 2)


def test_the_command_line_overrides_a_toml_file(site: Site) -> None:
    (site.folder / "mine.toml").write_text(
        f'backbone = "{site.clip}"\ndata = "images"\nunknown = ["ddpm", "flow"]\nblocks = [0, 1]\n'
        'output-dir = "toml"\ndevice = "cpu"\nK = 2\nmetric = "OSCR"\nseed = 5\n'
        f'cache_dir = "{site.cache}"\n'
    )
    result = whichgen("knn", "-c", "mine.toml", "--seed", 6)
    assert result.code == 0, result.err
    config = results(site.folder / "toml/tiny_clip/images")["run_metadata"]["config"]
    assert config["blocks"] == [0, 1]
    assert config["head"]["values"] == [2]
    assert (config["metric"], config["seed"]) == ("OSCR", 6)
    assert config["unknown"] == ["ddpm", "flow"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense = 1", "unknown option nonsense"),
        ("a = ", "can't be read as TOML"),
        (None, "can't be read as TOML"),
        ("c_min = 1", "unknown option c_min"),  # an option of linear, not knn
    ],
)
def test_a_wrong_toml_file_is_an_error(site: Site, text: str | None, message: str) -> None:
    if text is not None:
        (site.folder / "mine.toml").write_text(text)
    result = whichgen("knn", "-c", "mine.toml")
    assert result.code == 2
    assert message in result.err


def test_the_paper_protocol_warns(site: Site) -> None:
    result = whichgen(
        *("knn", *site.options(out="p"), *UNKNOWN, "--share-unknown"),
        *("--protocol", "paper", "--K", 3),
    )
    assert result.code == 0, result.err
    assert "PROTOCOL OF THE REFERENCE IMPLEMENTATION" in result.err
    assert "PROTOCOL OF THE REFERENCE" in (site.folder / "p/tiny_clip/images/report.md").read_text()


def test_augmentation_kinds(site: Site) -> None:
    options = [*site.options(out="a"), *UNKNOWN, "--K", 3, "--augment"]
    result = whichgen("knn", *options, "jpeg,blur,jpeg")
    assert result.code == 0, result.err
    config = results(site.folder / "a/tiny_clip/images")["run_metadata"]["config"]
    assert config["augment"] == ["jpeg", "blur"]
    for wrong in ("sharpen", "jpeg:30"):
        result = whichgen("knn", *options, wrong)
        assert result.code == 1
        assert f"unknown perturbation {wrong}. Choose from jpeg, blur, crop, resize" in result.err


def test_a_dataset_without_unknown_origins_warns(site: Site) -> None:
    result = whichgen("knn", *site.options(out="n"), "--K", 3)
    assert result.code == 0, result.err
    assert "There are no unknown test images, so this run does not measure" in result.message
    assert "--unknown" in result.message
    assert results(site.folder / "n/tiny_clip/images")["test"]["oscr"] is None


def test_low_data_is_a_table_and_a_folder(site: Site) -> None:
    result = whichgen(
        *("low-data", *site.options(out="low"), *UNKNOWN),
        *("--head", "knn", "--shots", "1,3,500", "--repeats", 2, "-b", 1),
    )
    assert result.code == 0, result.err
    folder = site.folder / "low/tiny_clip/images"
    with (folder / "lowdata.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(r["samples_per_class"], r["seed"]) for r in rows] == [
        ("1", "0"),
        ("1", "1"),
        ("3", "0"),
        ("3", "1"),
    ]
    assert "±" in result.out
    record = json.loads((folder / "lowdata.json").read_text())
    assert record["run_metadata"]["config"]["shots"] == [1, 3, 500]
    assert (folder / "plots" / "lowdata.png").stat().st_size > 5000
    for wrong, message in (
        (["--shots", "few"], "'few' is not a list of integers"),
        (["--shots", ""], "'' is not a list of integers"),
        (["--shots", "500"], "images per origin are [500], but the smallest known origin"),
        (["--head", "fusion", "-b", 1], "fusion uses all blocks"),
        (["--head", "forest"], "'forest' is not one of 'linear', 'knn', 'fusion'"),
    ):
        result = whichgen("low-data", *site.options(out="low"), *UNKNOWN, *wrong)
        assert result.code == (2 if "forest" in wrong else 1)
        assert message in result.message


def test_split_by_name_selects_the_same_model(site: Site) -> None:
    result = whichgen("dataset", "split", "images", *UNKNOWN, "-o", "sets", "--name", "mine")
    assert result.code == 0, result.err
    assert "Train with --data mine:split=split1:root=sets" in result.message
    result = whichgen("linear", *site.options(data="mine:root=sets", out="s"), *GRID)
    assert result.code == 0, result.err
    run = site.folder / "s/tiny_clip/mine_split1"
    first, second = results(site.run), results(run)
    assert second["selection"] == first["selection"]
    assert second["test"]["closed"] == first["test"]["closed"]
    assert second["run_metadata"]["config"]["data"] == f"mine:root={site.folder / 'sets'}"
    os.chdir("/")
    result = whichgen("evaluate", "-m", run, "--cache-dir", site.cache)
    assert result.code == 0, result.err


def test_worker_processes_change_no_results(site: Site) -> None:
    command = [
        *(sys.executable, "-c", "from whichgen.cli.app import main; main()", "linear"),
        *("-d", "images", "--device", "cpu", "--backbone", site.clip, "-o", "sub", "-b", "0", "1"),
        *(*UNKNOWN, *GRID, "--cache-dir", "cache2", "--jobs", "2"),
    ]
    environment = {**os.environ, "LOKY_MAX_CPU_COUNT": "2", "COLUMNS": "200"}
    result = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    assert "Traceback" not in result.stderr
    first = results(site.run)["blocks"][:2]
    assert results(site.folder / "sub/tiny_clip/images")["blocks"] == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "F1"], "unknown selection metric 'F1'. Choose from AUC, OSCR, accuracy"),
        (["--protocol", "open"], "unknown protocol 'open'. Choose from clean, paper"),
        (["--tpr", 1.5], "--tpr 1.5: the fraction"),
        (["-b", 3, 1], "has no block 3. Choose from 0 to 2"),
        (["-b", -1], "has no block -1"),
        (["--fractions", "0.5,0.5"], "is not a list of three numbers"),
        (["--fractions", "0.5,0.5,0.5"], "must be positive and sum to 1"),
        (["--fractions", "1,0,0"], "must be positive and sum to 1"),
        (["--unknown", "dalle"], "has no origin dalle. Choose from ddpm, flow, gan, real, vae"),
        (["--unknown-val", "gan"], "gan"),
        (["--dtype", "float8"], "float8"),
        (["--device", "cuda:9"], "device 'cuda:9' is not available"),
        (["--C", 0], "all values must be positive and finite; got [0.0]. Correct --C."),
        (["--groups", "none.tsv"], "groups file none.tsv does not exist"),
        (["-d", "nowhere/images"], "nowhere/images does not exist"),
        (["-d", "Nonsense"], "'Nonsense' is not one of"),
        (["-d", "GenImage:split=split1"], "annotation file"),
        (
            ["--backbone", "someone/no-such-model"],
            "'someone/no-such-model' is not a local folder",
        ),
        (["--backbone", "images"], "can't be loaded as a vision encoder"),
        (["--unknown", "gan,vae,ddpm,flow"], "at least two known origins"),
    ],
)
def test_invalid_option_fails_before_images_are_encoded(
    site: Site, monkeypatch: pytest.MonkeyPatch, options: list[object], message: str
) -> None:
    (site.cache / "features").rename(site.cache / "features2")
    result = whichgen("linear", *site.options(out="w"), *GRID, *options)
    assert result.code == 1
    assert result.message.startswith("error: ")
    assert message in result.message
    assert not list(site.cache.glob("features/*/*.safetensors"))
    assert not (site.folder / "w/tiny_clip/images/results.json").exists()


def test_settings_of_another_run_are_not_overwritten_unless_forced(site: Site) -> None:
    command = ["linear", *site.options(out="f"), *UNKNOWN, "-b", 0, "--C", 1]
    assert whichgen(*command).code == 0
    run = site.folder / "f/tiny_clip/images"
    before = (run / "results.json").read_bytes()
    result = whichgen(*command, "--seed", 1, "--metric", "OSCR")
    assert result.code == 1
    assert "contains a run with other settings (seed, metric)" in result.message
    assert "-o" in result.message
    assert "--force" in result.message
    assert (run / "results.json").read_bytes() == before
    assert whichgen(*command, "--metric", "OSCR", "--force").code == 0
    assert results(run)["selection"]["metric"] == "OSCR"
    (run / "results.json").write_text("{")
    assert whichgen(*command).code == 0


def test_an_unwritable_output_folder_fails_before_encoding(
    site: Site,
) -> None:
    (site.folder / "blocked").write_text("a file")
    result = whichgen("linear", *site.options(out="blocked"), *UNKNOWN, "--cache-dir", "fresh")
    assert result.code == 2
    assert "blocked" in result.message
    assert "Choose another folder" in result.message
    assert not list(site.folder.glob("fresh/features/*/*.safetensors"))


def test_ctrl_c_exits_with_130_and_a_rerun_resumes(
    site: Site, monkeypatch: pytest.MonkeyPatch, counting: Any
) -> None:
    failing = counting(fail_at=24)
    monkeypatch.setattr("whichgen.cli.training_run.load_encoder", lambda *_, **__: failing.encoder)
    command = ["knn", *site.options(out="i"), *UNKNOWN, "--K", 2, "--batch-size", 4]
    result = whichgen(*command)
    assert result.code == 130
    assert "interrupted. Completed work is kept" in result.message
    assert "Traceback" not in result.err
    complete = counting()
    monkeypatch.setattr("whichgen.cli.training_run.load_encoder", lambda *_, **__: complete.encoder)
    assert whichgen(*command).code == 0
    assert complete.images + failing.images - 4 <= 50
    assert complete.images < 40


def test_rerun_after_a_full_disk_resumes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import whichgen.training.parallel_sweeps as sweeps_module

    def fail_on_full_disk(path: Path, _: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    command = ["knn", *site.options(out="d"), *UNKNOWN, "--K", 2]
    with monkeypatch.context() as patch:
        patch.setattr(sweeps_module, "write_text", fail_on_full_disk)
        result = whichgen(*command)
    assert result.code == 1
    assert "No space left on device" in result.message
    assert "free disk space" in result.message
    assert str(site.cache) in result.message
    assert whichgen(*command).code == 0

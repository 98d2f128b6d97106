"""Help, version, option aliases and invalid command lines."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from whichgen.cli.app import exit_on_empty_path, expand_blocks, main
from whichgen.cli.parser import build_app
from whichgen.cli.shared_options import split_names
from whichgen.version import __version__

from .conftest import whichgen

COMMANDS = (
    *("linear", "knn", "fuse", "attribute", "attribute-bulk", "serve", "evidence", "discover"),
    *("enroll", "evaluate", "compare", "robustness", "low-data", "few-shot", "report"),
    *("extract", "verify", "gallery build", "gallery search"),
    *("dataset split", "dataset check", "dataset shortcuts"),
)
MODEL_COMMANDS = (
    *("attribute", "attribute-bulk", "serve", "discover", "enroll", "evaluate", "robustness"),
    *("few-shot", "gallery build", "gallery search", "verify"),
)


def options(command: str) -> dict[str, typer.core.TyperOption]:
    """Return the options of a command by long name."""
    node = typer.main.get_command(build_app())
    for word in command.split():
        node = node.commands[word]  # type: ignore[attr-defined]
    return {
        name: parameter
        for parameter in node.params
        if isinstance(parameter, typer.core.TyperOption)
        for name in parameter.opts
        if name.startswith("--")
    }


@pytest.mark.parametrize(
    ("arguments", "expanded"),
    [
        ("linear -b 5 6 7 --C 1", "linear -b 5 -b 6 -b 7 --C 1"),
        ("-b 0", "-b 0"),
        ("--blocks 1 2 -b 3 --K 4", "--blocks 1 --blocks 2 -b 3 --K 4"),
        ("-b", "-b"),
        ("-b 1 -b", "-b 1 -b"),
        ("-b x 1", "-b x 1"),
        ("--K 3 4", "--K 3 4"),
        ("attribute m 1 2", "attribute m 1 2"),
        ("", ""),
    ],
)
def test_one_blocks_flag_accepts_several_blocks(arguments: str, expanded: str) -> None:
    assert expand_blocks(arguments.split()) == expanded.split()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_without_truncation(command: str) -> None:
    result = whichgen(*command.split(), "--help", wide=False)
    assert result.code == 0
    text = " ".join(result.out.split())
    for ellipsis in ("NAME,NAME,…", "split1…5", "N,N,…"):
        text = text.replace(ellipsis, "")
    assert "…" not in text  # nothing is cut off
    assert all(len(line) <= 80 for line in result.out.splitlines())
    for name, option in options(command).items():
        assert re.fullmatch("--(C|K|[a-z]+(-[a-z]+)*)", name)
        assert name == "--data" or len(option.help or "") <= 75, name


def test_options_have_the_same_meaning_in_every_command() -> None:
    every = {command: options(command) for command in COMMANDS}
    for command in MODEL_COMMANDS:
        assert {"--model", "--verify-key"} <= every[command].keys()
        assert "-m" in every[command]["--model"].opts
    for name in ("--output-dir", "--device", "--batch-size", "--cache-dir", "--seed", "--force"):
        uses = [flags[name] for flags in every.values() if name in flags]
        assert len({tuple(option.opts) for option in uses}) == 1, name
    assert all(
        "-o" not in option.opts
        for flags in every.values()
        for name, option in flags.items()
        if name != "--output-dir"
    )


def test_help_has_panels_and_version_is_the_package_version() -> None:
    result = whichgen("--help")
    assert result.code == 0
    assert all(f" {command.split()[0]} " in result.out for command in COMMANDS)
    panels = re.findall("╭─ (.*?) ─", result.out)
    assert panels == ["Options", "Train", "Use", "Investigate", "Evaluate", "Data", "Models"]
    assert whichgen("--version").out.strip() == __version__


@pytest.mark.parametrize(
    ("command", "alias", "name"),
    [
        ("linear", "--config_name=base", "--config"),
        ("linear", "--output_dir=out", "--output-dir"),
        ("linear", "--samples_per_class=1", "--samples-per-class"),
        ("linear", "--batch_size=1", "--batch-size"),
        ("linear", "--c_min=0", "--c-min"),
        ("linear", "--c_max=0", "--c-max"),
        ("linear", "--c_step=1", "--c-values"),
        ("linear", "--max_train_iters=1", "--max-iter"),
        ("knn", "--k_min=1", "--k-min"),
        ("knn", "--k_max=1", "--k-max"),
        ("knn", "--k_step=1", "--k-values"),
        ("lowdata", "--c-step=1", None),
        ("fewshot", "--model=m", "--model"),
    ],
)
def test_spellings_of_the_reference_implementation_are_hidden_aliases(
    command: str, alias: str, name: str | None
) -> None:
    """If the alias is accepted, the command fails later, on the missing dataset or model."""
    result = whichgen(command, alias, *(["-d", "nowhere/x"] if command != "fewshot" else []))
    assert result.code == (1 if name else 2)
    page = whichgen(command, "--help").out
    assert alias.partition("=")[0] not in page or alias.startswith("--model")
    assert name is None or f"{name} " in page


@pytest.mark.parametrize("command", [[], ["linear"], ["serve"]])
def test_help_does_not_import_heavy_packages(command: Sequence[str]) -> None:
    code = (
        "import sys; sys.argv[0] = 'whichgen'\n"
        "from whichgen.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'numpy', 'torch', 'sklearn', 'PIL', 'pyarrow', 'faiss'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    program = [sys.executable, "-c", code, *command, "--help"]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert " ".join(["Usage: whichgen", *command]) in result.stdout


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "whichgen", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == __version__
    assert importlib.metadata.entry_points(group="console_scripts", name="whichgen")


# Commands that are not listed use the built-in model.
@pytest.mark.parametrize("command", MODEL_COMMANDS[3:])
def test_missing_model_is_reported(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    words = {"enroll": ["new", "a.png"], "gallery build": ["."]}.get(command, ["."])
    if command in ("evaluate", "robustness", "few-shot", "verify"):
        words = []
    result = whichgen(*command.split(), *words)
    assert result.code == 1
    expected = "no gallery found in" if command == "gallery search" else "--model is missing"
    assert expected in result.message
    assert command == "gallery search" or "output/fusion/openai" in result.message
    for name in "abcd":
        (tmp_path / "output/fusion" / name / "model").mkdir(parents=True)
        (tmp_path / "output/fusion" / name / "model/model.json").touch()
    runs = re.findall(r"output/fusion/[a-d]\b", whichgen(*command.split(), *words).message)
    assert len(runs) == (0 if command == "gallery search" else 3)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["lineal"], "lineal"),
        (["linear", "--nonsense", "1"], "--nonsense"),
        (["linear", "-b", "two"], "--blocks"),
        (["linear", "-b"], "-b"),
        (["linear", "--seed", "x"], "--seed"),
        (["linear", "--c_step", "0"], "--c-values"),
        (["attribute", "-m", "model"], "images"),
    ],
)
def test_invalid_argument_is_named_in_the_message(arguments: Sequence[str], name: str) -> None:
    result = whichgen(*arguments)
    assert result.code == 2
    assert name in result.err


@pytest.mark.parametrize("option", ["--cache-dir", "--output-dir"])
def test_folders_are_neither_empty_nor_files(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.txt").touch()
    for value, message in (
        ("", "the folder name is empty"),
        ("file.txt", "file.txt is a file, not a folder"),
        ("file.txt/new", "file.txt is a file, not a folder"),
    ):
        result = whichgen("dataset", "split", ".", option, value)
        assert result.code == 2
        assert message in result.message
    assert [path.name for path in Path().iterdir()] == ["file.txt"]


def test_seed_must_not_be_negative(tmp_path: Path) -> None:
    result = whichgen("linear", "--data", tmp_path, "--seed", "-1")
    assert result.code == 2
    assert "--seed" in result.message


def test_names_are_counted_once() -> None:
    assert split_names(" gan,, vae ,gan") == ("gan", "vae")


@pytest.mark.parametrize(
    "arguments",
    [
        ["evidence", ""],
        ["attribute", "a.png", ""],
        ["dataset", "check", ""],
        ["attribute", "a.png", "-m", ""],
        ["fuse", "--data", ""],
    ],
)
def test_empty_paths_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["whichgen", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "is empty. Specify a path or name." in capsys.readouterr().err


def test_other_options_may_be_empty() -> None:
    exit_on_empty_path(["fuse", "--data", "images", "--unknown", "", "--force"])

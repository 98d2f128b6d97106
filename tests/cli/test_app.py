"""The program: help, version, the spelling of options."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from whichgen.cli.app import expand_blocks
from whichgen.version import __version__

from .conftest import whichgen

COMMANDS = (
    *("linear", "knn", "fuse", "attribute", "discover", "enroll", "evaluate", "compare"),
    *("robustness", "low-data", "few-shot", "-m", "dataset", "sign", "verify"),
)


@pytest.mark.parametrize(
    ("given", "expanded"),
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
def test_blocks_may_follow_one_flag_as_in_the_first_implementation(
    given: str, expanded: str
) -> None:
    assert expand_blocks(given.split()) == expanded.split()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_in_eighty_columns(command: str) -> None:
    done = whichgen(command, "--help", wide=False)
    assert done.code == 0
    # Nothing is cut off: these are the ellipses that are meant.
    text = " ".join(done.out.split())
    for meant in (
        "cuda:1 …",
        "NAME,NAME,…",
        "split1…5",
        "N,N,…",
        "NAME/split1_train/…",
    ):
        text = text.replace(meant, "")
    assert "…" not in text
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_help_names_every_command_and_version_is_the_package_s() -> None:
    done = whichgen("--help")
    assert done.code == 0
    assert all(f" {command} " in done.out for command in COMMANDS)
    assert whichgen("--version").out.strip() == __version__


@pytest.mark.parametrize(
    "options",
    [
        "--c-min --c-max --c-values --C",
        "--backbone --metric --output_dir --config_name",
        "-b -d -c",
    ],
)
def test_linear_has_the_first_implementation_s_flags(options: str) -> None:
    shown = whichgen("linear", "--help").out
    assert all(f"{option} " in shown for option in options.split())


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['whichgen', 'linear', '--help']\n"
        "from whichgen.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'matplotlib', 'faiss'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: whichgen linear" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["lineal"], "lineal"),
        (["linear", "--nonsense", "1"], "--nonsense"),
        (["linear", "-b", "two"], "--blocks"),
        (["linear", "-b"], "-b"),
        (["linear", "--seed", "x"], "--seed"),
        (["linear", "--c-values", "0"], "--c-values"),
        (["attribute", "model"], "images"),
    ],
)
def test_a_wrong_command_line_is_told_by_its_word(arguments: Sequence[str], named: str) -> None:
    done = whichgen(*arguments)
    assert done.code == 2
    assert named in done.err

"""Messages spell options as on the command line or as in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from test_layers import MODULES
from whichgen.option_names import name_option, use_command_line_names

#: Pattern of an option, and of complete commands, which can contain options.
_OPTION = re.compile(r"(?<![\w-])--[a-z]")
_COMMAND = re.compile(r"(pip install|ray job submit|ray status|whichgen [a-z-]+|whichgen\[).*")

#: Modules that run only from the command line, or contain options of other programs.
_EXCEPT = (
    "whichgen.cli.",
    "whichgen.evidence.parameters.plain_text_formats",
    "whichgen.service.http_app",
)


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the literal text of all strings except docstrings and arguments of ``name_option``."""
    if isinstance(tree, ast.Call) and getattr(tree.func, "id", "") == "name_option":
        return
    if isinstance(tree, ast.JoinedStr):
        yield "".join(str(v.value) for v in tree.values if isinstance(v, ast.Constant))
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    for child in ast.iter_child_nodes(tree):
        docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not docstring and not (
            isinstance(tree, ast.JoinedStr) and isinstance(child, ast.Constant)
        ):
            yield from texts(child)


@pytest.mark.parametrize("name", sorted(n for n in MODULES if not n.startswith(_EXCEPT)))
def test_library_names_options_for_both_interfaces(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    wrong = [text for text in texts(tree) if _OPTION.search(_COMMAND.sub("", text))]
    assert wrong == [], "name options with name_option()"


def test_name_of_an_option() -> None:
    assert name_option("--max-iter") == "`max_iter`"
    assert name_option("--device cpu") == "`device='cpu'`"
    assert name_option("--cache-dir", "folder") == "folder"
    with use_command_line_names():
        assert name_option("--max-iter") == "--max-iter"
        with use_command_line_names():
            pass
        assert name_option("--cache-dir", "folder") == "--cache-dir"
    assert name_option("--max-iter") == "`max_iter`"


def test_worker_processes_use_the_names_of_their_parent() -> None:
    with use_command_line_names(), get_context("spawn").Pool(1) as pool:
        assert pool.apply(name_option, ("--max-iter",)) == "--max-iter"

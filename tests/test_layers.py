"""Modules import only from earlier packages, without circular imports."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import whichgen

#: Packages and top-level modules; each can import only from those before it.
LAYERS = (
    *("constants", "defaults", "errors", "option_names", "phrases", "version", "progress"),
    *("deterministic", "io", "data", "evidence"),
    *("encoders", "features", "heads", "openset", "evaluation", "models", "inference", "gallery"),
    *("distributed", "training", "experiments", "report", "service", "cli", "sklearn", "__main__"),
)

ROOT = Path(whichgen.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def imported_modules(name: str) -> set[str]:
    """Return the whichgen modules that a module imports, also in functions and for annotations."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} uses a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else str(node.module))
    return found & MODULES.keys()


def layer(name: str) -> int:
    return LAYERS.index(name.split(".")[1]) if "." in name else len(LAYERS)  # whichgen: last


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_imports_only_earlier_packages(name: str) -> None:
    later = {m for m in imported_modules(name) if layer(m) > layer(name)}
    assert not later, f"{name} imports from later packages: {sorted(later)}"


def test_no_import_circles() -> None:
    graph = {name: imported_modules(name) - {name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")

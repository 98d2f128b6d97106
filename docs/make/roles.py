"""Convert docstrings to Markdown: roles to links, ``::`` to a colon, doctests to code blocks.

Docstrings use Sphinx roles such as ``:class:`Head```; mkdocstrings expects Markdown. Griffe calls
this extension for each object of the package.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")
_DOCTEST = re.compile(r"^(?:(?:>>>|\.\.\.) ?.*\n?)+", re.MULTILINE)


class Roles(griffe.Extension):
    """Griffe extension that converts every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = convert_to_markdown(obj.docstring.value, obj)


def convert_to_markdown(text: str, obj: griffe.Object) -> str:
    """Return the docstring ``text`` of ``obj`` as Markdown."""
    text = _ROLE.sub(lambda role: _link(role[1], obj), text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return _DOCTEST.sub(lambda code: f"```pycon\n{code[0].rstrip()}\n```\n", text)


def _link(name: str, obj: griffe.Object) -> str:
    """Return a link to the documentation of ``name``, or code if it has no documentation."""
    scopes = [obj.path, *(parent.path for parent in _list_parents(obj))]
    paths = [name] if name.startswith("whichgen.") else [f"{scope}.{name}" for scope in scopes]
    existing = [p for p in paths if _exists(p, obj)]
    code = f"<code>{name.rpartition('.')[2]}</code>"
    if not existing:
        return code
    return f'<autoref identifier="{existing[0]}" optional>{code}</autoref>'


def _list_parents(obj: griffe.Object) -> list[griffe.Object]:
    parents = []
    while obj.parent is not None:
        obj = obj.parent
        parents.append(obj)
    return parents


def _exists(path: str, obj: griffe.Object) -> bool:
    try:
        return bool(obj.package[path.partition(".")[2]])
    except (KeyError, griffe.AliasResolutionError):
        return False

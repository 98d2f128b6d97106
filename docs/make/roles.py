"""Docstrings as Markdown: roles become links, ``::`` a colon, doctests code.

whichgen's docstrings say ``:class:`Head``` as Sphinx has it; mkdocstrings reads Markdown. Griffe
calls this extension for each object while it loads the package.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")
_DOCTEST = re.compile(r"^(?:(?:>>>|\.\.\.) ?.*\n?)+", re.MULTILINE)


class Roles(griffe.Extension):
    """Rewrites each docstring once."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called with each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value, obj)


def as_markdown(text: str, obj: griffe.Object) -> str:
    """One docstring."""
    text = _ROLE.sub(lambda role: _link(role[1], obj), text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return _DOCTEST.sub(lambda code: f"```pycon\n{code[0].rstrip()}\n```\n", text)


def _link(name: str, obj: griffe.Object) -> str:
    """A link where the name is on a page of the site, else code."""
    scopes = [obj.path, *(parent.path for parent in _parents(obj))]
    paths = [name] if name.startswith("whichgen.") else [f"{scope}.{name}" for scope in scopes]
    there = [p for p in paths if _is_there(p, obj)]
    shown = f"<code>{name.rpartition('.')[2]}</code>"
    if not there:
        return shown
    return f'<autoref identifier="{there[0]}" optional>{shown}</autoref>'


def _parents(obj: griffe.Object) -> list[griffe.Object]:
    found = []
    while obj.parent is not None:
        obj = obj.parent
        found.append(obj)
    return found


def _is_there(path: str, obj: griffe.Object) -> bool:
    try:
        return bool(obj.package[path.partition(".")[2]])
    except KeyError:
        return False

"""Convert docstrings to Markdown: roles become links, ``::`` a colon, and doctests code blocks.

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
    """Rewrite each docstring once."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Handle a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value, obj)


def as_markdown(text: str, obj: griffe.Object) -> str:
    """Convert one docstring."""
    text = _ROLE.sub(lambda role: _link(role[1], obj), text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return _DOCTEST.sub(lambda code: f"```pycon\n{code[0].rstrip()}\n```\n", text)


def _link(name: str, obj: griffe.Object) -> str:
    """Return a link if the name is on a page of the site, otherwise code."""
    scopes = [obj.path, *(parent.path for parent in _parents(obj))]
    paths = [name] if name.startswith("whichgen.") else [f"{scope}.{name}" for scope in scopes]
    existing = [p for p in paths if _exists(p, obj)]
    code = f"<code>{name.rpartition('.')[2]}</code>"
    if not existing:
        return code
    return f'<autoref identifier="{existing[0]}" optional>{code}</autoref>'


def _parents(obj: griffe.Object) -> list[griffe.Object]:
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

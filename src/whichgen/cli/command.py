"""The decorator of every command: option groups as parameters, expected errors as messages."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

from whichgen.cli.console import err, fail
from whichgen.errors import WhichgenError


def command(function: Callable[..., None], *, resumable: bool = False) -> Callable[..., None]:
    """Prepare a function for :meth:`typer.Typer.command`.

    A parameter whose annotation is a dataclass (an option group) becomes one option per field; the
    function receives the instance. The group's ``panel`` is the heading of its options in
    ``--help``. Errors that a user can cause end in one message and status 1, Ctrl-C in status 130;
    if the command is ``resumable``, the message says that completed work is kept.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    advice = " Completed work is kept; rerun the command to resume." if resumable else ""

    @functools.wraps(function)
    def run(**values: Any) -> None:
        status = 1
        try:
            instances = {name: _build(group, values) for name, group in groups.items()}
            function(**instances, **values)
        except WhichgenError as error:
            message = str(error)
        except OSError as error:
            file = f"{error.filename}: " if error.filename else ""
            reason = error.strerror or error
            message = f"{file}{reason}. Check free disk space and permissions.{advice}"
        except KeyboardInterrupt:
            err.print()
            status = 130
            message = f"interrupted.{advice}"
        else:
            return
        # The traceback is gone, and with it the progress bar of a loop that failed.
        fail(message, status)

    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            parameters += _group_parameters(groups[name])
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=hints[name], kind=kind))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__wrapped__  # typer would read the signature of the wrapped function
    return run


def _group_parameters(group: Any) -> Iterator[inspect.Parameter]:
    """Yield one parameter per field of an option group, nested groups included."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        hint = hints[field.name]
        if is_dataclass(hint):
            yield from _group_parameters(hint)
            continue
        kind, option = get_args(hint)
        option = copy.copy(option)
        option.rich_help_panel = option.rich_help_panel or getattr(group, "panel", None)
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[kind, option],
        )


def _build(group: Any, values: dict[str, Any]) -> Any:
    """Build an option group from the values of its options and remove those from ``values``."""
    hints = get_type_hints(group, include_extras=True)
    return group(
        **{
            field.name: _build(hints[field.name], values)
            if is_dataclass(hints[field.name])
            else values.pop(field.name)
            for field in fields(group)
        }
    )


#: The decorator of a command that keeps completed work in the cache or the output folder.
resumable_command = functools.partial(command, resumable=True)

"""Decorator for commands, which expands option groups and converts errors to messages."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

from whichgen.cli.console import say
from whichgen.cli.error_exits import fail
from whichgen.errors import WhichgenError
from whichgen.option_names import use_command_line_names


def command(function: Callable[..., None], *, resumable: bool = False) -> Callable[..., None]:
    """Convert a function to a command for :meth:`typer.Typer.command`.

    A parameter annotated with a dataclass (an option group) becomes one option per field, and the
    function receives the dataclass instance. Option groups can be nested. The class attribute
    ``panel`` of a dataclass, if any, is the heading of its options in ``--help``.

    Parameters
    ----------
    function
        Function that runs the command; its docstring is the help text.
    resumable
        Whether the command keeps completed work after an error, so that a rerun resumes it (see
        :func:`call_command`, which handles errors).

    Returns
    -------
    callable
        Function with one keyword-only parameter per option and argument.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @functools.wraps(function)
    def run(**values: Any) -> None:
        def call() -> None:
            instances = {name: _build_group(group, values) for name, group in groups.items()}
            function(**instances, **values)

        call_command(call, resumable=resumable)

    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            parameters += _list_parameters(groups[name])
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=hints[name], kind=kind))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__wrapped__  # typer would read the signature of the wrapped function
    return run


def call_command(run: Callable[[], None], *, resumable: bool = False) -> None:
    """Run a command; print an expected error as a message and exit.

    Parameters
    ----------
    run
        Function without parameters that runs the command.
    resumable
        Whether the messages for OSError and Ctrl-C say that completed work is kept.

    Raises
    ------
    SystemExit
        ``run`` raised :class:`WhichgenError` or OSError (exit status 1), or was interrupted by
        Ctrl-C (exit status 130).
    """
    advice = " Completed work is kept; rerun the command to resume." if resumable else ""
    status = 1
    try:
        with use_command_line_names():
            run()
    except WhichgenError as error:
        message = str(error)
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or error
        message = (
            f"{file}{reason}. Check the path, its permissions and the free disk space.{advice}"
        )
    except KeyboardInterrupt:
        say("")
        status = 130
        message = f"interrupted.{advice}"
    else:
        return
    # Call fail() after the except blocks: they release the traceback, which closes progress bars.
    fail(message, status)


def _list_parameters(group: Any) -> Iterator[inspect.Parameter]:
    """Yield one keyword-only parameter per option of an option group and its nested groups."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        hint = hints[field.name]
        if is_dataclass(hint):
            yield from _list_parameters(hint)
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


def _build_group(group: Any, values: dict[str, Any]) -> Any:
    """Build an option group and its nested groups, and remove their options from ``values``.

    ``values`` maps the name of each option to its value.
    """
    hints = get_type_hints(group, include_extras=True)
    return group(
        **{
            field.name: _build_group(hints[field.name], values)
            if is_dataclass(hints[field.name])
            else values.pop(field.name)
            for field in fields(group)
        }
    )


#: Decorator for commands that keep completed work in the cache or the results folder.
resumable_command = functools.partial(command, resumable=True)

"""Options that commands share as one parameter: a dataclass whose fields are options."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, TypeVar, get_type_hints

import typer

Command = TypeVar("Command", bound=Callable[..., None])


class Commands(typer.Typer):
    """Commands, of which each may take groups of options."""

    def command(self, name: str | None = None, **terms: Any) -> Callable[[Command], Command]:
        """Register a command, as ``typer.Typer.command`` does."""
        register = super().command(name, **terms)

        def registered(command: Command) -> Command:
            register(spread(command))
            return command

        return registered


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes the options of its groups one by one.

    Notes
    -----
    A group is a parameter whose type is a dataclass. Its fields become options, with their
    annotations and defaults, where it stands among the parameters.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }

    @wraps(command)
    def spread_command(**given: Any) -> None:
        taken = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **taken)

    parameters: list[Parameter] = []
    for name, parameter in signature.parameters.items():
        parameters += _options_of(groups[name]) if name in groups else [parameter]
    # Of the parameters as they are written, not of the command that is wrapped.
    del spread_command.__wrapped__
    vars(spread_command)["__signature__"] = signature.replace(parameters=parameters)
    spread_command.__annotations__ = {each.name: each.annotation for each in parameters}
    return spread_command


def _options_of(group: Any) -> list[Parameter]:
    """Make an option of each field; what a group adds to another comes before the other's."""
    hints = get_type_hints(group, include_extras=True)
    by_name = {field.name: field for field in fields(group)}
    names = dict.fromkeys(
        name for part in group.__mro__ for name in inspect.get_annotations(part) if name in by_name
    )
    return [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if by_name[name].default is MISSING else by_name[name].default,
            annotation=hints[name],
        )
        for name in names
    ]

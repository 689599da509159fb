"""The children of a component: what all of them get, and how a program changes one of them.

A child is known by the part that it plays, such as `volume`; a child of a child by both parts, as in `cache.volume`.
Several resources can play one part.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import pulumi

from pulumi_visgate.components._base import ArgumentError

ChildT = TypeVar("ChildT", bound=pulumi.Resource)
# Takes arguments and options of a child and changes them in place, or returns others.
Change = Callable[[dict[str, Any], pulumi.ResourceOptions], tuple[dict[str, Any], pulumi.ResourceOptions] | None]
Transform = Mapping[str, Change]
Overrides = Mapping[str, Mapping[str, Any]]

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def within(part: str, parts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a child component and of its own children."""
    return (part, *(f"{part}.{inner}" for inner in parts))


class Family:
    """Makes the children of one component.

    Args:
        parent: The component.
        parts: Names of all children, those of child components too.
        args: Arguments of the component, of which `tags` and `overrides` count here.
        transform: Functions by the names of children.

    Raises:
        ArgumentError: There is no child of a name that `overrides` or `transform` have.
    """

    def __init__(
        self, parent: pulumi.Resource, parts: tuple[str, ...], args: Mapping[str, Any], transform: Transform | None
    ) -> None:
        self._parent = parent
        self._tags = args.get("tags")
        self._overrides: Overrides = args.get("overrides") or {}
        self._transform: Transform = transform or {}
        for given in (*self._overrides, *self._transform):
            if given not in parts:
                detail = f"{type(parent).__name__} has no child {given!r}."
                raise ArgumentError(detail, hint=f"Its children are {', '.join(parts)}.")

    def resource(
        self, part: str, kind: Callable[..., ChildT], name: str, args: Mapping[str, Any], **options: Any
    ) -> ChildT:
        """Make a resource.

        Args:
            part: What it is known by.
            kind: Its class.
            name: Its name in the program; starts with the component's, so that aliases of the component reach it.
            args: Its arguments; None counts as left out.
            options: Its options, such as `deleted_with`.
        """
        given, opts = self.shaped(part, args, pulumi.ResourceOptions(parent=self._parent, **options))
        return kind(name, opts, **given)

    def component(self, part: str, kind: Callable[..., ChildT], name: str, args: Mapping[str, Any]) -> ChildT:
        """Make a component, which gets what concerns its own children.

        Args:
            part: What it is known by.
            kind: Its class.
            name: Its name in the program; starts with the component's.
            args: Its arguments; None counts as left out.
        """
        inner = {"overrides": self._below(part, self._overrides) or None}
        given, opts = self.shaped(part, {**args, **inner})
        return kind(name, given, opts, transform=self._below(part, self._transform))

    def shaped(
        self, part: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> tuple[dict[str, Any], pulumi.ResourceOptions]:
        """Return arguments and options of a child as the program wants them.

        Args:
            part: What it is known by.
            args: Its arguments; None counts as left out.
            opts: Its options.

        Raises:
            ArgumentError: A transform returned something else.
        """
        opts = opts or pulumi.ResourceOptions(parent=self._parent)
        given = {name: value for name, value in {"tags": self._tags, **args}.items() if value is not None}
        given |= {_snake(name): value for name, value in self._overrides.get(part, {}).items()}
        if change := self._transform.get(part):
            given, opts = _changed(part, change, given, opts)
            opts.parent = opts.parent or self._parent
        return given, opts

    @staticmethod
    def _below(part: str, named: Mapping[str, Any]) -> dict[str, Any]:
        start = f"{part}."
        return {name.removeprefix(start): value for name, value in named.items() if name.startswith(start)}


def _changed(
    part: str, change: Change, given: dict[str, Any], opts: pulumi.ResourceOptions
) -> tuple[dict[str, Any], pulumi.ResourceOptions]:
    match change(given, opts):
        case None:
            return given, opts
        case dict() as others, pulumi.ResourceOptions() as other_options:
            return others, other_options
    detail = f"The transform of {part} returned something else than arguments and options."
    raise ArgumentError(detail, hint="Change args and opts in place, or return (args, opts).")


def _snake(name: str) -> str:
    """Other languages write `sizeGb` where this library says `size_gb`."""
    return _CAPITAL.sub("_", name).lower()

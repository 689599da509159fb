"""What exists already, found by the name that people know it by."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import pulumi

from pulumi_visgate.resources._endpoint_wire import FLASHBOOT_SUFFIX
from pulumi_visgate.resources._session import Named, Session, session_for
from pulumi_visgate.resources.account import stack_settings
from pulumi_visgate.resources.errors import ResourceError

NamedT = TypeVar("NamedT", bound=Named)

_LISTS = {
    "Endpoint": "endpoints",
    "WarmPool": "endpoints",
    "Template": "templates",
    "NetworkVolume": "volumes",
    "RegistryAuth": "registries",
    "EcrDelegation": "delegations",
}
_ID_IS_NAME = "Bucket"
_SHOWN = 10


class Unresolved(ResourceError, pulumi.RunError):  # noqa: N818, the family's names are nouns
    """What a program asks for is not there, is there twice, or cannot be had so; a `RunError` has no traceback."""


def listing_of(session: Session, kind: str) -> Any:
    """Return the list of the account that a kind of resource is in.

    Args:
        session: The account.
        kind: Name of a resource class.
    """
    return getattr(session, _LISTS[kind])


def only(kind: str, found: Sequence[NamedT], *, id_: str | None = None, name: str | None = None) -> NamedT:
    """Return the one of a list that has this id or name.

    Args:
        kind: What people call it.
        found: All of the account.
        id_: Id at the API.
        name: Name at the API, with or without the suffix of FlashBoot.

    Raises:
        Unresolved: None or several match, or not exactly one of id and name is given.
    """
    if (id_ is None) == (name is None):
        detail = f"{kind}: give either id or name."
        raise Unresolved(detail)
    if id_ is not None:
        match = [item for item in found if item.id == id_]
        what = f"with the id {id_!r}"
    else:
        match = [item for item in found if name in _names(item)]
        what = f"called {name!r}"
    if len(match) == 1:
        return match[0]
    if match:
        ids = ", ".join(sorted(item.id for item in match))
        detail = f"There are {len(match)} of {kind} {what}: {ids}."
        raise Unresolved(detail, hint="Give the id of the one that is meant.")
    detail = f"There is no {kind} {what}."
    raise Unresolved(detail, hint=f"The account has {_listed(found)}.")


def id_by_name(kinds: Iterable[str], name: pulumi.Input[str] | None) -> pulumi.Output[str]:
    """Return the id of what has a name; it is looked up beside the program, not in its way.

    Args:
        kinds: Names of the resource class and its bases.
        name: Name at the API.

    Raises:
        Unresolved: The kind has no names.
    """
    known = list(kinds)
    if _ID_IS_NAME in known:
        return pulumi.Output.from_input(name).apply(str)
    kind = next((found for found in known if found in _LISTS), None)
    if kind is None:
        detail = f"{known[0]}.get: a {known[0]} has no name at the API."
        raise Unresolved(detail, hint="Give its id.")

    def look(wanted: str) -> str:
        found: Any = only(kind, listing_of(session_for(stack_settings()), kind).all(), name=wanted)
        return str(found.id)

    async def looked_up(wanted: Any) -> str:
        return await asyncio.to_thread(look, wanted)

    return pulumi.Output.from_input(name).apply(looked_up)


def _names(item: Named) -> set[str | None]:
    return {item.name, (item.name or "").removesuffix(FLASHBOOT_SUFFIX)}


def _listed(found: Sequence[Named]) -> str:
    names = sorted({item.name for item in found if item.name})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more

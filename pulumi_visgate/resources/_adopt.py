"""Creating without doubles: a resource that an interrupted run made is found again by its name."""

from collections.abc import Callable
from typing import TypeVar

from pulumi_visgate.resources._session import Listing, Named
from pulumi_visgate.resources.errors import NameTaken
from pulumi_visgate.runpod.errors import DeadlineExceeded, RunpodError, RunpodUnreachable, ServerFault

NamedT = TypeVar("NamedT", bound=Named)

_TAKE_OVER = "Choose another name, leave name out, or set adopt=True to take it over."

# After these nobody knows whether the change was made.
_MAYBE_DONE = (RunpodUnreachable, DeadlineExceeded, ServerFault)


def find_or_create(
    *,
    kind: str,
    name: str,
    ours: bool,
    listing: Listing[NamedT],
    create: Callable[[], NamedT],
    hint: str = _TAKE_OVER,
) -> tuple[NamedT, bool]:
    """Return the one resource of this name, made now or by an interrupted run.

    Runpod's API has no idempotency key and names are not unique, so the name is the only mark. It is trusted when it
    was derived from project, stack and resource, or when the program says `adopt`.

    Args:
        kind: What people call it.
        name: Exact name.
        ours: Whether something of this name may be taken over.
        listing: List of the account.
        create: Makes the API call.
        hint: What to do when the name is taken.

    Returns:
        The resource, and whether it was there already.

    Raises:
        NameTaken: Something of this name is there and may not be taken over, or there are several.
        RunpodError: The call failed.
    """
    if there := _pick(kind, name, listing.named(name), ours=ours, hint=hint):
        return there, True
    try:
        return create(), False
    except _MAYBE_DONE as error:
        if isinstance(error, RunpodUnreachable) and not error.sent:
            raise
        if made := _made_after_all(kind, name, listing):
            return made, False
        raise


def _made_after_all(kind: str, name: str, listing: Listing[NamedT]) -> NamedT | None:
    try:
        return _pick(kind, name, listing.named(name, fresh=True), ours=True)
    except RunpodError:
        return None  # the first error is the one to tell


def _pick(kind: str, name: str, found: list[NamedT], *, ours: bool, hint: str = _TAKE_OVER) -> NamedT | None:
    if not found:
        return None
    ids = ", ".join(item.id for item in found)
    if len(found) > 1:
        detail = f"name: there are {len(found)} of {kind} called {name!r} ({ids})."
        raise NameTaken(detail, hint="Delete those that nothing uses, or choose another name.")
    if not ours:
        detail = f"name: there is a {kind} called {name!r} already ({ids})."
        raise NameTaken(detail, hint=hint)
    return found[0]

"""Creating without doubles: a resource that an interrupted run made is found again by its name.

Runpod's API has no idempotency key, names are not unique, and its lists may lag behind what was made. So the name is
the only mark, and one look is not enough. What has it is taken over when the name was derived from project, stack and
resource, or when the program says `adopt`. Only what has a derived name, or was made by this very process, is ever
removed as a double.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from pulumi_visgate.resources._report import Report
from pulumi_visgate.resources._session import Listing, Named
from pulumi_visgate.resources.errors import NameTaken
from pulumi_visgate.runpod.errors import DeadlineExceeded, NotFound, RunpodError, RunpodUnreachable, ServerFault

NamedT = TypeVar("NamedT", bound=Named)

_TAKE_OVER = "Choose another name, leave name out, or set adopt=True to take it over."
_FIRST = datetime.min.replace(tzinfo=UTC)

# After these nobody knows whether the change was made.
_MAYBE_DONE = (RunpodUnreachable, DeadlineExceeded, ServerFault)


def _nobody(_item: object) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOfAName(Generic[NamedT]):
    """Keeps to one resource of a kind for each name.

    Args:
        kind: What people call it.
        listing: List of the account.
        remove: Deletes one by id.
        report: Hears of doubles.
        get: Reads one by id, where the API can.
        used: Tells whether something needs one, so that it must stay.
        hint: What to do when a name is taken.
    """

    kind: str
    listing: Listing[NamedT]
    remove: Callable[[str], object]
    report: Report
    get: Callable[[str], NamedT] | None = None
    used: Callable[[NamedT], bool] = _nobody
    hint: str = _TAKE_OVER

    def find_or_create(
        self, name: str, create: Callable[[], NamedT], *, derived: bool, adopt: bool = False
    ) -> tuple[NamedT, bool]:
        """Return the one resource of this name, made now or by an interrupted run.

        Args:
            name: Exact name.
            create: Makes the API call.
            derived: The name comes from project, stack and resource, so what has it is ours.
            adopt: The program says to take over what has this name.

        Returns:
            The resource, and whether it was there already and may differ from what was asked for.

        Raises:
            NameTaken: Something of this name is there and may not be taken over, or there are several.
            RunpodError: The call failed.
        """
        found = self.listing.before(name)
        if found and derived:
            self.listing.settle()  # an interrupted run may have met an interrupted run
            found = self.listing.listed(name)
        if there := self._pick(name, self._real(found), derived=derived, adopt=adopt):
            self.listing.taken(there)
            return there, True
        try:
            made = create()
        except _MAYBE_DONE as error:
            if isinstance(error, RunpodUnreachable) and not error.sent:
                raise
            there = self._made_after_all(name, derived=derived)
            if there is None:
                raise
            self.listing.taken(there)
            return there, derived  # an older double of ours may differ; what is not ours is what this run has made
        self.listing.made(made)
        return self._settled(name, made, derived=derived, adopt=adopt)

    def foreseen(self, name: str, *, derived: bool, adopt: bool = False) -> list[NamedT]:
        """Return what `find_or_create` would take over as things are; nothing is changed.

        Raises:
            NameTaken: It would refuse.
            RunpodError: The list cannot be read.
        """
        found = self._real(self.listing.before(name))
        if not derived and (len(found) > 1 or not adopt):
            self._pick(name, found, derived=derived, adopt=adopt)
        return found

    def sweep(self, name: str, id_: str) -> None:
        """Remove the doubles that something of a derived name may have, before it is removed itself.

        Args:
            name: Its derived name.
            id_: Its id.
        """
        try:
            self.listing.all()
        except RunpodError as error:
            self.report.warn(
                f"Runpod's list cannot be read, so {self.kind} {name} goes without a look for doubles: {error}"
            )
            return
        for item in self._others(name, id_):
            if not self.used(item):
                self._remove(name, item)

    def _settled(self, name: str, made: NamedT, *, derived: bool, adopt: bool) -> tuple[NamedT, bool]:
        """Look once more: what this process has made is listed only when all that is older is listed, too."""
        if not self.listing.catch_up():
            self.report.warn(
                f"Runpod does not list new resources of kind {self.kind} yet. If the last run was interrupted, it may "
                f"have left a double that cannot be seen; `pulumi destroy` would remove it with its resource."
            )
        older = self._others(name, made.id)
        if not older:
            return made, False
        self.remove(made.id)
        self.listing.deleted(made.id)
        kept = self._pick(name, older, derived=derived, adopt=adopt)
        return (kept, True) if kept else (made, False)

    def _others(self, name: str, id_: str) -> list[NamedT]:
        return self._real([item for item in self.listing.listed(name) if item.id not in {id_, *self.listing.own}])

    def _real(self, found: list[NamedT]) -> list[NamedT]:
        """Leave out what a list still shows although it is gone."""
        if self.get is None:
            return found
        real: list[NamedT] = []
        for item in found:
            try:
                real.append(self.get(item.id))
            except NotFound:
                self.listing.deleted(item.id)
        return real

    def _made_after_all(self, name: str, *, derived: bool) -> NamedT | None:
        """Look for what a call without an answer may have made; a list that lags may show an older double first."""
        try:
            found = self.listing.named(name, fresh=True)
            if not (found and self.listing.caught_up):
                self.listing.settle(self.listing.now())
                found = self.listing.named(name, fresh=True)
            return self._pick(name, self._real(found), derived=derived, adopt=True)
        except (RunpodError, NameTaken):
            return None  # the first error is the one to tell

    def _pick(self, name: str, found: list[NamedT], *, derived: bool, adopt: bool) -> NamedT | None:
        if not found:
            return None
        ids = ", ".join(item.id for item in found)
        if not (derived or adopt):
            detail = f"name: {self.kind} {ids} is called {name!r} already."
            raise NameTaken(detail, hint=self.hint)
        if len(found) == 1:
            return found[0]
        needed = [item for item in found if item.id in self.listing.own or self.used(item)]
        if not derived or len(needed) > 1:
            detail = f"name: there are {len(found)} of {self.kind} called {name!r} ({ids})."
            raise NameTaken(detail, hint="Delete those that nothing uses, or choose another name.")
        kept = needed[0] if needed else min(found, key=_rank)
        for item in found:
            if item is not kept:
                self._remove(name, item)
        return kept

    def _remove(self, name: str, item: NamedT) -> None:
        try:
            self.remove(item.id)
        except NotFound:
            pass
        else:
            self.report.warn(f"Removed {self.kind} {name} ({item.id}): an interrupted run had made it twice.")
        self.listing.deleted(item.id)


def _rank(item: Named) -> tuple[int, datetime]:
    """Prefer the largest, because storage cannot shrink, then the oldest."""
    return -int(getattr(item, "size", 0)), getattr(item, "created_at", None) or _FIRST

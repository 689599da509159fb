"""Every input of every Runpod resource: made, read back, changed, refreshed and left out again, over HTTP."""

from typing import Any

import pytest

from pulumi_visgate.resources._crud import Crud
from tests.contract.account import Account, account
from tools.reference.fields import DERIVED, TABLE, Effect, Part, Row, inputs

__all__ = ["account"]
pytestmark = pytest.mark.contract

ROWS = [
    pytest.param(resource, row, id=f"{resource}-{row.input}-{number}")
    for resource, rows in TABLE.items()
    for number, row in enumerate(rows)
]


class Walk:
    """One resource on its way through a row."""

    def __init__(self, account: Account, resource: str, row: Row) -> None:
        self.account = account
        self.resource = resource
        self.row = row
        self.id = ""
        self.outs: dict[str, Any] = {}

    @property
    def crud(self) -> Crud:
        return self.account.crud(self.resource)

    def make(self) -> None:
        program = inputs(self.resource, self.row, self.row.value)
        self.id, self.outs = self.account.create(self.resource, program)
        self.outs = self.account.refreshed(self.resource, self.id, self.outs, program)
        self.expect(self.row.wire(self.row.value))

    def change(self, value: Any, effect: Effect) -> None:
        """What `up` does, and a refresh and preview after it."""
        program = inputs(self.resource, self.row, value)
        wanted = self.account.checked(self.resource, program, self.outs)
        change = self.crud.diff(self.outs, wanted)
        if effect is Effect.KEEP:
            assert change.changed == ()
            return
        assert self.row.input in change.changed
        assert bool(change.replaces) == (effect is Effect.REPLACE), change
        if effect is Effect.UPDATE:
            self.outs = self.crud.update(self.id, self.outs, wanted)
        else:
            self.replace(wanted, first=change.delete_first)
        self.outs = self.account.refreshed(self.resource, self.id, self.outs, program)
        self.expect(self.row.cleared if value is None else self.row.wire(value))

    def replace(self, wanted: Any, *, first: bool) -> None:
        old, outs = self.id, self.outs
        if first:
            self.crud.delete(old, outs)
        self.id, self.outs = self.crud.create(wanted)
        assert self.id != old
        if not first:
            self.crud.delete(old, outs)
        assert self.crud.read(old, outs) is None

    def expect(self, wanted: Any) -> None:
        """The API holds a value; the order of lists says nothing where the library says so."""
        if self.row.api is None:
            return
        if wanted is DERIVED:
            wanted = self.account.checked(self.resource, inputs(self.resource, self.row, None))["name"]
        held: Any = self.account.held(self.resource, self.id)
        for step in self.row.api.split("."):
            held = (held or {}).get(step)
        if isinstance(wanted, Part):
            assert wanted.text in held
        elif self.row.input in self.crud.unordered:
            assert sorted(held) == sorted(self.account.resolved(wanted))
        else:
            assert held == self.account.resolved(wanted)


@pytest.mark.parametrize(("resource", "row"), ROWS)
def test_an_input_is_made_changed_and_left_out_as_the_table_says(account: Account, resource: str, row: Row) -> None:
    walk = Walk(account, resource, row)
    walk.make()
    walk.change(row.other, row.change)
    if row.emptied is Effect.REFUSE:
        without = account.resolved(inputs(resource, row, None))
        assert walk.crud.check(walk.outs, without)[1]
    else:
        if row.wire(row.other) == row.cleared:
            walk.change(row.value, row.change)
        walk.change(None, row.emptied)

    walk.crud.delete(walk.id, walk.outs)
    assert walk.crud.read(walk.id, walk.outs) is None
    walk.crud.delete(walk.id, walk.outs)  # gone is done

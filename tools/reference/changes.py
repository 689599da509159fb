"""What another value does to a resource, asked of the code that will do it."""

from functools import cache
from typing import Any

from pydantic import SecretStr

from pulumi_visgate.resources._crud import Crud
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources._values import without_empty
from tools.reference.fields import CRUDS, TABLE, Effect, Row, inputs

_KEY = SecretStr("rpa_REFERENCE0REFERENCE0")


@cache
def changes_of(resource: str, crud: type[Crud], name: str) -> dict[str, Effect]:
    """Return what another value of an input does, by the kind of change; most have one kind only, called "".

    Args:
        resource: Name of the resource's class.
        crud: Its rules.
        name: Name of the input.
    """
    rows = [row for row in TABLE.get(resource, ()) if row.input == name]
    if rows:
        return {row.when: probed(resource, row, row.value, row.other) for row in rows}
    if name in crud.notes:
        return {"": Effect.KEEP}
    replaced = name in crud.replaced_by(_offline(crud), (name,), {}, {})
    return {"": Effect.REPLACE if replaced else Effect.UPDATE}


@cache
def emptied_of(resource: str, crud: type[Crud], name: str) -> Effect:
    """Return what leaving an input out again does. Arguments as in `changes_of`."""
    if rows := [row for row in TABLE.get(resource, ()) if row.input == name]:
        return probed(resource, rows[0], rows[0].value, None)
    if crud.model.model_fields[name].is_required():
        return Effect.REFUSE
    return Effect.KEEP if name in crud.unmanaged else changes_of(resource, crud, name)[""]


def probed(resource: str, row: Row, before: Any, after: Any) -> Effect:
    """Return what the rules say of two programs that differ in one input.

    Args:
        resource: Name of the resource's class.
        row: The row of the input.
        before: Its value before.
        after: Its value afterwards; None leaves it out.
    """
    crud = CRUDS[resource]
    olds, _ = _settled(crud, inputs(resource, row, before))
    news, refused = _settled(crud, inputs(resource, row, after))
    if refused:
        return Effect.REFUSE
    change = _offline(crud).diff(olds, news)
    if row.input not in change.changed:
        return Effect.KEEP
    return Effect.REPLACE if change.replaces else Effect.UPDATE


def _settled(crud: type[Crud], program: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return what `check` makes of a program without asking anyone, and whether it refuses it."""
    rules = _offline(crud)
    values, problems = rules._parse(program)  # noqa: SLF001, `check` would ask the catalog
    if not problems:
        rules.complete(values)
        problems = list(rules.rules(values))
    return without_empty(values), bool(problems)


def _offline(crud: type[Crud]) -> Crud:
    return crud(Session(Settings(runpod_api_key=_KEY)))

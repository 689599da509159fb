"""A plan as lines for a terminal, and as data."""

from collections.abc import Iterator
from typing import Any

from pydantic_core import to_jsonable_python

from pulumi_visgate.preview.digest import names_of
from pulumi_visgate.preview.markdown import diff_lines, headline
from pulumi_visgate.preview.money import HOURS_A_MONTH, NOTHING, Price, hourly, monthly
from pulumi_visgate.preview.plan import Plan


def lines(plan: Plan) -> Iterator[str]:
    """Yield a whole plan, nothing cut."""
    yield f"{plan.project}/{plan.stack}: {headline(plan).replace('*', '')}"
    before, after, more = plan.before.price, plan.after.price, plan.added
    sums = (("idle", before.floor, after.floor, more.floor), ("all busy", before.ceiling, after.ceiling, more.ceiling))
    for what, old, new, difference in sums:
        yield f"  {what:<9} {hourly(old)} → {hourly(new)} an hour, {monthly(difference)} a month"
    if unknown := sorted({*plan.before.unknown, *plan.after.unknown}):
        yield f"  without {', '.join(unknown)}, whose price is unknown"
    if not plan.whole:
        yield "  only of what changes; the preview does not list the rest (--show-sames)"
    yield from _said(plan)
    for change in plan.changes:
        yield f"{change.action} {change.kind} {change.name}{_price(change.old_price, change.new_price)}"
        if change.loss:
            yield f"  ! {change.loss}"
        for line in diff_lines(change):
            yield f"    {line}"


def _said(plan: Plan) -> Iterator[str]:
    for error in plan.errors:
        yield f"error: {error.name + ': ' if error.name else ''}{error.text}"
    for found in plan.violations:
        text = found.message.strip().replace("\n", " ")
        yield f"{found.enforcement_level} {found.policy_name} at {names_of(found.resource_urn)[2]}: {text}"
    for warning in plan.warnings:
        yield f"warning: {warning.name + ': ' if warning.name else ''}{warning.text}"
    for drift in plan.drifts:
        yield f"changed outside of the program: {drift.kind} {drift.name}{' is gone' if drift.gone else ''}"
        for item in drift.properties:
            yield f"    {item.path}: {item.old or '(none)'} → {item.new or '(none)'}"


def _price(old: Price | None, new: Price | None) -> str:
    if old is None and new is None:
        return ""
    before, after = old or NOTHING, new or NOTHING
    return (
        f"  [idle {hourly(before.floor)} → {hourly(after.floor)},"
        f" all busy {hourly(before.ceiling)} → {hourly(after.ceiling)} an hour]"
    )


def data(plan: Plan) -> dict[str, Any]:
    """Return a plan as data for JSON."""
    found: dict[str, Any] = to_jsonable_python(plan, by_alias=False)
    found["counts"] = {str(action): number for action, number in plan.counts.items()}
    found["failed"] = plan.failed
    found["monthly_difference_usd"] = {
        "floor": _month(plan.added.floor),
        "ceiling": _month(plan.added.ceiling),
    }
    return found


def _month(usd_an_hour: float | None) -> float | None:
    return None if usd_an_hour is None else round(usd_an_hour * HOURS_A_MONTH, 2)

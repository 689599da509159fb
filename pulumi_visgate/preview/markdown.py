"""A plan as GitHub Markdown for a pull request: the verdict first, details folded, never longer than a comment may be.

Everything that comes from a program or a provider stands in code spans or fenced blocks, where it can neither become
HTML nor mention a person.
"""

import re
from collections.abc import Iterable, Sequence

from pulumi_visgate.preview.digest import Violation, names_of
from pulumi_visgate.preview.money import NOTHING, Total, difference, hourly, monthly
from pulumi_visgate.preview.plan import Action, Change, Drift, Message, Plan
from pulumi_visgate.preview.properties import PropertyChange

MAX_CHARS = 65_536
_MARGIN_CHARS = 500
_NAME_CHARS = 100
_MESSAGE_CHARS = 1500
_OPEN_UP_TO = 1
_VERBS = {
    Action.CREATE: "to create",
    Action.IMPORT: "to import",
    Action.UPDATE: "to update",
    Action.REPLACE: "to replace",
    Action.DELETE: "to delete",
}
_SIGNS = {Action.CREATE: "+", Action.IMPORT: "=", Action.UPDATE: "~", Action.REPLACE: "±", Action.DELETE: "-"}


def marker(plan: Plan) -> str:
    """Return the hidden comment by which a later run finds its own comment."""
    return f"<!-- visgate-diff:{_comment(plan.project)}/{_comment(plan.stack)} -->"


def render(plan: Plan, *, max_chars: int = MAX_CHARS) -> str:
    """Write a plan as Markdown.

    Args:
        plan: It.
        max_chars: Longest text; GitHub takes 65,536 characters.
    """
    blocks = [marker(plan), f"### {_code(f'{plan.project}/{plan.stack}')}: {headline(plan)}", _cost_line(plan)]
    room = max_chars - _MARGIN_CHARS
    sections = (
        _errors(plan.errors, room * 20 // 100),
        _violations(plan.violations, room * 15 // 100),
        _losses(plan.changes, room * 12 // 100),
        _costs(plan, room * 15 // 100),
        _warnings(plan.warnings, room * 10 // 100),
        _drifts(plan.drifts, room * 10 // 100),
    )
    blocks += [section for section in sections if section]
    used = sum(len(block) + 2 for block in blocks)
    blocks += _details(plan, room - used)
    return "\n\n".join(block for block in blocks if block) + "\n"


def headline(plan: Plan) -> str:
    """Say in a few words what would happen."""
    counts = ", ".join(f"{number} {_VERBS[action]}" for action, number in plan.counts.items())
    if plan.errors:
        return "the preview failed" + (f", after {counts}" if counts else "")
    if plan.failed:
        return f"{counts or 'no changes'}, **refused by policy**"
    return counts or ("only components change" if plan.changes else "no changes")


def _cost_line(plan: Plan) -> str:
    if plan.errors and not plan.changes:
        return ""
    more = plan.added
    idle = _from_to("Idle", plan.before.price.floor, plan.after.price.floor, more.floor, plan)
    busy = _from_to("all workers busy", plan.before.price.ceiling, plan.after.price.ceiling, more.ceiling, plan)
    line = f"{idle} · {busy}"
    unknown = sorted({*plan.before.unknown, *plan.after.unknown})
    if unknown:
        line += f"<br>Without {_some(unknown)}, whose price is unknown."
    if not plan.whole:
        line += "<br>Only of what changes: the preview does not list the rest (`--show-sames`)."
    return line


def _from_to(what: str, old: float | None, new: float | None, more: float | None, plan: Plan) -> str:
    before, after = _sum(old, plan.before), _sum(new, plan.after)
    if not more and before == after:
        return f"{what} **{after}** an hour" if old is not None else f"{what} **unknown**"
    if more is None:
        return f"{what} {before} → **{after}** an hour"
    sign = "+" if more > 0 else "-"
    return f"{what} {before} → **{after}** an hour ({sign}{hourly(abs(more))}, {monthly(more)} a month)"


def _sum(usd: float | None, of: Total) -> str:
    return hourly(usd) if usd is None or not of.unknown else f"at least {hourly(usd)}"


def _errors(errors: Sequence[Message], room: int) -> str:
    if not errors:
        return ""
    texts = [_clip(_with_name(error), _MESSAGE_CHARS) for error in errors]
    return _joined("> [!CAUTION]\n> The preview failed.\n", [_fenced(text) for text in texts], room, "errors")


def _violations(violations: Sequence[Violation], room: int) -> str:
    if not violations:
        return ""
    items = []
    for found in violations:
        level = "**mandatory**" if found.mandatory else "advisory"
        _, _, text = found.message.strip().partition("\n")
        said = _inline(_clip(text or found.message, _MESSAGE_CHARS))
        items.append(f"- {level} {_code(found.policy_name)} at {_code(names_of(found.resource_urn)[2])}: {said}")
    return _joined("**Policies**\n", items, room, "violations")


def _losses(changes: Iterable[Change], room: int) -> str:
    losses = [change for change in changes if change.loss]
    if not losses:
        return ""
    items = [f"> - {change.action} {_code(change.kind)} {_code(change.name)}: {change.loss}" for change in losses]
    return _joined("> [!WARNING]\n> **Data is at stake**", items, room, "resources", prefix="> - ")


def _costs(plan: Plan, room: int) -> str:
    rows = []
    for change in plan.changes:
        if change.old_price is None and change.new_price is None:
            continue
        old, new = change.old_price or NOTHING, change.new_price or NOTHING
        floor, ceiling = _pair(hourly(old.floor), hourly(new.floor)), _pair(hourly(old.ceiling), hourly(new.ceiling))
        more = _months(difference(old.floor, new.floor), difference(old.ceiling, new.ceiling))
        rows.append(
            f"| {_cell(change.name)} | {_inline(change.kind)} | {change.action} | {floor} | {ceiling} | {more} |"
        )
    if not rows:
        return ""
    head = "| resource | kind | change | idle, an hour | all busy, an hour | a month |\n|---|---|---|--:|--:|--:|"
    before, after = plan.before, plan.after
    floor = _pair(_sum(before.price.floor, before), _sum(after.price.floor, after))
    ceiling = _pair(_sum(before.price.ceiling, before), _sum(after.price.ceiling, after))
    what = "whole stack" if plan.whole else "these"
    last = f"| **{what}** | | | {floor} | {ceiling} | **{_months(plan.added.floor, plan.added.ceiling)}** |"
    return _joined(head, rows, room, "", cut="| … {} more | | | | | |") + f"\n{last}"


def _months(floor: float | None, ceiling: float | None) -> str:
    least, most = monthly(floor), monthly(ceiling)
    return least if least == most else f"{least} to {most}"


def _pair(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _warnings(warnings: Sequence[Message], room: int) -> str:
    if not warnings:
        return ""
    items = [f"- {_inline(_clip(_with_name(warning), _MESSAGE_CHARS))}" for warning in warnings]
    return _joined("**Warnings**\n", items, room, "warnings")


def _drifts(drifts: Sequence[Drift], room: int) -> str:
    if not drifts:
        return ""
    items = []
    for drift in drifts:
        what = (
            "is gone"
            if drift.gone
            else ", ".join(
                _code(f"{change.path}: {change.old or '(none)'} → {change.new or '(none)'}")
                for change in drift.properties
            )
        )
        items.append(f"- {drift.kind} {_code(drift.name)}: {what}")
    return _joined("**Changed outside of the program**\n", items, room, "resources")


def _details(plan: Plan, room: int) -> list[str]:
    """Write the changes of each resource, as many as there is room for."""
    blocks: list[str] = []
    changes = [change for change in plan.changes if not change.component or change.properties]
    opened = " open" if len(changes) <= _OPEN_UP_TO else ""
    for number, change in enumerate(changes):
        block = _detail(change, opened)
        if len(block) + 2 > room:
            return [*blocks, _cut_note(plan, changes[number:])]
        blocks.append(block)
        room -= len(block) + 2
    return blocks


def _cut_note(plan: Plan, left: Sequence[Change]) -> str:
    command = _code(f"visgate diff -s {plan.stack} --format text")
    return f"*Cut here: the details of {len(left)} more resources would not fit. {command} shows all.*"


def _detail(change: Change, opened: str) -> str:
    sign, title = _SIGNS[change.action], f"{change.action} {_html(change.kind)} <b>{_html(_clip(change.name))}</b>"
    lines = list(diff_lines(change))
    if not lines:
        words = "Everything of it goes." if change.action is Action.DELETE else "No input of it changes."
        return f"<details{opened}><summary><code>{sign}</code> {title}</summary>\n\n{words}\n\n</details>"
    body = _fenced("\n".join(lines), "diff")
    return f"<details{opened}><summary><code>{sign}</code> {title}</summary>\n\n{body}\n\n</details>"


def diff_lines(change: Change) -> Iterable[str]:
    """Yield the properties of a change as lines of a diff."""
    for item in change.properties:
        yield from _property_lines(item)


def _property_lines(item: PropertyChange) -> Iterable[str]:
    why = "   # needs a new resource" if item.replaces else ""
    if item.note:
        yield f"! {item.path}: {item.note}{why}"
        return
    if item.old == item.new:
        yield f"! {item.path}: {item.new or 'changes'}{why}"
        return
    if item.old is not None:
        yield f"- {item.path}: {item.old}{why if item.new is None else ''}"
    if item.new is not None:
        yield f"+ {item.path}: {item.new}{why}"


def _joined(head: str, items: Sequence[str], room: int, what: str, *, prefix: str = "- ", cut: str = "") -> str:
    """Put items below a heading, as many as there is room for, and say how many are left out."""
    text = head
    for number, item in enumerate(items):
        if len(text) + len(item) + 1 > room:
            left = len(items) - number
            return f"{text}\n" + (cut.format(left) if cut else f"{prefix}*{left} more {what} would not fit here*")
        text += f"\n{item}"
    return text


def _with_name(message: Message) -> str:
    return f"{message.name}: {message.text}" if message.name else message.text


def _some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(_code(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _clip(text: str, most: int = _NAME_CHARS) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _code(text: str) -> str:
    """Return an inline code span."""
    plain = re.sub(r"\s+", " ", text).replace("`", "'").strip()
    return f"`{_clip(plain, _MESSAGE_CHARS) or ' '}`"


def _cell(text: str) -> str:
    return _code(_clip(text)).replace("|", "\\|")


def _inline(text: str) -> str:
    """Return free text on one line: a code span as soon as anything in it could be markup."""
    plain = re.sub(r"\s+", " ", text).strip()
    return _code(plain) if re.search(r"[<>`@*_\[\]#|\\&~$]|://|--", plain) else plain


def _html(text: str) -> str:
    plain = re.sub(r"\s+", " ", text).strip()
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def _comment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._/-]", "_", text).replace("--", "-_")


def _fenced(text: str, language: str = "text") -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"

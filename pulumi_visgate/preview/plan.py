"""The plan behind a preview: what changes, what is lost, what it costs, what was said."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pulumi_visgate.preview.digest import Diagnostic, Digest, State, Step, Violation, names_of, type_of
from pulumi_visgate.preview.money import Price, Total, added, price_of, total
from pulumi_visgate.preview.properties import PropertyChange, compare, property_changes

_OWN_TYPE = re.compile(r"^pulumi-python:dynamic/visgate:(\w+)$")
_ENGINE_TYPES = ("pulumi:pulumi:Stack", "pulumi:providers:")
_REPLACEMENT_PARTS = frozenset({"create-replacement", "delete-replaced", "remove-pending-replace"})
# The engine says this of every plugin that is a program on PATH, as the policy pack's is.
_FROM_PATH = re.compile(r"using pulumi-\S+ from \$PATH")


class Action(StrEnum):
    """What happens to a resource, the worst first."""

    DELETE = "delete"
    REPLACE = "replace"
    UPDATE = "update"
    CREATE = "create"
    IMPORT = "import"


_ACTIONS = {
    "create": Action.CREATE,
    "update": Action.UPDATE,
    "replace": Action.REPLACE,
    "import-replacement": Action.REPLACE,
    "delete": Action.DELETE,
    "import": Action.IMPORT,
}
_ORDER = list(Action)


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one resource.

    Args:
        urn: Of the resource.
        name: In the program.
        kind: `Endpoint`, `aws:Bucket`, …
        action: What happens.
        properties: How its inputs change.
        old_price: What it costs now; None without a price.
        new_price: What it will cost.
        loss: Which data goes, in words; empty if none does.
        component: It groups others and is nothing by itself.
    """

    urn: str
    name: str
    kind: str
    action: Action
    properties: tuple[PropertyChange, ...] = ()
    old_price: Price | None = None
    new_price: Price | None = None
    loss: str = ""
    component: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """What somebody changed without the program.

    Args:
        name: Of the resource.
        kind: Of the resource.
        gone: It is no longer there.
        properties: What differs, from the last update to now.
    """

    name: str
    kind: str
    gone: bool = False
    properties: tuple[PropertyChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was said.

    Args:
        text: It.
        name: Of the resource that it is about; empty if none.
    """

    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a preview.

    Args:
        project: Of the program.
        stack: Its name.
        changes: The worst first.
        unchanged: How many resources stay as they are.
        before: What the stack costs now.
        after: What it will cost.
        whole: The preview lists unchanged resources, so that the sums are those of the whole stack.
        drifts: What a refresh found.
        errors: Why there is no whole preview.
        warnings: What was warned of.
        violations: Of policies.
    """

    project: str
    stack: str
    changes: tuple[Change, ...]
    unchanged: int
    before: Total
    after: Total
    whole: bool
    drifts: tuple[Drift, ...] = ()
    errors: tuple[Message, ...] = ()
    warnings: tuple[Message, ...] = ()
    violations: tuple[Violation, ...] = ()

    @property
    def counts(self) -> dict[Action, int]:
        """Number of resources by action, components left out."""
        found = Counter(change.action for change in self.changes if not change.component)
        return {action: found[action] for action in reversed(Action) if found[action]}

    @property
    def added(self) -> Price:
        """What the changes add to the price of the stack."""
        return added((change.old_price, change.new_price) for change in self.changes)

    @property
    def failed(self) -> bool:
        """The update would not be made."""
        return bool(self.errors) or any(violation.mandatory for violation in self.violations)


def make_plan(digest: Digest, violations: Sequence[Violation] = ()) -> Plan:
    """Read a preview.

    Args:
        digest: It.
        violations: Of policies, which a digest does not tell.
    """
    refreshed, steps = _by_phase(digest.steps)
    stack, project = next((names_of(step.urn)[:2] for step in digest.steps), ("", ""))
    changes = sorted(_changes(steps), key=lambda c: (not c.loss, _ORDER.index(c.action), c.component, c.kind, c.name))
    owned = [step for step in steps if step.op not in {"read", "read-replacement"}]
    listed = sum(step.op == "same" for step in steps)
    errors, warnings = _messages(digest.diagnostics)
    return Plan(
        project=project,
        stack=stack,
        changes=tuple(changes),
        unchanged=sum(step.op == "same" and _counts(step) for step in steps),
        before=total((_name(step), _price(step, step.old_state)) for step in owned),
        after=total((_name(step), _price(step, step.new_state)) for step in owned),
        whole=listed >= digest.change_summary.get("same", 0),
        drifts=tuple(_drifts(refreshed, steps)),
        errors=_reasons(errors, violations),
        warnings=tuple(warnings),
        violations=tuple(sorted(violations, key=lambda found: not found.mandatory)),
    )


def _by_phase(steps: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    """Part what a refresh did from what the program then plans."""
    by_urn: dict[str, list[Step]] = {}
    for step in steps:
        if step.op not in _REPLACEMENT_PARTS and not step.op.startswith("discard"):
            leftover = bool(step.old_state and step.old_state.delete and step.op == "delete")
            by_urn.setdefault(step.urn + ("#leftover" if leftover else ""), []).append(step)
    refreshed: list[Step] = []
    planned: list[Step] = []
    for found in by_urn.values():
        *before, last = found
        refreshed += before
        (refreshed if last.op == "refresh" else planned).append(last)
    return refreshed, planned


def _changes(steps: Iterable[Step]) -> Iterator[Change]:
    for step in steps:
        action = _ACTIONS.get(step.op)
        if action is None or _is_engines(step):
            continue
        kind = kind_of(type_of(step.urn))
        yield Change(
            urn=step.urn,
            name=_name(step),
            kind=kind,
            action=action,
            properties=property_changes(step) if action is not Action.DELETE else (),
            old_price=price_of(kind, step.old_state),
            new_price=price_of(kind, step.new_state),
            loss=_loss(kind, action, step.old_state),
            component=_is_component(step),
        )


def _drifts(refreshed: Iterable[Step], steps: Iterable[Step]) -> Iterator[Drift]:
    later = {step.urn: step for step in steps}
    for step in refreshed:
        now = later.get(step.urn)
        if _is_engines(step) or step.old_state is None or _is_component(step):
            continue
        kind = kind_of(type_of(step.urn))
        if now is None or now.old_state is None:
            yield Drift(_name(step), kind, gone=True)
        elif differing := tuple(compare(step.old_state.inputs, now.old_state.inputs)):
            yield Drift(_name(step), kind, properties=differing)


def _messages(diagnostics: Iterable[Diagnostic]) -> tuple[list[Message], list[Message]]:
    errors: dict[Message, None] = {}
    warnings: dict[Message, None] = {}
    for said in diagnostics:
        into = {"error": errors, "warning": warnings}.get(said.severity)
        text = said.message.strip().removeprefix(f"{said.severity}:").strip()
        if into is None or not text or _FROM_PATH.search(text):
            continue
        name = names_of(said.urn)[2] if said.urn and not type_of(said.urn).startswith(_ENGINE_TYPES) else ""
        into[Message(text, name)] = None
    return list(errors), list(warnings)


def _reasons(errors: Sequence[Message], violations: Sequence[Violation]) -> tuple[Message, ...]:
    """Leave out that the preview has failed where something else says why."""
    reasons = tuple(error for error in errors if error.text != "preview failed")
    return reasons if reasons or any(found.mandatory for found in violations) else tuple(errors)


def _loss(kind: str, action: Action, old: State | None) -> str:
    """Say which data a change destroys."""
    if action not in {Action.DELETE, Action.REPLACE} or old is None or old.external:
        return ""
    replaced, values = action is Action.REPLACE, old.outputs | old.inputs
    what = kind.rpartition(":")[2]
    spared = what == "NetworkVolume" and values.get("adopted") and not values.get("delete_data")
    if old.retain_on_delete or spared:
        return "leaves the stack but stays where it is, with its data and its price" if _holds_data(what) else ""
    if what == "NetworkVolume":
        after = "; a new, empty one takes its place" if replaced else ""
        return f"the volume is deleted with everything on it{after}"
    if what == "ModelCache" and not values.get("retain"):
        return "its files are deleted" + (" and loaded again elsewhere" if replaced else "")
    if what.startswith("Bucket") and _holds_data(what):
        forced = values.get("force_destroy") or values.get("forceDestroy")
        fate = "with every object in it" if forced else "which fails while there are objects in it"
        return f"the bucket is deleted, {fate}" + ("; a new, empty one takes its place" if replaced else "")
    return ""


def _holds_data(what: str) -> bool:
    return what in {"NetworkVolume", "ModelCache", "Bucket", "BucketV2"}


def kind_of(type_token: str) -> str:
    """Return what people call a type: `Endpoint` for this library's own, else `package:Type`.

    Args:
        type_token: Such as `aws:s3/bucket:Bucket`.
    """
    own = _OWN_TYPE.match(type_token)
    if own:
        return own[1]
    package, _, rest = type_token.partition(":")
    return f"{package}:{rest.rpartition(':')[2]}" if rest else type_token


def _name(step: Step) -> str:
    return names_of(step.urn)[2]


def _price(step: Step, state: State | None) -> Price | None:
    return price_of(kind_of(type_of(step.urn)), state)


def _is_engines(step: Step) -> bool:
    return type_of(step.urn).startswith(_ENGINE_TYPES)


def _is_component(step: Step) -> bool:
    state = step.new_state or step.old_state
    return state is not None and not state.custom


def _counts(step: Step) -> bool:
    return not _is_engines(step) and not _is_component(step)

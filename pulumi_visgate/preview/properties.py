"""Which properties differ, in words that hold no secret."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_visgate.preview.digest import SECRET, UNKNOWN, Step
from pulumi_visgate.preview.money import CEILING_NOTE, FLOOR_NOTE, MONTH_NOTE

AFTERWARDS = "(known after the update)"
FINGERPRINTS = "env_fingerprints"
MAX_VALUE_CHARS = 240
_HIDDEN = frozenset({"owner", "adopt", FINGERPRINTS, FLOOR_NOTE, CEILING_NOTE, MONTH_NOTE})
# Some programs hand a secret over without saying that it is one, and a pull request is read by many.
_SECRET_NAME = re.compile(r"(?i)(password|passwd|passphrase|secret(_?string)?|token|(api|access|secret|private)_?key)$")


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """How a property changes.

    Args:
        path: Its name, with dots and indices where it lies deeper.
        old: Value as text; None where there was none.
        new: Value as text; None where there will be none.
        note: What to say instead of, or besides, the values.
        replaces: It is a reason why a new resource is made.
    """

    path: str
    old: str | None = None
    new: str | None = None
    note: str = ""
    replaces: bool = False


def property_changes(step: Step) -> tuple[PropertyChange, ...]:
    """Compare the inputs before and after a step.

    Args:
        step: Of the preview.
    """
    old = dict(step.old_state.inputs) if step.old_state else {}
    new = dict(step.new_state.inputs) if step.new_state else {}
    if step.old_state and step.new_state:
        # A provider compares with what is really there, which a program's inputs need not show.
        for name in {*step.diff_reasons, *step.replace_reasons}:
            if old.get(name) == new.get(name) and name in step.old_state.outputs:
                old[name] = step.old_state.outputs[name]
    environment = list(_environment(old, new))
    told = {"env"} if environment else set()
    found = [*environment, *(change for change in compare(old, new) if change.path not in told)]
    shown = {re.split(r"[.\[]", change.path)[0] for change in found}
    for name in (*step.replace_reasons, *step.diff_reasons):
        if name not in shown and not _is_hidden(name):
            found.append(PropertyChange(name, _text(name, old.get(name)), _text(name, new.get(name))))
            shown.add(name)
    reasons = set(step.replace_reasons)
    return tuple(
        PropertyChange(c.path, c.old, c.new, c.note, replaces=re.split(r"[.\[]", c.path)[0] in reasons) for c in found
    )


def compare(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[PropertyChange]:
    """Yield the differences of two mappings, by name."""
    for name in sorted({*old, *new}):
        if not path and _is_hidden(name):
            continue
        where = _on_one_line(f"{path}.{name}" if path else name)
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from compare(before, after, where)
        elif _are_lists_of_mappings(before, after):
            for index, (one, other) in enumerate(zip(before, after, strict=True)):  # type: ignore[arg-type]
                yield from compare(one, other, f"{where}[{index}]")
        else:
            yield PropertyChange(where, _text(name, before), _text(name, after))


def _is_hidden(name: str) -> bool:
    return name.startswith("__") or name in _HIDDEN


def _are_lists_of_mappings(before: object, after: object) -> bool:
    return (
        isinstance(before, list)
        and isinstance(after, list)
        and len(before) == len(after)
        and all(isinstance(item, Mapping) for item in (*before, *after))
    )


def _environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[PropertyChange]:
    """Say which variables change; the fingerprints tell them apart without telling values."""
    before, after = old.get(FINGERPRINTS), new.get(FINGERPRINTS)
    if before == after or UNKNOWN in (old.get("env"), new.get("env")):
        return
    if not isinstance(before or {}, Mapping) or not isinstance(after or {}, Mapping):
        return
    before, after = before or {}, after or {}
    changed = [name for name in before if name in after and before[name] != after[name]]
    parts = (
        ("changed", changed),
        ("new", [name for name in after if name not in before]),
        ("removed", [name for name in before if name not in after]),
    )
    words = ", ".join(f"{_clipped(_on_one_line(', '.join(sorted(names))))} {what}" for what, names in parts if names)
    yield PropertyChange("env", note=f"{words} (values are secret)")


def _text(name: str, value: Any) -> str | None:
    """Write a value on one line, bounded and without secrets."""
    if value is None:
        return None
    shown = _shown(name, value)
    if isinstance(shown, str) and shown == shown.strip() and shown.isprintable() and shown:
        return _clipped(shown)
    return _clipped(_on_one_line(json.dumps(shown, ensure_ascii=False, separators=(", ", ": "))))


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _shown(name: str, value: Any) -> Any:
    if value == UNKNOWN:
        return AFTERWARDS
    if isinstance(value, Mapping):
        return {key: _shown(key, item) for key, item in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [_shown(name, item) for item in value]
    if isinstance(value, str) and value and _SECRET_NAME.search(name):
        return SECRET
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _clipped(text: str, most: int = MAX_VALUE_CHARS) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"

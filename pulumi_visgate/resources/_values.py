"""Property values as CRUD sees them: unknown ones, empty ones, order and names; imports nothing of Pulumi."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Final

Properties = Mapping[str, Any]

NAME_SUFFIX_LENGTH = 8
FINGERPRINT_LENGTH = 6
_STEM_LENGTH = 40


class _Unknown:
    """Stands for a value that a preview does not know yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN: Final = _Unknown()


def has_unknown(value: object) -> bool:
    """Tell whether a value is unknown or has an unknown part."""
    if isinstance(value, Mapping):
        return any(map(has_unknown, value.values()))
    if isinstance(value, list | tuple):
        return any(map(has_unknown, value))
    return value is UNKNOWN


def known_items(values: Properties, name: str) -> list[Any]:
    """Return the items of a list that are known."""
    value = values.get(name) or []
    return [] if value is UNKNOWN else [item for item in value if not has_unknown(item)]


def without_empty(values: Properties) -> dict[str, Any]:
    """Leave out what says nothing: None, False, and empty text, list or mapping, which the API does not tell apart."""
    return {name: value for name, value in values.items() if not _is_empty(value)}


def _is_empty(value: object) -> bool:
    return value is None or value is False or value == "" or value in ([], {})


def same(old: object, new: object, *, ordered: bool = True) -> bool:
    """Compare two known or unknown values; unknown is never the same.

    Args:
        old: One value; None stands for any empty value.
        new: The other.
        ordered: Whether the order of a list matters.
    """
    if has_unknown(old) or has_unknown(new):
        return False
    old, new = (None if _is_empty(value) else value for value in (old, new))
    if not ordered and isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(old.count(item) == new.count(item) for item in old)
    return bool(old == new)


def as_text(value: object) -> object:
    """Return a number or truth value as a person writes it: Pulumi hands over every number as a float."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if float(value).is_integer() else repr(value)
    return value


def keep_order(observed: Any, remembered: Any) -> Any:
    """Return a list in the remembered order when only the order differs, because the API may answer in any."""
    if isinstance(observed, list) and isinstance(remembered, list) and same(observed, remembered, ordered=False):
        return remembered
    return observed


def derived_name(owner: str, fixed: Iterable[object]) -> str:
    """Return the name that a resource gets when none is given: readable, and the same at every run.

    The hash covers no more of the resource than the readable part, so that a name alone tells which stack it is of.

    Args:
        owner: `project/stack/name of the resource in the program`.
        fixed: Values that need a new resource when they change, so that the replacement gets another name.
    """
    resource = owner.rsplit("/", 1)[-1]
    stem = _stem(resource)
    text = "\n".join([owner.removesuffix(resource) + stem, *(repr(value) for value in fixed)])
    return f"{stem}-{_short_hash(text)}"


def former_name(owner: str, fixed: Iterable[object]) -> str:
    """Return the name that version 0.1.0 derived, which a resource keeps: some of them cannot be renamed.

    Args:
        owner: As of `derived_name`.
        fixed: As of `derived_name`.
    """
    stem = _readable(owner.rsplit("/", 1)[-1])[:_STEM_LENGTH].rstrip("-") or "visgate"
    return f"{stem}-{_short_hash(chr(10).join([owner, *(repr(value) for value in fixed)]))}"


def _stem(resource: str) -> str:
    """Return a resource's name in what every API takes; where something of it is lost, a hash stands for that."""
    text = _readable(resource)
    if text == resource and len(text) <= _STEM_LENGTH:
        return text
    shown = text[: _STEM_LENGTH - NAME_SUFFIX_LENGTH - 1].rstrip("-") or "visgate"
    return f"{shown}-{_short_hash(resource)}"


def _readable(text: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else "-" for char in text.lower()).strip("-")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:NAME_SUFFIX_LENGTH]


def fingerprints(env: Mapping[str, str], key: bytes) -> dict[str, str]:
    """Return a short keyed digest of each value, so that a preview shows which variable changes but not its value.

    Args:
        env: Environment variables.
        key: Secret; without it a digest tells nothing about its value.
    """
    return {
        name: hmac.new(key, f"env:{name}={value}".encode(), hashlib.sha256).hexdigest()[:FINGERPRINT_LENGTH]
        for name, value in sorted(env.items())
    }

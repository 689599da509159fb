"""What a policy sees of a resource: plain values, unknown ones marked, secret ones told from others.

CrossGuard's Python library takes the mark of a secret off before a policy sees the value, so that no policy could ask
for secrets to be marked. `keep_secretness` leaves it on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_policy import policy as library
from pulumi_policy.proxy import UnknownValueError

from pulumi_visgate.preview.plan import kind_of

UNKNOWN = object()
POOL_KINDS = frozenset({"Endpoint", "WarmPool"})
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the engine's mark of a secret
_DESERIALIZE = "deserialize_properties"


class SecretText(str):
    """Text that the program gave as a secret."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the stack.

    Args:
        urn: Its URN.
        name: Its name in the program.
        kind: `Endpoint`, `aws:Bucket`, …
        values: Inputs, or for a whole stack outputs; `UNKNOWN` where a value is known only after the update.
    """

    urn: str
    name: str
    kind: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, urn: str, name: str, type_token: str, props: Mapping[str, Any]) -> "Resource":
        """Read what CrossGuard hands over.

        Args:
            urn: Of the resource.
            name: Of the resource.
            type_token: Of the resource.
            props: Its properties, which raise where one that is unknown is looked at.
        """
        return cls(urn, name, kind_of(type_token), _plain(props))

    def known(self, name: str) -> Any:
        """Return a value, or None while it is unknown."""
        value = self.values.get(name)
        return None if value is UNKNOWN else value

    def number(self, name: str) -> float | None:
        """Return a value that is a number, else None."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def texts(self, name: str) -> list[str]:
        """Return those items of a list of texts that are known."""
        value = self.known(name)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(values: Any, key: Any) -> Any:
    try:
        return _plain(values[key])
    except UnknownValueError:
        return UNKNOWN


def keep_secretness() -> None:
    """Let the library hand over secret texts as `SecretText`.

    Raises:
        RuntimeError: The library works in another way than it did.
    """
    original = getattr(library, _DESERIALIZE, None)
    if original is None:
        message = "This version of pulumi-policy is not known; install pulumi-policy 1.21."
        raise RuntimeError(message)
    if getattr(original, "keeps_secretness", False):
        return

    def marking(props: dict[str, Any], proxy_secrets: bool = False) -> Any:
        return original(props, proxy_secrets) if proxy_secrets else original(_marked(props, secret=False))

    marking.keeps_secretness = True  # type: ignore[attr-defined]
    setattr(library, _DESERIALIZE, marking)


def _marked(value: Any, *, secret: bool) -> Any:
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET_SIGNATURE:
            return _marked(value.get("value"), secret=True)
        return {key: _marked(item, secret=secret and key != _SIGNATURE) for key, item in value.items()}
    if isinstance(value, list):
        return [_marked(item, secret=secret) for item in value]
    return SecretText(value) if secret and isinstance(value, str) else value


def the_dearest(amounts: Iterable[tuple[str, float]], most: int = 3) -> str:
    """Write the largest of several amounts, by name.

    Args:
        amounts: Name and US dollars.
        most: How many.
    """
    ordered = sorted(amounts, key=lambda item: -item[1])[:most]
    return ", ".join(f"{name} ${usd:,.2f}" for name, usd in ordered if usd > 0)

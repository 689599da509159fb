"""Masking of everything that leaves the gateway in words: log records, problem details, tunnelled log lines.

Secrets of the platform are known from the start. Those of a request are known while it runs, through a context
variable, and forgotten with it.
"""

import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from enum import Enum
from typing import Any, TypeVar

from pydantic import BaseModel

from visgate_contract.redaction import Redactor

MAX_LINE_CHARACTERS = 4_000

ModelT = TypeVar("ModelT", bound=BaseModel)

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_CONTROL.update({0x2028: "\\u2028", 0x2029: "\\u2029"})


class Masker:
    """Masks a request's secrets and the platform's; builds its patterns only when there is something to mask.

    Args:
        secrets: Values to mask.
        beneath: What it masks is masked, too; its patterns are built once for all that share it.
    """

    __slots__ = ("_beneath", "_redactor", "_secrets")

    def __init__(self, secrets: Iterable[str] = (), *, beneath: "Masker | None" = None) -> None:
        self._secrets = set(secrets)
        self._beneath = beneath
        self._redactor: Redactor | None = None

    def learn(self, secrets: Iterable[str]) -> bool:
        """Mask these values, too; tell whether one is new."""
        before = len(self._secrets)
        self._secrets.update(secrets)
        is_news = len(self._secrets) > before
        if is_news:
            self._redactor = None
        return is_news

    def fresh(self) -> "Masker":
        """Return a masker of the platform's secrets alone."""
        return Masker(beneath=self._beneath)

    def learn_from(self, other: "Masker") -> bool:
        """Mask what another one masks, too; tell whether something of it is new."""
        return self.learn(other._secrets)  # noqa: SLF001, of its own kind

    def text(self, value: str) -> str:
        """Return the text with every known secret and every known shape of one replaced."""
        return self.redactor().text(value)

    def stream(self) -> Callable[[str], str]:
        """Return what masks the lines of one stream in order, also where a secret is broken over several."""
        return self.redactor().stream()

    def model(self, value: ModelT) -> ModelT:
        """Return a copy of a model in which every text is masked; names of an enumeration stay."""
        copy: ModelT = _walked(value, self.text)
        return copy

    def redactor(self) -> Redactor:
        """Return what masks all that is known by now."""
        if self._redactor is None:
            also = None if self._beneath is None else self._beneath.redactor()
            self._redactor = Redactor(self._secrets, also=also)
        return self._redactor

    def __repr__(self) -> str:
        return "Masker(...)"


def _walked(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else mask(value)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _walked(getattr(value, name), mask) for name in type(value).model_fields})
    if isinstance(value, (list, tuple)):
        return type(value)(_walked(each, mask) for each in value)
    if isinstance(value, dict):
        return {key: _walked(each, mask) for key, each in value.items()}
    return value


_current: ContextVar[Masker | None] = ContextVar("visgate_gateway_masker", default=None)
_shapes_only = Masker()


def begin(platform: Masker, secrets: Iterable[str] = ()) -> Masker:
    """Start masking for one request and return its masker.

    Args:
        platform: Masks the platform's secrets.
        secrets: Those that the request is known to carry.
    """
    masker = Masker(secrets, beneath=platform)
    _current.set(masker)
    return masker


def current() -> Masker:
    """Return the running request's masker; outside one, a masker of known shapes."""
    return _current.get() or _shapes_only


class MaskingFormatter(logging.Formatter):
    """Formats a record, tracebacks included, masks it and makes control characters visible.

    Args:
        platform_secrets: Masked in every record, also outside requests.
    """

    def __init__(self, platform_secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._platform = Masker(platform_secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the masked line or lines."""
        return self.masked(super().format(record))

    def masked(self, text: str) -> str:
        """Return a text without secrets, with control characters made visible."""
        return visible((_current.get() or self._platform).text(text))


def visible(text: str) -> str:
    """Return a text whose control characters are written out, line ends and tabs apart."""
    return text.translate(_CONTROL)

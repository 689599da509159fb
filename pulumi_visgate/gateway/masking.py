"""Masking of everything that leaves the gateway in words: log records, problem details, tunnelled log lines.

Secrets of the platform are known from the start. Those of a request are known while it runs, through a context
variable, and forgotten with it.
"""

import logging
from collections.abc import Iterable
from contextvars import ContextVar

from visgate_contract.redaction import Redactor

MAX_LINE_CHARACTERS = 4_000
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_CONTROL.update({0x2028: "\\u2028", 0x2029: "\\u2029"})


class Masker:
    """Masks a request's secrets and the platform's; builds its patterns only when there is something to mask.

    Args:
        secrets: Values to mask.
    """

    __slots__ = ("_redactor", "_secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = list(secrets)
        self._redactor: Redactor | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these values, too."""
        self._secrets.extend(secrets)
        self._redactor = None

    def text(self, value: str) -> str:
        """Return the text with every known secret and every known shape of one replaced."""
        return self._known().text(value)

    def line(self, value: str) -> str:
        """Return one line of a stream, masked also where a secret is broken over several lines."""
        return self._known().line(value)

    def _known(self) -> Redactor:
        if self._redactor is None:
            self._redactor = Redactor(self._secrets)
        return self._redactor

    def __repr__(self) -> str:
        return "Masker(...)"


_current: ContextVar[Masker | None] = ContextVar("visgate_gateway_masker", default=None)
_shapes_only = Masker()


def begin(platform_secrets: Iterable[str]) -> Masker:
    """Start masking for one request and return its masker."""
    masker = Masker(platform_secrets)
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
        return self._platform.text(current().text(text)).translate(_CONTROL)

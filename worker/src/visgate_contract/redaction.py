"""Masking of secrets: values that are known, and shapes that are never anything else.

Known values are found in clear and in hex, in base64 at every alignment, and in any mixture of URL-, JSON-, Python- and
HTML-escapes, up to three layers of them. Shapes catch what nobody registered.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from html.entities import html5
from urllib.parse import quote, quote_plus

MASK = "[masked]"
MIN_SECRET_LENGTH = 6  # shorter values would mask ordinary words

_LAYERS = 3
_SHAPES = re.compile(
    r"""
      \brpa_[A-Za-z0-9]{16,}            # Runpod API key
    | \bhf_[A-Za-z0-9]{16,}             # Hugging Face token
    | \bwh(?:sec|sk)_[A-Za-z0-9+/=]{16,} # webhook secret, and private key
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b     # AWS access key id
    | (?<=X-Amz-Signature=)[0-9a-f]{64} # the signature of a presigned URL
    | (?<=[Bb]earer\s)[A-Za-z0-9._~+/=-]{12,}
    """,
    re.VERBOSE,
)
_SHAPES_HOLD = ("rpa_", "hf_", "whsec_", "whsk_", "AKIA", "ASIA", "X-Amz-Signature=", "earer")  # found much faster
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")  # the same with every kind of escapes
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_SHARED = 4  # base64 characters next to a whole group that hold bits of the secret, padding included
_ESCAPES = (
    rb"%([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\x([0-9A-Fa-f]{2})|\\(.)|&(#?[0-9A-Za-z]{1,8};)"
)
_ESCAPED = re.compile(_ESCAPES, re.DOTALL)
_ESCAPED_OR_PLUS = re.compile(_ESCAPES + rb"|\+", re.DOTALL)  # in a form, plus is a space
_SIMPLE = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"0": b"\0", b"v": b"\v", b"a": b"\a"}
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)

Span = tuple[int, int]


def _encodings(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield raw.hex()
    yield raw.hex().upper()
    yield from _base64(raw)
    if _PLAIN.fullmatch(secret):
        return
    yield quote(raw, safe="")
    yield quote_plus(raw)
    for is_ascii in (True, False):
        escaped = json.dumps(secret, ensure_ascii=is_ascii)[1:-1]
        yield escaped
        yield json.dumps(escaped, ensure_ascii=is_ascii)[1:-1]  # JSON as a string inside JSON
    yield repr(secret)[1:-1]
    yield secret.encode("unicode_escape").decode()


def _base64(raw: bytes) -> Iterator[str]:
    """Yield what base64 of a longer text that holds the secret has in it: three alignments, whole groups only."""
    for skipped in range(3):
        part = raw[skipped:]
        encoded = base64.b64encode(part[: len(part) // 3 * 3]).decode()
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")


class _Known:
    """Some secrets, in every form that is looked for."""

    __slots__ = ("all", "encoded", "forms", "raw", "spaced")

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH}
        self.raw = sorted((secret.encode("utf-8", "surrogatepass") for secret in known), key=len, reverse=True)
        self.spaced = [raw for raw in self.raw if b" " in raw]
        self.encoded = frozenset(form for raw in self.raw for form in _base64(raw) if len(form) >= MIN_SECRET_LENGTH)
        forms = {form for secret in known for form in _encodings(secret) if len(form) >= MIN_SECRET_LENGTH}
        self.forms = sorted(forms, key=len, reverse=True)
        self.all = "\n\n".join(self.forms)

    def spans(self, value: str) -> Iterator[Span]:
        """Yield where the secrets are."""
        for form in self.forms:
            if form in value:
                for span in _occurrences(value, form):
                    yield self._widened(value, form, span)
        if self.raw and ("%" in value or "\\" in value or "&" in value):
            yield from _escaped_spans(value, self.raw, _ESCAPED)
        if self.spaced and "+" in value:
            yield from _escaped_spans(value, self.spaced, _ESCAPED_OR_PLUS)

    def edges(self, value: str) -> Iterator[Span]:
        """Yield where a line begins or ends with a part of a secret, or is one."""
        if value[:MIN_SECRET_LENGTH] not in self.all and value[-MIN_SECRET_LENGTH:] not in self.all:
            return
        for form in self.forms:
            if MIN_SECRET_LENGTH <= len(value) < len(form) and value in form:
                yield 0, len(value)
                return
            tail = _overlap(value, form)
            if tail >= MIN_SECRET_LENGTH:
                yield len(value) - tail, len(value)
            head = _overlap(form, value)
            if head >= MIN_SECRET_LENGTH:
                yield 0, head

    def continued(self, joined: str, border: int) -> Iterator[Span]:
        """Yield what belongs to a secret that began before the border, relative to the border."""
        may_go_on = joined[-MIN_SECRET_LENGTH:] in self.all
        for form in self.forms:
            if form in joined:
                for begin, end in _occurrences(joined, form):
                    if begin < border < end:
                        yield 0, self._widened(joined, form, (begin, end))[1] - border
            if not may_go_on:
                continue
            tail = _overlap(joined, form)
            if tail >= MIN_SECRET_LENGTH and len(joined) - tail < border:
                yield 0, len(joined) - border

    def _widened(self, value: str, form: str, span: Span) -> Span:
        """Return a span of base64 with its neighbours that are base64, too, since they share bits with it."""
        begin, end = span
        if form in self.encoded:
            while begin > max(0, span[0] - _SHARED) and value[begin - 1] in _BASE64:
                begin -= 1
            while end < min(len(value), span[1] + _SHARED) and value[end] in _BASE64:
                end += 1
        return begin, end


class Redactor:
    """Masks a set of secrets in text.

    Args:
        secrets: Values to mask; those under 6 characters are ignored, as they would mask ordinary words.
        also: Another redactor, whose secrets are masked, too.
    """

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[str] = (), *, also: "Redactor | None" = None) -> None:
        own = _Known(secrets)
        self._known: tuple[_Known, ...] = (own,) if own.forms else ()
        if also is not None:
            self._known += also._known  # noqa: SLF001, of its own kind

    def text(self, value: str) -> str:
        """Return the text with every secret replaced by `[masked]`."""
        return _masked(value, self._spans(value))

    def line(self, value: str) -> str:
        """Return one line of a stream, in which a secret may have been broken over several.

        The line is judged alone: where it begins or ends with a part of a known secret, or is nothing but one, the part
        is masked. Parts of less than 6 characters stay. A `stream` remembers the lines before.
        """
        return _masked(value, self._line_spans(value))

    def stream(self) -> Callable[[str], str]:
        """Return what masks the lines of one stream, in order, remembering those before.

        No line is held back. So of a secret that is broken over lines, at most its first five characters can be seen.
        """
        if not self._known:
            return self.line
        before, longest = "", max(len(known.forms[0]) for known in self._known)

        def line(value: str) -> str:
            nonlocal before
            spans, joined = self._line_spans(value), before + value
            if before:
                spans.extend(span for known in self._known for span in known.continued(joined, len(before)))
            before = joined[-longest:]
            return _masked(value, spans)

        return line

    def _line_spans(self, value: str) -> list[Span]:
        return [*self._spans(value), *(span for known in self._known for span in known.edges(value))]

    def _spans(self, value: str) -> list[Span]:
        spans = [span for known in self._known for span in known.spans(value)]
        if any(part in value for part in _SHAPES_HOLD):
            spans.extend(match.span() for match in _SHAPES.finditer(value))
        return spans

    def __repr__(self) -> str:
        return "Redactor(...)"


def _occurrences(value: str, form: str) -> Iterator[Span]:
    at = value.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = value.find(form, at + 1)


def _overlap(value: str, form: str) -> int:
    """Return the length of the longest end of the value that the form begins with, and that is not all of it.

    Only whether it has 6 characters matters, so what is shorter counts as nothing.
    """
    begins = form[:MIN_SECRET_LENGTH]
    at = value.find(begins, max(0, len(value) - len(form) + 1))
    while at >= 0:
        if form.startswith(value[at:]):
            return len(value) - at
        at = value.find(begins, at + 1)
    return 0


def _masked(value: str, spans: list[Span]) -> str:
    """Return the text with the spans replaced; spans that touch become one."""
    if not spans:
        return value
    parts: list[str] = []
    done = 0
    spans.sort()
    begin, end = spans[0]
    for other_begin, other_end in [*spans[1:], (len(value) + 1, len(value) + 1)]:
        if other_begin <= end:
            end = max(end, other_end)
            continue
        parts += (value[done:begin], MASK)
        done, begin, end = end, other_begin, other_end
    return "".join((*parts, value[done:]))


def _escaped_spans(value: str, secrets: list[bytes], escapes: re.Pattern[bytes]) -> Iterator[Span]:
    """Yield where secrets are written with escapes, in whatever mixture, layer below layer."""
    text = value.encode("utf-8", "surrogatepass")
    origin: list[int] | None = None
    offsets = None if len(text) == len(value) else _character_offsets(value)
    for _ in range(_LAYERS):
        decoded, starts = _decoded(text, escapes)
        if decoded == text:
            return
        origin = starts if origin is None else [origin[at] for at in starts]
        text = decoded
        for secret in secrets:
            at = text.find(secret)
            while at >= 0:
                begin, end = origin[at], origin[at + len(secret)]
                yield (begin, end) if offsets is None else (offsets[begin], offsets[end])
                at = text.find(secret, at + 1)


def _character_offsets(value: str) -> list[int]:
    """Return for each byte of the text in UTF-8, and its end, the character it belongs to."""
    found: list[int] = []
    for number, character in enumerate(value):
        found.extend([number] * len(character.encode("utf-8", "surrogatepass")))
    return [*found, len(value)]


def _decoded(text: bytes, escapes: re.Pattern[bytes]) -> tuple[bytes, list[int]]:
    """Return the text with one layer of escapes taken off, and where each byte, and the end, came from."""
    parts = bytearray()
    starts: list[int] = []
    done = 0
    for match in escapes.finditer(text):
        plain = _plain(match)
        if plain is None:
            continue
        parts += text[done : match.start()]
        starts.extend(range(done, match.start()))
        parts += plain
        starts.extend([match.start()] * len(plain))
        done = match.end()
    parts += text[done:]
    starts.extend(range(done, len(text) + 1))
    return bytes(parts), starts


def _plain(match: re.Match[bytes]) -> bytes | None:
    """Return what an escape stands for, or None when it is none."""
    percent, short, long, hexadecimal, simple, entity = match.groups()
    if percent or hexadecimal:
        return bytes.fromhex((percent or hexadecimal).decode())
    if short or long:
        code = int(short or long, 16)
        if code > _LAST_CHARACTER or code in _SURROGATES:
            return None
        return chr(code).encode()
    if simple:
        return _SIMPLE.get(simple, simple)
    return _entity(entity.decode()) if entity else b" "


def _entity(name: str) -> bytes | None:
    """Return what an HTML entity such as `#39;`, `#x27;` or `amp;` stands for."""
    if not name.startswith("#"):
        found = html5.get(name)
        return None if found is None else found.encode()
    try:
        code = int(name[2:-1], 16) if name[1:2] in {"x", "X"} else int(name[1:-1])
    except ValueError:
        return None
    return None if code > _LAST_CHARACTER or code in _SURROGATES else chr(code).encode()

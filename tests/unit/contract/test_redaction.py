import base64
import html
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visgate_contract.redaction import MASK, Redactor

SECRET = 'p"ss/w\\ör d+%&=\n7'


@pytest.mark.parametrize(
    "encoded",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps({"key": [SECRET]}),
        repr(SECRET),
        SECRET.encode("unicode_escape").decode(),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps({"error": json.dumps({"detail": SECRET})}),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_known_secret_is_masked_in_every_encoding(encoded: str) -> None:
    masked = Redactor([SECRET]).text(f"before {encoded} after")
    assert MASK in masked
    assert masked.startswith("before")
    assert masked.endswith("after")
    assert "w\\" not in masked


@given(prefix=st.binary(max_size=7), suffix=st.binary(max_size=7), url_safe=st.booleans())
def test_base64_of_a_longer_text_that_holds_the_secret_tells_nothing_of_it(
    prefix: bytes, suffix: bytes, url_safe: bool
) -> None:
    secret = b"correct-horse-battery-staple"
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    masked = Redactor([secret.decode()]).text(encode(prefix + secret + suffix).decode())
    before, mask, after = masked.partition(MASK)
    assert mask
    assert prefix.startswith(base64.b64decode(before + "=" * (-len(before) % 4), altchars=b"-_" if url_safe else None))
    rest = base64.b64decode("A" * (-len(after) % 4) + after, altchars=b"-_" if url_safe else None)
    assert not rest or suffix.endswith(rest[-min(len(rest), len(suffix)) :])
    assert secret[-3:] not in rest


# How one character can be written in text of whatever kind.
WAYS: list[Callable[[str], str]] = [
    lambda c: c,
    lambda c: "".join(f"%{byte:02X}" for byte in c.encode()),
    lambda c: "".join(f"%{byte:02x}" for byte in c.encode()),
    lambda c: "".join(f"%25{byte:02X}" for byte in c.encode()),
    lambda c: f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}",
    lambda c: f"\\\\u{ord(c):04X}" if ord(c) < 0x10000 else c,
    lambda c: f"\\x{ord(c):02x}" if ord(c) < 0x80 else c,
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#x{ord(c):x};",
    html.escape,
]


@given(
    st.lists(
        st.tuples(st.characters(codec="utf-8", exclude_characters="%\\&"), st.sampled_from(WAYS)),
        min_size=6,
        max_size=40,
    ),
    st.text("abc =:/", max_size=10),
)
def test_a_secret_is_masked_in_any_mixture_of_escapes(written: list[tuple[str, Any]], around: str) -> None:
    secret = "".join(character for character, _ in written)
    text = "".join(way(character) for character, way in written)
    assert Redactor([secret]).text(f"{around}<{text}>{around}") == f"{around}<{MASK}>{around}" or secret in around * 2


@pytest.mark.parametrize(
    "text", ["100% of \\ and & more", "%zz%", "\\u12", "&nosuch;", "\\ud800\\u", "a+b=c%20", "%", "&#x;"]
)
def test_what_only_looks_like_an_escape_stays(text: str) -> None:
    assert Redactor(["a secret with spaces"]).text(text) == text


@given(st.text(st.characters(codec="utf-8")), st.lists(st.text(min_size=6, max_size=20), max_size=3))
def test_nothing_but_secrets_is_touched(text: str, secrets: list[str]) -> None:
    redactor = Redactor(secrets)
    assert redactor.stream()(text) == redactor.line(text)
    if not any(character in text for character in "".join(secrets) + "%\\&+_=") and not any(map(str.isupper, text)):
        assert redactor.text(text) == text


@given(
    st.text(alphabet=st.characters(codec="utf-8"), min_size=6, max_size=40), st.text(max_size=20), st.text(max_size=20)
)
def test_no_known_secret_survives(secret: str, before: str, after: str) -> None:
    masked = Redactor([secret]).text(before + secret + after)
    assert secret not in masked or secret in MASK


@pytest.mark.parametrize(
    "text",
    [
        "rpa_ABCDEFGHIJKLMNOPQRSTUVWX",
        "hf_abcdefghijklmnopqrstuvwx",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "AKIAIOSFODNN7EXAMPLE",
        f"https://s3/x?X-Amz-Signature={'0f' * 32}&a=b",
        "Authorization: Bearer abcdefgh12345678",
    ],
)
def test_shapes_that_are_always_secret_are_masked(text: str) -> None:
    masked = Redactor().text(text)
    assert MASK in masked
    assert masked != text


@pytest.mark.parametrize("text", ["a red fox", "task_0123", "hf_home", "job_ep_1_ab", "rpa_", "bearer of news"])
def test_ordinary_words_stay(text: str) -> None:
    assert Redactor(["short"[:5], ""]).text(text) == text


def test_the_longest_secret_wins() -> None:
    assert Redactor(["secret-1", "secret-1-and-more"]).text("secret-1-and-more") == MASK


@given(
    st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=12, max_size=60),
    st.lists(st.integers(1, 59), max_size=4),
    st.text(max_size=10),
    st.text(max_size=10),
)
def test_of_a_secret_that_is_broken_over_lines_no_part_is_readable(
    secret: str, breaks: list[int], before: str, after: str
) -> None:
    cuts = [0, *sorted({cut for cut in breaks if cut < len(secret)}), len(secret)]
    parts = [secret[begin:end] for begin, end in pairwise(cuts)]
    lines = [*parts]
    lines[0], lines[-1] = before + lines[0], lines[-1] + after
    redactor = Redactor([secret])
    for part, line in zip(parts, map(redactor.line, lines), strict=True):
        assert len(part) < 6 or part not in line.replace(MASK, "") or part in before + after


# Letters that neither the mask nor what is around the secret has.
GREEK = st.text("αβγδεζηθικλμνξοπ", min_size=12, max_size=60)


@given(GREEK, st.data(), st.booleans())
def test_a_stream_shows_five_characters_at_most_of_a_secret_over_any_number_of_lines(
    secret: str, data: st.DataObject, is_base64: bool
) -> None:
    written = base64.b64encode(secret.encode()).decode() if is_base64 else secret
    cuts = data.draw(st.lists(st.integers(1, len(written) - 1), max_size=len(written), unique=True).map(sorted))
    parts = [written[begin:end] for begin, end in pairwise([0, *cuts, len(written)])]
    stream = Redactor([secret]).stream()
    before = [data.draw(st.sampled_from(["step 1", ""])) for _ in range(data.draw(st.integers(0, 2)))]
    for line in before:
        assert stream(line) == line
    shown = [stream(part) for part in parts]
    # Two bytes at an end can share a group of base64 with something else.
    assert len("".join(shown).replace(MASK, "")) <= (5 + 4 if is_base64 else 5)
    assert stream("and so on") == "and so on"


@given(GREEK, st.integers(0, 5), st.text("abc ", max_size=8), st.text("abc ", max_size=8))
def test_what_is_around_a_broken_secret_stays(secret: str, at: int, before: str, after: str) -> None:
    cut = 6 + at
    stream = Redactor([secret]).stream()
    assert stream(f"{before}={secret[:cut]}") == f"{before}={MASK}"
    assert stream(f"{secret[cut:]}={after}") == f"{MASK}={after}"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("key=hunter2-of", "key=[masked]"),
        ("-the-canary, and more", "[masked], and more"),
        ("er2-of-the", "[masked]"),
        ("a hunter2-shop opens", "a hunter2-shop opens"),  # neither at the end nor at the beginning
        ("hunte", "hunte"),
        ("hunter2-of-the-canary", "[masked]"),
        ("", ""),
    ],
)
def test_only_the_edges_of_a_line_are_looked_at(line: str, shown: str) -> None:
    assert Redactor(["hunter2-of-the-canary"]).line(line) == shown


def test_its_representation_shows_nothing() -> None:
    assert "hunter2!" not in repr(Redactor(["hunter2!"]))

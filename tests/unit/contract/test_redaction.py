import base64
import json
from itertools import pairwise
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


@given(prefix=st.binary(max_size=7), suffix=st.binary(max_size=7))
def test_base64_of_a_longer_text_that_holds_the_secret_is_masked(prefix: bytes, suffix: bytes) -> None:
    secret = "correct-horse-battery-staple"
    encoded = base64.b64encode(prefix + secret.encode() + suffix).decode()
    assert MASK in Redactor([secret]).text(encoded)


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

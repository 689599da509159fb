import base64
import io
import json
import logging
import os
import threading

import pytest

from visgate_worker.logs import MAX_LINE_BYTES, JsonLines, LineWriter, Masker, forward, secrets_of

SECRET = "correct-horse-battery"
MASKER = Masker({"SERVICE_TOKEN": SECRET})


def forwarded(*chunks: bytes) -> list[str]:
    """Return the lines that come out when a process prints these chunks."""
    read_end, write_end = os.pipe()
    out = io.BytesIO()
    with os.fdopen(read_end, "rb") as source:
        pump = threading.Thread(target=forward, args=(source, MASKER, LineWriter(out)))
        pump.start()
        for chunk in chunks:
            os.write(write_end, chunk)
        os.close(write_end)
        pump.join(10)
    return out.getvalue().decode().splitlines()


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "RUNPOD_API_KEY",
        "DB_PASSWORD",
        "MY_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "apikey",
        "Service_Credentials",
    ],
)
def test_values_of_secret_looking_names_are_secrets(name: str) -> None:
    assert list(secrets_of({name: SECRET})) == [SECRET]


@pytest.mark.parametrize("name", ["PATH", "TOKENIZERS_PARALLELISM", "KEYBOARD", "SSH_AUTH_SOCK", "VISGATE_MODEL_ID"])
def test_other_values_are_not(name: str) -> None:
    assert list(secrets_of({name: "an ordinary value"})) == []


def test_each_line_of_a_secret_with_lines_is_masked() -> None:
    masker = Masker({"TLS_KEY": "-----BEGIN-----\nMIIEvAIBADANBg\n-----END-----"})
    assert masker.line(b"leaked MIIEvAIBADANBg here") == "leaked [masked] here"


def test_secrets_are_masked_in_every_line() -> None:
    assert forwarded(f"one {SECRET}\ntwo\n".encode(), base64.b64encode(SECRET.encode())) == [
        "one [masked]",
        "two",
        "[masked]",
    ]


def test_a_secret_that_arrives_in_two_pieces_is_masked() -> None:
    assert forwarded(b"a " + SECRET[:7].encode(), SECRET[7:].encode() + b" b\n") == ["a [masked] b"]


def test_a_secret_that_is_broken_over_two_lines_is_masked() -> None:
    broken = f"a {SECRET[:7]}\n{SECRET[7:]} b\n"
    assert forwarded(broken.encode()) == ["a [masked]", "[masked] b"]


def test_control_characters_cannot_forge_lines_or_colours() -> None:
    assert forwarded(b"a\x1b[2J\x00b\xc2\x85c\xe2\x80\xa8d\n") == ["a\\x1b[2J\\x00b\\x85c\\u2028d"]


def test_a_progress_bar_becomes_lines_and_bad_utf8_does_no_harm() -> None:
    assert forwarded(b"10%\r20%\r\n\xff\n") == ["10%", "20%", "\N{REPLACEMENT CHARACTER}"]


def test_an_endless_line_is_cut_and_a_secret_at_its_cut_does_not_show() -> None:
    for at in range(0, 40, 5):
        start = b"x" * (MAX_LINE_BYTES - at)
        lines = forwarded(start, SECRET.encode(), b"y" * (3 * MAX_LINE_BYTES), b"\nnext\n")
        assert lines[-1] == "next"
        assert lines[0].endswith("[line cut]")
        assert "correct" not in lines[0]
        assert len(lines) == 2


def test_records_are_one_json_object_each_with_the_traceback_inside() -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        import sys

        record = logging.LogRecord("visgate_worker.x", logging.ERROR, "f", 1, "two\nlines %s", ("é",), sys.exc_info())
    text = JsonLines().format(record)
    assert "\n" not in text
    parsed = json.loads(text)
    assert parsed["message"] == "two\nlines é"
    assert parsed["level"] == "ERROR"
    assert "ZeroDivisionError" in parsed["exception"]


def test_a_masked_json_line_is_still_json() -> None:
    line = MASKER.line(json.dumps({"message": f"token {SECRET}"}).encode())
    assert json.loads(line) == {"message": "token [masked]"}


def test_nothing_of_the_masker_shows() -> None:
    assert SECRET not in repr(MASKER)

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.gateway import masking

KEY = "rpa_CANARYKEY0000000000000000000001"
SECRET = "a-secret-without-a-shape-0001"


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    token = masking._current.set(None)
    yield
    masking._current.reset(token)


def record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("test", logging.INFO, __file__, 1, message, values, info)


def test_a_record_is_masked_in_message_values_and_traceback() -> None:
    masking.begin(masking.Masker()).learn([SECRET])
    with pytest.raises(ValueError, match=SECRET) as caught:
        int(SECRET)
    text = masking.MaskingFormatter().format(record("using %s and %r", KEY, {"x": SECRET}, error=caught.value))
    assert KEY not in text
    assert SECRET not in text
    assert "ValueError" in text


def test_platform_secrets_are_masked_outside_requests() -> None:
    assert SECRET not in masking.MaskingFormatter([SECRET]).format(record("x %s", SECRET))


def test_a_line_cannot_forge_another_or_paint_the_terminal() -> None:
    text = masking.MaskingFormatter().format(record("a\rb\x1b[31mc\u2028d\x00"))
    assert not set(text) & set("\r\x1b\u2028\x00")


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=6, max_size=40))
def test_a_learnt_secret_is_masked_in_json(secret: str) -> None:
    masker = masking.Masker()
    assert masker.text("nothing yet") == "nothing yet"
    masker.learn([secret])
    assert masker.text(f"<{secret}>") == "<[masked]>" or secret in "<[masked]>"
    assert json.loads(masker.text(json.dumps([secret]))) in (["[masked]"], [secret.replace(secret, "[masked]")])


def test_a_masker_shows_nothing() -> None:
    assert SECRET not in repr(masking.Masker([SECRET]))

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.gateway.services.tickets import MAX_TOKEN_CHARACTERS, Purpose, Style, Ticket, TicketOffice
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.tasks import Task

SIGNING_KEY = "signing-key-of-the-tests-0123456789"
URL = "https://example.com/hook?password=hunter2"


def ticket(**changes: Any) -> Ticket:
    given: dict[str, Any] = {
        "task_id": "task_" + "0" * 26,
        "user_hash": "a" * 64,
        "endpoint_id": "ep1",
        "model_id": "org/model",
        "webhook_url": URL,
    }
    return Ticket(**{**given, **changes}, task=Task.TEXT2IMG)


def office(*signing_keys: str, **changes: object) -> TicketOffice:
    return TicketOffice(signing_keys or (SIGNING_KEY,), **{"purpose": Purpose.CALLBACK, "ttl_s": 60, **changes})  # type: ignore[arg-type]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_ticket_comes_back_from_any_gateway_with_the_key(url: str) -> None:
    for style in Style:
        sealed = office().seal(ticket(webhook_url=url, style=style))
        assert office().open(sealed) == ticket(webhook_url=url, style=style)


def test_a_token_fits_into_a_url_and_tells_nothing() -> None:
    token = office().seal(ticket())
    assert token.replace("-", "").replace("_", "").isalnum()
    readable = base64.urlsafe_b64decode(token + "==").decode("latin-1")
    for hidden in ("hunter2", "example.com", "a" * 64, "ep1"):
        assert hidden not in token
        assert hidden not in readable
    assert office().seal(ticket()) != token
    assert len(office().seal(ticket(webhook_url="https://" + "x" * 2040))) < MAX_TOKEN_CHARACTERS


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_token_is_refused(position: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(office().seal(ticket()) + "=="))
    raw[position % len(raw)] ^= change
    with pytest.raises(ContractError):
        office().open(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(st.text(max_size=80))
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(ContractError) as refused:
        office().open(text)
    assert refused.value.code is ErrorCode.NOT_FOUND


def test_another_platforms_token_is_refused() -> None:
    with pytest.raises(ContractError):
        office().open(office("another-signing-key-0123456789").seal(ticket()))


def test_a_token_expires() -> None:
    now = time.time()
    token = office(clock=lambda: now).seal(ticket())
    assert office(clock=lambda: now + 59).open(token) == ticket()
    with pytest.raises(ContractError) as refused:
        office(clock=lambda: now + 61).open(token)
    assert "example.com" not in str(refused.value)


def test_nothing_secret_is_in_a_repr() -> None:
    assert "hunter2" not in repr(ticket())
    assert SIGNING_KEY not in repr(office())


def test_after_a_rotation_tickets_of_the_former_key_are_good_and_new_ones_are_of_the_new() -> None:
    former, new = office(), office("another-signing-key-0123456789", SIGNING_KEY)
    assert new.open(former.seal(ticket())) == ticket()
    with pytest.raises(ContractError):
        former.open(new.seal(ticket()))


def test_a_ticket_for_a_ledger_is_none_for_a_callback_and_lives_for_ever() -> None:
    ledgers = office(purpose=Purpose.LEDGER, ttl_s=None, clock=lambda: 0.0)
    sealed = ledgers.seal(ticket())
    assert office(purpose=Purpose.LEDGER, ttl_s=None, clock=lambda: 1e12).open(sealed) == ticket()
    with pytest.raises(ContractError):
        office().open(sealed)

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.signing import (
    JobRef,
    WebhookSigner,
    derive_webhook_key,
    derive_webhook_secret,
    hmac_signature,
    new_task_id,
    task_time,
    tenant_of,
)

KEY = "k" * 24
USER = "a" * 64
SECRET = derive_webhook_secret(KEY, USER)


def test_the_known_vector_of_standard_webhooks() -> None:
    signer = WebhookSigner((hmac_signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),))
    headers = signer.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        timestamp=datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@given(st.text(min_size=24, max_size=60), st.dictionaries(st.text(), st.text(), max_size=3))
def test_the_public_library_verifies_what_is_signed(key: str, content: dict[str, str]) -> None:
    import json

    body = json.dumps(content).encode()
    secret = derive_webhook_secret(key, USER)
    headers = WebhookSigner((hmac_signature(secret),)).headers("msg_1", body, timestamp=datetime.now(UTC))
    assert Webhook(secret).verify(body.decode(), headers) == content


def test_a_secret_is_32_bytes_and_differs_by_user_and_key() -> None:
    assert len(base64.b64decode(SECRET.removeprefix("whsec_"))) == 32
    others = {derive_webhook_secret(KEY, "b" * 64), derive_webhook_secret("j" * 24, USER)}
    assert SECRET not in others
    assert len(others) == 2


def test_a_short_signing_key_is_refused_with_a_way_out() -> None:
    with pytest.raises(ContractError, match=r"signing_key has 9 characters.*openssl") as caught:
        derive_webhook_secret("too short", USER)
    assert "too short" not in str(caught.value)


def test_a_private_key_is_the_tenants_own_and_its_name_does_not_tell_the_hash() -> None:
    tenant = tenant_of(USER)
    key = derive_webhook_key(KEY, tenant)
    assert len(base64.b64decode(key.removeprefix("whsk_"))) == 32
    others = {derive_webhook_key(KEY, tenant_of("b" * 64)), derive_webhook_key("j" * 24, tenant)}
    assert key not in others
    assert len(others) == 2
    assert len(tenant) == 32
    assert tenant not in USER
    # Whoever has the secret, as every receiver does, has not the key.
    assert SECRET.removeprefix("whsec_") != key.removeprefix("whsk_")


@given(
    st.from_regex(r"[A-Za-z0-9_]{1,30}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9-]{1,50}", fullmatch=True),
    st.none() | st.just(new_task_id(datetime(2026, 1, 1, tzinfo=UTC))),
)
def test_a_job_id_gives_back_endpoint_job_and_task(endpoint: str, job: str, task_id: str | None) -> None:
    ref = JobRef(endpoint, job, task_id)
    assert JobRef.parse(ref.job_id(SECRET), SECRET) == ref


@given(st.integers(min_value=0), st.sampled_from("0123456789abcdefXYZ_-"))
def test_a_changed_job_id_is_refused(position: int, letter: str) -> None:
    job_id = JobRef("ep1", "job-1-e1", new_task_id(datetime(2026, 1, 1, tzinfo=UTC))).job_id(SECRET)
    at = position % len(job_id)
    changed = job_id[:at] + letter + job_id[at + 1 :]
    if changed == job_id:
        return
    with pytest.raises(ContractError) as caught:
        JobRef.parse(changed, SECRET)
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_another_users_job_id_is_refused() -> None:
    job_id = JobRef("ep1", "job").job_id(SECRET)
    with pytest.raises(ContractError):
        JobRef.parse(job_id, derive_webhook_secret(KEY, "b" * 64))


def test_task_ids_sort_by_time_and_do_not_repeat() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [new_task_id(start + timedelta(milliseconds=n)) for n in range(50)]
    assert ids == sorted(ids)
    assert len({new_task_id(start) for _ in range(50)}) == 50
    assert all(len(task_id) == len("task_") + 26 for task_id in ids)


@given(st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_task_id_tells_when_it_was_made(made: datetime) -> None:
    assert abs(task_time(new_task_id(made)) - made) < timedelta(milliseconds=2)


@pytest.mark.parametrize("task_id", ["task_", "task_" + "u" * 26, "task_" + "0" * 25, "0" * 27])
def test_what_is_no_task_id_has_no_time(task_id: str) -> None:
    with pytest.raises(ContractError, match="task_id"):
        task_time(task_id)

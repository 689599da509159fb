"""Reading what the engine prints and logs."""

import json
from pathlib import Path

import pytest

from pulumi_visgate.preview.digest import PreviewError, names_of, parse_digest, read_violations, type_of
from tests.unit.preview.conftest import document, step

CANARY = "canary-of-a-state"


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"deployment": {}}', "Previewing update (dev):"])
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(PreviewError, match="no preview"):
        parse_digest(text)


def test_a_form_that_is_not_known_is_named_without_values() -> None:
    with pytest.raises(PreviewError, match=r"steps\.0\.op") as refused:
        parse_digest(json.dumps({"steps": [{"op": [CANARY], "urn": "u"}]}))
    assert CANARY not in str(refused.value) + refused.value.hint


def test_marked_secrets_are_blinded_wherever_they_are() -> None:
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": f'"{CANARY}"'}
    digest = parse_digest(document(step("create", "Endpoint", new={"env": secret, "deep": [{"a": secret}]})))
    state = digest.steps[1].new_state
    assert state is not None
    assert state.inputs == {"env": "[secret]", "deep": [{"a": "[secret]"}]}
    assert CANARY not in repr(digest)


def test_violations_come_from_the_event_log_once_each_and_a_cut_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "events.json"
    event = {"policyName": "p", "enforcementLevel": "mandatory", "message": "why\nwhat", "resourceUrn": "u"}
    lines = [{"sequence": 1, "policyEvent": event}, {"sequence": 2, "policyEvent": event}, {"summaryEvent": {}}]
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"sequence": 4, "policyEvent": {"pol')
    (found,) = read_violations(log)
    assert (found.policy_name, found.mandatory) == ("p", True)
    assert read_violations(tmp_path / "missing") == []


def test_urns_are_taken_apart() -> None:
    urn = "urn:pulumi:dev::shop::visgate:index:Platform$aws:s3/bucket:Bucket::cdn::logs"
    assert names_of(urn) == ("dev", "shop", "cdn::logs")
    assert type_of(urn) == "aws:s3/bucket:Bucket"
    assert names_of("what") == ("", "", "what")
    assert type_of("what") == ""

"""What stands between the engine and the rules."""

from typing import Any

import pytest
from jsonschema import Draft7Validator
from pulumi_policy import ResourceValidationArgs, ResourceValidationPolicy
from pulumi_policy import policy as library
from pulumi_policy.deserialize import deserialize_properties as deserialize
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from pulumi_visgate.policies import policies
from pulumi_visgate.policies._resources import UNKNOWN, Resource, SecretText, keep_secretness
from tests.unit.policy.conftest import OWN

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"


def _validate(name: str, kind: str, props: dict[str, Any], config: dict[str, Any] | None = None) -> list[str]:
    (policy,) = (one for one in policies() if one.name == name)
    assert isinstance(policy, ResourceValidationPolicy)
    options: Any = None
    args = ResourceValidationArgs(OWN + kind, unknown_checking_proxy(props), "urn", "it", options, None, config)
    said: list[str] = []

    def report(message: str, _urn: str | None = None) -> None:
        said.append(message)

    policy.validate(args, report)
    return said


def test_a_policy_reports_what_its_rule_finds() -> None:
    assert _validate("max-workers", "Endpoint", {"max_workers": 3.0}) == []
    assert _validate("max-workers", "Endpoint", {"max_workers": 3.0}, {"maxWorkers": 2.0}) == [
        "Endpoint it: max_workers is 3, above the 2 allowed. Lower it, or raise maxWorkers of this policy."
    ]
    assert _validate("allowed-regions", "NetworkVolume", {"data_center": "X"}, {"allowed": []}) == []


def test_unknown_values_are_marked_and_stop_no_policy() -> None:
    props = {"image": UNKNOWN_STRING_VALUE, "ids": ["a", UNKNOWN_STRING_VALUE], "deep": {"a": UNKNOWN_STRING_VALUE}}
    found = Resource.of("urn", "it", OWN + "Endpoint", unknown_checking_proxy(props))
    assert found.values == {"image": UNKNOWN, "ids": ["a", UNKNOWN], "deep": {"a": UNKNOWN}}
    for policy in policies():
        if isinstance(policy, ResourceValidationPolicy):
            assert _validate(policy.name, "Endpoint", {**props, "env": UNKNOWN_STRING_VALUE}) == []


def test_secrets_stay_marked_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "deserialize_properties", deserialize)
    wire: dict[str, Any] = {
        "env": {SIGNATURE: SECRET, "value": {"A": "x", "B": [{"C": "y"}], "n": 1.0}},
        "image": "z",
    }
    before = deserialize(wire)
    keep_secretness()
    keep_secretness()
    after = library.__dict__["deserialize_properties"](wire)
    assert after == before == {"env": {"A": "x", "B": [{"C": "y"}], "n": 1.0}, "image": "z"}
    assert isinstance(after["env"]["B"][0]["C"], SecretText)
    assert not isinstance(after["image"], SecretText)
    assert not isinstance(before["env"]["A"], SecretText)
    remediated = library.__dict__["deserialize_properties"](wire, True)
    assert remediated["env"]["A"] == "x"


def test_a_library_that_works_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(library, "deserialize_properties")
    with pytest.raises(RuntimeError, match=r"pulumi-policy 1\.21"):
        keep_secretness()


@pytest.mark.parametrize("policy", policies(), ids=lambda policy: policy.name)
def test_settings_have_a_schema_that_takes_their_own_defaults(policy: Any) -> None:
    properties = policy.config_schema.properties
    Draft7Validator.check_schema({"type": "object", "properties": properties})
    assert all(schema["description"] and schema["type"] for schema in properties.values())
    for schema in properties.values():
        if "default" in schema:
            Draft7Validator(schema).validate(schema["default"])

"""How inputs differ, without what nobody may read."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.preview.digest import UNKNOWN, parse_digest
from pulumi_visgate.preview.properties import PropertyChange, property_changes
from tests.unit.preview.conftest import document, step

CANARY = "canary-of-a-value"


def _changes(old: dict[str, Any] | None, new: dict[str, Any] | None, **more: Any) -> list[PropertyChange]:
    op = "create" if old is None else "update"
    return list(property_changes(parse_digest(document(step(op, "Endpoint", old=old, new=new, **more))).steps[1]))


def test_values_are_told_where_they_differ() -> None:
    old = {"image": "a:1", "max_workers": 2, "gpus": ["A"], "same": 1, "tags": {"a": "1", "b": "2"}, "gone": True}
    new = {"image": "a:2", "max_workers": 3.0, "gpus": ["A", "B"], "same": 1, "tags": {"a": "1", "b": "3"}}
    assert _changes(old, new) == [
        PropertyChange("gone", "true", None),
        PropertyChange("gpus", '["A"]', '["A", "B"]'),
        PropertyChange("image", "a:1", "a:2"),
        PropertyChange("max_workers", "2", "3"),
        PropertyChange("tags.b", "2", "3"),
    ]


def test_lists_of_objects_are_compared_one_by_one() -> None:
    old = {"windows": [{"start": "08:00", "end": "18:00"}, {"start": "20:00"}]}
    new = {"windows": [{"start": "09:00", "end": "18:00"}, {"start": "20:00"}]}
    assert _changes(old, new) == [PropertyChange("windows[0].start", "08:00", "09:00")]
    assert [change.path for change in _changes(old, {"windows": [{"start": "09:00"}]})] == ["windows"]


def test_fingerprints_tell_which_variables_change() -> None:
    old = {"env": "[secret]", "env_fingerprints": {"A": "1", "B": "2", "C": "3"}}
    new = {"env": "[secret]", "env_fingerprints": {"A": "1", "B": "9", "D": "4"}}
    assert _changes(old, new) == [PropertyChange("env", note="B changed, D new, C removed (values are secret)")]
    assert [change.note for change in _changes(None, new)] == ["A, B, D new (values are secret)"]
    unknown = {"env": UNKNOWN}
    assert _changes(old, unknown) == [PropertyChange("env", "[secret]", "(known after the update)")]


def test_a_secret_that_changes_is_told_by_the_reason_alone() -> None:
    both = {"password": "[secret]"}
    assert _changes(both, both, diffReasons=["password"]) == [PropertyChange("password", "[secret]", "[secret]")]


def test_reasons_of_a_replacement_are_marked_also_where_only_the_outputs_differ() -> None:
    step_ = step("replace", "NetworkVolume", old={"size_gb": 20}, new={"size_gb": 20}, replaceReasons=["size_gb"])
    step_["oldState"]["outputs"] = {"size_gb": 35}
    (change,) = property_changes(parse_digest(document(step_)).steps[1])
    assert change == PropertyChange("size_gb", "35", "20", replaces=True)


def test_what_is_named_like_a_secret_is_none_of_the_readers_business() -> None:
    for name in ("password", "masterPassword", "api_key", "apiKey", "authToken", "secret_string", "client_secret"):
        changes = _changes({name: CANARY}, {name: CANARY + "2", "deep": [{name: CANARY}]})
        assert CANARY not in json.dumps([(change.old, change.new) for change in changes]), name
        assert PropertyChange(name, "[secret]", "[secret]") in changes
    assert _changes(None, {"token_ttl_s": 5, "secret": ""})[1].new == "5"


def test_notes_and_internals_are_left_out() -> None:
    hidden = {"__provider": "pickle", "owner": "shop/dev/it", "adopt": True, "hourly_floor_usd": 1.0}
    assert _changes(None, {**hidden, "hourly_ceiling_usd": 1.0, "monthly_floor_usd": 1.0}) == []


@given(st.text(min_size=1, max_size=600))
def test_a_value_is_one_bounded_line(value: str) -> None:
    for change in _changes(None, {"image": value}):
        assert change.new is not None
        assert len(change.new.splitlines()) == 1
        assert len(change.new) < 300

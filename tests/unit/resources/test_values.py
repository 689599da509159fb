import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.resources._values import (
    UNKNOWN,
    derived_name,
    fingerprints,
    former_name,
    has_unknown,
    keep_order,
    same,
    without_empty,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_known_value_is_the_same_as_itself_and_has_nothing_unknown(value: object) -> None:
    assert same(value, value)
    assert not has_unknown(value)


@given(JSON)
def test_an_unknown_is_found_at_any_depth_and_never_the_same(value: object) -> None:
    nested = {"a": [value, {"b": UNKNOWN}]}
    assert has_unknown(nested)
    assert not same(nested, nested)


def test_the_api_does_not_tell_empty_values_apart() -> None:
    nothing: tuple[object, ...] = (None, "", [], {}, False)
    for empty in nothing:
        assert same(empty, None)
    assert not same(0, None)
    assert without_empty({"a": None, "b": "", "c": [], "d": {}, "e": False, "f": 0, "g": UNKNOWN}) == {
        "f": 0,
        "g": UNKNOWN,
    }


@given(st.lists(st.integers(), unique=True))
def test_order_counts_only_where_it_says_something(items: list[int]) -> None:
    shuffled = sorted(items, key=lambda item: (item * 7919) % 101)
    assert same(items, shuffled, ordered=False)
    assert same(items, shuffled) == (items == shuffled)
    assert keep_order(shuffled, items) == items


def test_repeated_items_are_not_lost_when_order_does_not_count() -> None:
    assert not same(["a", "a", "b"], ["a", "b", "b"], ordered=False)


@given(st.text(min_size=1), st.text(min_size=1), st.text())
def test_names_depend_on_owner_and_fixed_values_alone(owner: str, other: str, fixed: str) -> None:
    name = derived_name(owner, [fixed])
    assert name == derived_name(owner, [fixed])
    assert (name == derived_name(other, [fixed])) == (owner == other)
    assert derived_name(owner, [fixed, "x"]) != name
    assert len(name) <= 49
    assert name.isascii()


def test_names_are_readable() -> None:
    assert derived_name("visgate/local/Models EU", []).startswith("models-eu-")


def test_a_name_that_loses_nothing_stays_as_it_was() -> None:
    regular = ("visgate/prod/visgate-cache-eu-ro-1", ["EU-RO-1", None])
    assert derived_name(*regular) == former_name(*regular) == "visgate-cache-eu-ro-1-a5f56ab8"
    assert derived_name("visgate/prod/Cache", []) != former_name("visgate/prod/Cache", [])


@pytest.mark.parametrize(
    "resource", ["cache", "Cache", "Models EU", "a" * 41, f"{'a' * 30}-{'b' * 60}", f"{'a' * 39}-b", "-", "Gemälde"]
)
def test_a_name_alone_tells_which_stack_it_is_of(resource: str) -> None:
    name = derived_name(f"visgate/prod/{resource}", ["EU-RO-1"])
    stem = name.rpartition("-")[0]
    assert derived_name(f"visgate/prod/{stem}", ["EU-RO-1"]) == name
    assert derived_name(f"visgate/dev/{stem}", ["EU-RO-1"]) != name


def test_a_fingerprint_changes_with_the_value_and_tells_nothing_without_the_key() -> None:
    env = {"A": "one", "B": "two"}
    before = fingerprints(env, b"key")
    after = fingerprints({**env, "B": "three"}, b"key")
    assert before["A"] == after["A"]
    assert before["B"] != after["B"]
    assert fingerprints(env, b"another key")["A"] != before["A"]
    assert fingerprints({"B": "one"}, b"key")["B"] != before["A"]  # the same value elsewhere does not show

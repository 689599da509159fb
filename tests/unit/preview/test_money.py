"""What is unknown is never taken for nothing."""

import pytest

from pulumi_visgate.preview.digest import State
from pulumi_visgate.preview.money import NOTHING, Price, added, hourly, monthly, price_of, total


def _state(**inputs: object) -> State:
    return State(inputs=inputs)


def test_prices_come_from_the_notes() -> None:
    known = _state(hourly_floor_usd=0, hourly_ceiling_usd=3.5)
    assert price_of("Endpoint", known) == Price(0.0, 3.5)
    assert price_of("aws:Instance", known) == Price(0.0, 3.5)
    assert price_of("aws:Bucket", _state()) is None
    assert price_of("Endpoint", None) is None


@pytest.mark.parametrize("value", ["04da6b54-80e4-46f7-96ec-b56ff0331ba9", None, "[secret]", True, float("nan")])
def test_what_is_no_number_is_unknown(value: object) -> None:
    assert price_of("WarmPool", _state(hourly_floor_usd=value, hourly_ceiling_usd=1.0)) == Price(None, 1.0)
    assert price_of("NetworkVolume", _state()) == Price(None, None)


def test_a_pool_with_windows_is_idle_at_its_average() -> None:
    windows = _state(hourly_floor_usd=0.0, hourly_ceiling_usd=3.3, monthly_floor_usd=730.0)
    assert price_of("WarmPool", windows) == Price(1.0, 3.3)
    later = _state(
        hourly_floor_usd=0.0, hourly_ceiling_usd=3.3, monthly_floor_usd="04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    )
    assert price_of("WarmPool", later) == Price(None, 3.3)


def test_resources_of_aws_have_their_list_prices() -> None:
    acl = price_of("aws:WebAcl", _state(rules=[{}, {}]))
    assert acl == Price(pytest.approx(7 / 730, abs=1e-6), acl.ceiling if acl else None)  # type: ignore[arg-type]
    assert price_of("aws:Bucket", _state()) is None
    assert price_of("aws:Service", _state()) == Price(None, None)


def test_what_is_only_read_or_only_groups_has_no_price() -> None:
    notes = {"hourly_floor_usd": 1.0, "hourly_ceiling_usd": 1.0}
    assert price_of("NetworkVolume", State(inputs=notes, external=True)) is None
    assert price_of("visgate:Platform", State(inputs=notes, custom=False)) is None


def test_sums_name_what_they_lack() -> None:
    found = total([("a", Price(0.1, 0.2)), ("b", Price(None, 0.3)), ("c", None), ("d", Price(0.2, 0.1))])
    assert found.unknown == ("b",)
    assert found.price == Price(pytest.approx(0.3), pytest.approx(0.6))  # type: ignore[arg-type]
    assert total([("a", Price(None, None))]).price == Price(None, None)
    assert total([]).price == NOTHING


def test_one_unknown_change_makes_the_difference_unknown() -> None:
    assert added([(Price(1.0, 2.0), None), (None, Price(0.25, 3.0))]) == Price(-0.75, 1.0)
    assert added([(Price(1.0, None), Price(1.5, 3.0))]) == Price(0.5, None)
    assert added([]) == NOTHING


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0.0, "$0.00"),
        (0.0019, "$0.0019"),
        (1.1, "$1.10"),
        (12.10576, "$12.1058"),
        (1234.5, "$1,234.50"),
        (None, "unknown"),
    ],
)
def test_hours(usd: float | None, text: str) -> None:
    assert hourly(usd) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0.0, "±$0"), (-0.0, "±$0"), (0.001, "+$0.73"), (-0.0048, "-$3.50"), (2.2, "+$1,606"), (None, "unknown")],
)
def test_months(usd: float | None, text: str) -> None:
    assert monthly(usd) == text

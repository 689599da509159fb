"""Scores and what follows from them, over catalogs made by hand and by hypothesis."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.gateway.services import geography, spots
from pulumi_visgate.gateway.services.market import Pool
from pulumi_visgate.gateway.services.preflight import PoolFit
from pulumi_visgate.gateway.services.spots import Spot
from pulumi_visgate.runpod.offers import Offer, Stock
from visgate_contract.fit import Fit

CENTERS = ("EU-RO-1", "EU-CZ-1", "US-TX-3", "AP-JP-1")
GERMANY = geography.of_country("DE")
TEXAS = geography.of_data_center("US-TX-3")


def pool(name: str = "ADA_24", *, price: float = 1.0, stock: Mapping[str, Stock] | None = None) -> Pool:
    if stock is None:
        return Pool(name)
    offer = Offer(name, name, 24, price, max(stock.values(), default=Stock.NONE), stock, 8, {})
    return Pool(name, (offer,), has_stock=True)


def every(level: Stock) -> dict[str, Stock]:
    return dict.fromkeys(CENTERS, level)


def centers(found: tuple[Spot, ...]) -> list[str | None]:
    return [spot.data_center for spot in found]


def test_a_cache_outweighs_everything_else() -> None:
    stock = every(Stock.HIGH) | {"AP-JP-1": Stock.LOW}
    found = spots.spots(
        [PoolFit(pool(stock=stock), Fit.WHOLE)], CENTERS, volumes={"AP-JP-1": "vol1"}, near=GERMANY, store=GERMANY
    )
    assert found[0].data_center == "AP-JP-1"
    assert found[0].volume_id == "vol1"


def test_a_cache_without_a_gpu_is_no_place() -> None:
    stock = every(Stock.LOW) | {"EU-RO-1": Stock.NONE}
    found = spots.spots([PoolFit(pool(stock=stock), Fit.WHOLE)], CENTERS, volumes={"EU-RO-1": "vol1"})
    assert found[-1].data_center == "EU-RO-1"
    assert not found[-1].is_possible
    first, *_ = spots.attempts(found, CENTERS, volumes={"EU-RO-1": "vol1"})
    assert "EU-RO-1" not in first.data_center_ids
    assert first.volume_ids == ()


def test_near_wins_where_all_else_is_equal() -> None:
    fits = [PoolFit(pool(stock=every(Stock.HIGH)), Fit.WHOLE)]
    for near, order in ((GERMANY, "EU-CZ-1"), (TEXAS, "US-TX-3"), (geography.of_country("KR"), "AP-JP-1")):
        assert spots.spots(fits, CENTERS, volumes={}, near=near)[0].data_center == order


def test_an_endpoint_runs_in_all_near_places_and_then_anywhere() -> None:
    volumes = {"EU-RO-1": "v1", "EU-CZ-1": "v2", "US-TX-3": "v3"}
    found = spots.spots([PoolFit(pool(stock=every(Stock.HIGH)), None)], CENTERS, volumes=volumes, near=GERMANY)
    near, cached, plain, *_ = spots.attempts(found, CENTERS, volumes=volumes)
    assert set(near.data_center_ids) == {"EU-RO-1", "EU-CZ-1"}
    assert set(near.volume_ids) == {"v1", "v2"}
    assert set(cached.data_center_ids) == set(volumes)
    assert (plain.data_center_ids, plain.volume_ids) == (("AP-JP-1",), ())


def test_distance_decides_nothing_while_stock_is_not_known() -> None:
    found = spots.spots([PoolFit(pool(), None)], CENTERS, volumes={}, near=GERMANY)
    assert set(spots.attempts(found, CENTERS, volumes={})[0].data_center_ids) == set(CENTERS)


def test_pools_that_hold_a_model_whole_leave_out_those_that_hold_its_parts() -> None:
    fits = [
        PoolFit(pool("SMALL_16", price=0.5, stock=every(Stock.HIGH)), Fit.BY_PARTS),
        PoolFit(pool("LARGE_48", price=2.0, stock=every(Stock.LOW)), Fit.WHOLE),
        PoolFit(pool("TINY_8", price=0.1, stock=every(Stock.HIGH)), Fit.NO),
    ]
    first, *_ = spots.attempts(spots.spots(fits, CENTERS, volumes={}), CENTERS, volumes={})
    assert first.pools == ("LARGE_48",)


def test_cheaper_pools_come_first_among_equals() -> None:
    fits = [PoolFit(pool(name, price=price, stock=every(Stock.HIGH)), None) for name, price in (("A", 2.0), ("B", 1.0))]
    first, *_ = spots.attempts(spots.spots(fits, CENTERS, volumes={}), CENTERS, volumes={})
    assert first.pools == ("B", "A")


def test_anywhere_is_one_place() -> None:
    (found,) = spots.spots([PoolFit(pool(stock=every(Stock.LOW)), None)], (), volumes={})
    assert (found.data_center, found.stock) == (None, Stock.LOW)
    assert spots.attempts((found,), (), volumes={})[0].data_center_ids == ()


stocks = st.dictionaries(st.sampled_from(CENTERS), st.sampled_from(Stock))
fits = st.lists(
    st.builds(
        lambda name, stock, price, fit: PoolFit(pool(name, price=price, stock=stock), fit),
        st.sampled_from(["A_16", "B_24", "C_48"]),
        stocks,
        st.floats(0.1, 10),
        st.sampled_from([*Fit, None]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda entry: entry.pool.id,
)
volumes = st.dictionaries(st.sampled_from(CENTERS), st.sampled_from(["v1", "v2", "v3"]))


@given(fits, volumes, st.sampled_from([GERMANY, TEXAS, None]))
def test_cache_and_gpu_end_in_one_place_whenever_that_is_possible(
    entries: list[PoolFit], held: dict[str, str], near: geography.Point | None
) -> None:
    found = spots.spots(entries, CENTERS, volumes=held, near=near, store=TEXAS)
    first, *_ = spots.attempts(found, CENTERS, volumes=held)
    if any(spot.is_possible and spot.volume_id for spot in found):
        assert set(first.data_center_ids) <= set(held)
        assert set(first.volume_ids) == {held[center] for center in first.data_center_ids}


@given(fits, volumes, st.sampled_from([GERMANY, TEXAS, None]))
def test_scores_add_up_and_attempts_can_be_sent(
    entries: list[PoolFit], held: dict[str, str], near: geography.Point | None
) -> None:
    found = spots.spots(entries, CENTERS, volumes=held, near=near, store=TEXAS)
    assert len(found) == len(CENTERS) * len(entries)
    possible = [spot.is_possible for spot in found]
    assert possible == sorted(possible, reverse=True)
    for spot in found:
        assert spot.score == round(sum(reason.points for reason in spot.reasons), 1)
        others = sum(reason.points for reason in spot.reasons if reason.term != "cache")
        assert 0 <= others < spots.CACHE
        assert all(reason.detail for reason in spot.reasons)
    tried = spots.attempts(found, CENTERS, volumes=held)
    assert len(set(tried)) == len(tried)
    for attempt in tried:
        assert attempt.pools
        assert {held[center] for center in attempt.data_center_ids if center in held} == set(attempt.volume_ids)

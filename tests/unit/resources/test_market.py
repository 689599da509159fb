"""Whether a plan finds a place, over catalogs made by hand and by hypothesis."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.resources._market import ALTERNATIVES, Wish, allowed_centers, assess
from pulumi_visgate.runpod.models.catalog import CpuType, GpuType
from pulumi_visgate.runpod.offers import Offer, Stock, cpu_group, cpu_offers, gpu_offers

CENTERS = ("EU-CZ-1", "EU-RO-1", "US-KS-2", "US-TX-3", "AP-JP-1")


def offer(
    group: str,
    stock: Mapping[str, Stock],
    *,
    id_: str = "",
    memory_gb: float = 24,
    usd: float | None = 0.69,
    cuda: Mapping[str, bool] | None = None,
    max_count: int = 8,
) -> Offer:
    anywhere = max(stock.values(), default=Stock.NONE)
    return Offer(id_ or f"card of {group}", group, memory_gb, usd, anywhere, stock, max_count, cuda or {})


CATALOG = [
    offer("ADA_24", {"EU-RO-1": Stock.NONE, "US-KS-2": Stock.HIGH, "EU-CZ-1": Stock.LOW}, usd=1.1),
    offer("AMPERE_24", {"EU-RO-1": Stock.MEDIUM}, usd=0.69),
    offer("AMPERE_48", {"EU-RO-1": Stock.HIGH, "AP-JP-1": Stock.LOW}, usd=1.22, memory_gb=48),
    offer("ADA_48_PRO", {"EU-RO-1": Stock.HIGH}, usd=1.9, memory_gb=48),
    offer("AMPERE_16", {"EU-RO-1": Stock.HIGH}, usd=0.3, memory_gb=16),
]


def test_a_plan_without_stock_names_the_field_and_the_best_alternatives_first() -> None:
    finding = assess(Wish(("ADA_24",), centers=("EU-RO-1",)), CATALOG)
    assert finding is not None
    assert (finding.property, finding.placeable) == ("data_center_ids", False)
    assert finding.reason == (
        "nothing of ADA_24 is in stock in EU-RO-1. Other data centers: US-KS-2 (HIGH), EU-CZ-1 (LOW). "
        "Other GPU pools there: AMPERE_48 (48 GB, HIGH, $1.22 an hour), ADA_48_PRO (48 GB, HIGH, $1.90 an hour), "
        "AMPERE_24 (24 GB, MEDIUM, $0.69 an hour)."
    )


def test_low_stock_is_placeable_and_only_better_places_are_named() -> None:
    finding = assess(Wish(("ADA_24",), centers=("EU-CZ-1",)), CATALOG)
    assert finding is not None
    assert finding.placeable
    assert finding.reason == (
        "there is only LOW stock of ADA_24 in EU-CZ-1, so workers may have to wait. Other data centers: US-KS-2 (HIGH)."
    )


def test_near_data_centers_come_first_among_equals() -> None:
    stock = dict.fromkeys(("CA-MTL-3", "EU-CZ-1", "EUR-IS-1", "US-KS-2"), Stock.HIGH)
    regions = {"CA-MTL-3": "NORTH_AMERICA", "EU-CZ-1": "EUROPE", "EUR-IS-1": "EUROPE", "EU-RO-1": "EUROPE"}
    finding = assess(Wish(("A",), centers=("EU-RO-1",)), [offer("A", stock)], regions=regions)
    assert finding is not None
    assert "Other data centers: EU-CZ-1 (HIGH), EUR-IS-1 (HIGH), CA-MTL-3 (HIGH)." in finding.reason


def test_a_volume_binds_to_data_centers_with_storage() -> None:
    wish = Wish(("ADA_24",), centers=("EU-RO-1",), limited_by="network_volume_ids")
    finding = assess(wish, CATALOG, stores=["EU-CZ-1", "EU-RO-1"])
    assert finding is not None
    assert finding.property == "network_volume_ids"
    assert "Other data centers: EU-CZ-1 (LOW)." in finding.reason
    nowhere = assess(Wish(("ADA_24",), centers=(), limited_by="network_volume_ids"), CATALOG)
    assert nowhere is not None
    assert nowhere.reason == "none of the network volumes is in one of data_center_ids."


def test_a_pool_that_is_gone_everywhere_is_itself_to_blame() -> None:
    finding = assess(Wish(("B",)), [offer("B", {}), offer("C", {"EU-RO-1": Stock.LOW})])
    assert finding is not None
    assert finding.property == "gpu_pools"
    assert finding.reason == ("nothing of B is in stock anywhere. Other GPU pools: C (24 GB, LOW, $0.69 an hour).")
    alone = assess(Wish(("B",)), [offer("B", {})])
    assert alone is not None
    assert alone.reason.endswith("Nothing better with as much memory is in stock.")


def test_excluded_types_do_not_count() -> None:
    both = [offer("A", {"EU-RO-1": Stock.HIGH}, id_="good"), offer("A", {}, id_="gone")]
    assert assess(Wish(("A",), excluded=frozenset({"gone"})), both) is None
    finding = assess(Wish(("A",), excluded=frozenset({"good"})), both)
    assert finding is not None
    assert finding.property == "gpu_pools"


def test_too_many_gpus_for_a_machine_is_told_apart_from_stock() -> None:
    catalog = [offer("A", {"EU-RO-1": Stock.HIGH}), offer("B", {"EU-RO-1": Stock.HIGH}, max_count=10)]
    finding = assess(Wish(("A",), count=10), catalog)
    assert finding is not None
    assert finding.property == "gpus_per_worker"
    assert finding.reason == (
        "no machine of A has 10 GPUs; the largest has 8. Other GPU pools: B (24 GB, HIGH, $0.69 an hour)."
    )


def test_cuda_versions_are_compared_as_numbers() -> None:
    catalog = [offer("A", {"EU-RO-1": Stock.HIGH}, cuda={"12.2": True, "12.11": True, "13.0": False})]
    assert assess(Wish(("A",), min_cuda="12.10"), catalog) is None
    assert assess(Wish(("A",), cuda_versions=("12.2",)), catalog) is None
    finding = assess(Wish(("A",), min_cuda="13.0"), catalog)
    assert finding is not None
    assert finding.property == "min_cuda_version"
    assert finding.reason.startswith("no machine of A with CUDA 13.0 or newer is free; those with 12.2, 12.11 are.")
    exact = assess(Wish(("A",), cuda_versions=("12.4", "13.0")), catalog)
    assert exact is not None
    assert exact.property == "allowed_cuda_versions"


def test_cuda_is_not_to_blame_for_a_pool_without_any_machine() -> None:
    finding = assess(Wish(("A",), min_cuda="12.4"), [offer("A", {}, cuda={"12.4": False})])
    assert finding is not None
    assert finding.property == "gpu_pools"
    silent = [offer("A", {"EU-RO-1": Stock.HIGH})]  # the catalog does not know the versions of these machines
    assert assess(Wish(("A",), min_cuda="12.4"), silent) is None


def test_levels_of_a_later_catalog_do_not_cry_wolf() -> None:
    told = {"id": "x", "name": "x", "pool": "A", "manufacturer": "NVIDIA", "memory": 24, "secure": True}
    told |= {"community": True, "price": {"secure": 1, "community": 1, "serverless": 2.0}}
    told |= {"maxCount": {"secure": 8, "community": 4}, "availability": "PLENTY"}
    [found] = gpu_offers([GpuType.model_validate(told)], 2)
    assert (found.anywhere, found.usd_per_hour, found.max_count) == (Stock.MEDIUM, 4.0, 8)
    assert gpu_offers([GpuType.model_validate(told | {"pool": None})], 1) == []


def test_cpus_are_offered_in_the_size_that_is_asked_for() -> None:
    told = {"id": "cpu5c", "name": "c", "group": "Gen 5", "vcpu": {"min": 2, "max": 8}, "ramGbPerVcpu": 2.5}
    told |= {"price": {"securePerVcpu": 0.03, "serverlessPerVcpu": 0.04}, "availability": "NONE"}
    types = [CpuType.model_validate(told)]
    [found] = cpu_offers(types, 4)
    assert (found.group, found.memory_gb, found.usd_per_hour) == ("cpu5c with 4 vCPUs", 10, 0.16)
    assert cpu_offers(types, 16) == []
    better = Offer("cpu3c", cpu_group("cpu3c", 4), 16, 0.2, Stock.HIGH, {})
    finding = assess(Wish((found.group,), named_by="cpus"), [found, better])
    assert finding is not None
    assert finding.property == "cpus"
    assert finding.reason.endswith("Other CPUs: cpu3c with 4 vCPUs (16 GB, HIGH, $0.20 an hour).")


STOCK = st.dictionaries(st.sampled_from(CENTERS), st.sampled_from(Stock))
OFFERS = st.lists(
    st.builds(
        lambda group, number, stock, memory, usd, most: offer(
            group, stock, id_=f"{group}-{number}", memory_gb=memory, usd=usd, max_count=most
        ),
        st.sampled_from("ABCDEFG"),
        st.integers(0, 3),
        STOCK,
        st.sampled_from([16, 24, 48, 80]),
        st.one_of(st.none(), st.floats(0.1, 9)),
        st.integers(1, 8),
    ),
    min_size=1,
    max_size=12,
)
WISHES = st.builds(
    lambda groups, count, centers: Wish(tuple(groups), count=count, centers=centers),
    st.lists(st.sampled_from("ABCDEFG"), min_size=1, max_size=3, unique=True),
    st.integers(1, 8),
    st.one_of(st.none(), st.lists(st.sampled_from(CENTERS), min_size=1, unique=True).map(tuple)),
)


def level(offers: list[Offer], centers: tuple[str, ...] | None) -> Stock:
    return max((o.stock[c] for o in offers for c in centers or CENTERS if c in o.stock), default=Stock.NONE)


@given(WISHES, OFFERS)
def test_it_warns_exactly_when_no_allowed_place_has_more_than_low_stock(wish: Wish, offers: list[Offer]) -> None:
    asked = [o for o in offers if o.group in wish.groups]
    there = level([o for o in asked if o.max_count is not None and o.max_count >= wish.count], wish.centers)
    finding = assess(wish, offers)
    assert (finding is not None) == (bool(asked) and there <= Stock.LOW)
    if finding is not None:
        assert finding.placeable == (there == Stock.LOW)


@given(WISHES, OFFERS)
def test_every_alternative_is_better_than_what_was_asked_for(wish: Wish, offers: list[Offer]) -> None:
    finding = assess(wish, offers)
    if finding is None:
        return
    fitting = [o for o in offers if o.max_count is not None and o.max_count >= wish.count]
    asked = [o for o in fitting if o.group in wish.groups]
    now = level(asked, wish.centers)
    _, _, centers = finding.reason.partition("Other data centers: ")
    named = [part.split(" ")[0] for part in centers.partition(".")[0].split(", ") if part]
    assert len(named) <= ALTERNATIVES
    levels = [level(asked, (center,)) for center in named]
    assert levels == sorted(levels, reverse=True)
    assert all(found > now for found in levels)
    for group in "ABCDEFG":
        if f"{group} (" in finding.reason:
            members = [o for o in fitting if o.group == group]
            assert group not in wish.groups
            assert level(members, wish.centers) > now
            assert min(o.memory_gb for o in members) >= min(o.memory_gb for o in offers if o.group in wish.groups)


@given(
    st.one_of(st.none(), st.lists(st.sampled_from(CENTERS))), st.one_of(st.none(), st.lists(st.sampled_from(CENTERS)))
)
def test_workers_run_where_all_that_is_known_allows_it(wanted: list[str] | None, volumes: list[str] | None) -> None:
    allowed = allowed_centers(wanted, volumes)
    for center in CENTERS:
        may = (wanted is None or center in wanted) and (volumes is None or center in volumes)
        assert may == (allowed is None or center in allowed)

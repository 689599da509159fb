import pytest

from pulumi_visgate.gateway.services import geography
from pulumi_visgate.gateway.services.geography import Point

BERLIN = Point(52.5, 13.4)


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        (Point(48.86, 2.35), Point(51.51, -0.13), 344),  # Paris to London
        (Point(40.71, -74.01), Point(-33.87, 151.21), 15_990),  # New York to Sydney
        (Point(0.0, 179.9), Point(0.0, -179.9), 22),  # over the date line
        (BERLIN, BERLIN, 0),
    ],
)
def test_distances_are_those_of_an_atlas(one: Point, other: Point, km: float) -> None:
    assert one.km_to(other) == other.km_to(one) == pytest.approx(km, abs=max(5, km * 0.005))


@pytest.mark.parametrize(
    ("data_center", "country", "km"),
    [
        ("EU-RO-1", "RO", 0),
        ("EUR-IS-1", "IS", 0),
        ("AP-JP-1", "JP", 0),
        ("US-TX-3", "US", 2_500),
        ("CA-MTL-3", "CA", 600),
        ("OC-AU-1", "AU", 0),
        ("US-CA-2", "US", 4_000),  # California, not Canada
    ],
)
def test_data_centers_lie_where_their_ids_say(data_center: str, country: str, km: float) -> None:
    where, about = geography.of_data_center(data_center), geography.of_country(country)
    assert where is not None
    assert about is not None
    assert where.km_to(about) == pytest.approx(km, abs=500)
    assert where.name == data_center


@pytest.mark.parametrize("unknown", ["XX-YY-1", "EU", "", "US-ZZ-1"])
def test_what_an_id_does_not_say_is_not_known(unknown: str) -> None:
    assert geography.of_data_center(unknown) is None


def test_every_region_of_a_store_is_somewhere() -> None:
    for region in geography._STORES:
        assert geography.of_store(region) is not None, region
    assert geography.of_store("auto") is None


@pytest.mark.parametrize(
    ("headers", "near"),
    [
        ({"cloudfront-viewer-latitude": "52.5", "cloudfront-viewer-longitude": "13.4"}, "EU-CZ-1"),
        ({"cloudfront-viewer-country": "DE"}, "EU-CZ-1"),
        ({"cf-ipcountry": "jp"}, "AP-JP-1"),
        ({"cf-ipcountry": "BR", "cloudfront-viewer-country": "US"}, "US-TX-3"),
    ],
)
def test_a_caller_is_where_the_cdn_says(headers: dict[str, str], near: str) -> None:
    caller = geography.of_caller(headers)
    assert caller is not None
    centers = {name: geography.of_data_center(name) for name in ("EU-CZ-1", "AP-JP-1", "US-TX-3", "OC-AU-1")}
    assert min(centers, key=lambda name: caller.km_to(centers[name] or BERLIN)) == near


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cf-ipcountry": "XX"},
        {"cf-ipcountry": "T1"},
        {"cf-ipcountry": "../../etc"},
        {"cloudfront-viewer-latitude": "nan", "cloudfront-viewer-longitude": "1"},
        {"cloudfront-viewer-latitude": "91", "cloudfront-viewer-longitude": "1"},
        {"cloudfront-viewer-latitude": "inf", "cloudfront-viewer-longitude": "-inf"},
        {"cloudfront-viewer-latitude": "north", "cloudfront-viewer-longitude": "east"},
        {"cloudfront-viewer-latitude": "1"},
    ],
)
def test_nonsense_is_nowhere(headers: dict[str, str]) -> None:
    assert geography.of_caller(headers) is None

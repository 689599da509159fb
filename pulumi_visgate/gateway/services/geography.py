"""Where things are: callers, data centers and artifact stores, as points on the globe.

Countries lie where the IANA time zone database puts their main city (`zone.tab`, in the public domain). Data centers
say their country, or their state, in their ids. It is about which of several places is nearer, so a few hundred
kilometres do not matter.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

EARTH_KM = 6371.0
# A CDN in front tells where a request came from: CloudFront by point and country, Cloudflare by country.
LATITUDE, LONGITUDE = "cloudfront-viewer-latitude", "cloudfront-viewer-longitude"
COUNTRIES = ("cloudfront-viewer-country", "cf-ipcountry")

_ZONE = re.compile(r"^([A-Z]{2})\t([+-])(\d{2})(\d{2})(?:\d{2})?([+-])(\d{3})(\d{2})(?:\d{2})?\t(\S+)", re.M)
# Where the first zone of a country is far from where most of its people live.
_MAIN_ZONES = {"Australia/Sydney", "America/Sao_Paulo", "America/Toronto", "Europe/Moscow", "America/Santiago"}

# Middles of states and cities that Runpod's ids name instead of a country.
_STATES: Mapping[str, tuple[float, float]] = {
    "AL": (32.8, -86.8), "AZ": (34.3, -111.7), "AR": (34.8, -92.4), "CA": (37.2, -119.5), "CO": (39.0, -105.5),
    "CT": (41.6, -72.7), "DE": (39.0, -75.5), "FL": (28.6, -82.4), "GA": (32.6, -83.4), "IA": (42.1, -93.5),
    "ID": (44.4, -114.6), "IL": (40.0, -89.2), "IN": (39.9, -86.3), "KS": (38.5, -98.4), "KY": (37.5, -85.3),
    "LA": (31.1, -92.0), "MA": (42.3, -71.8), "MD": (39.0, -76.8), "ME": (45.4, -69.2), "MI": (44.3, -85.4),
    "MN": (46.3, -94.3), "MO": (38.4, -92.5), "MS": (32.7, -89.7), "MT": (47.1, -109.6), "NC": (35.6, -79.4),
    "ND": (47.4, -100.5), "NE": (41.5, -99.8), "NH": (43.7, -71.6), "NJ": (40.2, -74.7), "NM": (34.4, -106.1),
    "NV": (39.3, -116.6), "NY": (42.9, -75.5), "OH": (40.3, -82.8), "OK": (35.6, -97.5), "OR": (43.9, -120.6),
    "PA": (40.9, -77.8), "RI": (41.7, -71.6), "SC": (33.9, -80.9), "SD": (44.4, -100.2), "TN": (35.9, -86.4),
    "TX": (31.5, -99.3), "UT": (39.3, -111.7), "VA": (37.5, -78.9), "VT": (44.1, -72.7), "WA": (47.4, -120.4),
    "WI": (44.6, -89.7), "WV": (38.6, -80.6), "WY": (43.0, -107.6),
}  # fmt: skip
_CITIES: Mapping[str, tuple[float, float]] = {"MTL": (45.5, -73.6), "TOR": (43.7, -79.4), "VAN": (49.3, -123.1)}
# Regions of S3 by what they are in: a state, a city or a country.
_STORES: Mapping[str, str] = {
    "us-east-1": "US-VA", "us-east-2": "US-OH", "us-west-1": "US-CA", "us-west-2": "US-OR", "ca-central-1": "CA-MTL",
    "ca-west-1": "CA-VAN", "mx-central-1": "MX", "sa-east-1": "BR", "eu-west-1": "IE", "eu-west-2": "GB",
    "eu-west-3": "FR", "eu-central-1": "DE", "eu-central-2": "CH", "eu-north-1": "SE", "eu-south-1": "IT",
    "eu-south-2": "ES", "il-central-1": "IL", "me-south-1": "BH", "me-central-1": "AE", "af-south-1": "ZA",
    "ap-south-1": "IN", "ap-south-2": "IN", "ap-east-1": "HK", "ap-northeast-1": "JP", "ap-northeast-2": "KR",
    "ap-northeast-3": "JP", "ap-southeast-1": "SG", "ap-southeast-2": "AU", "ap-southeast-3": "ID",
    "ap-southeast-4": "AU", "ap-southeast-5": "MY", "ap-southeast-7": "TH",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """A point on the globe.

    Args:
        latitude: Degrees north.
        longitude: Degrees east.
        name: What is there, for people.
    """

    latitude: float
    longitude: float
    name: str = ""

    def km_to(self, other: "Point") -> float:
        """Return the distance along the surface, in kilometres (haversine formula)."""
        one, two = math.radians(self.latitude), math.radians(other.latitude)
        east = math.radians(other.longitude - self.longitude)
        chord = math.sin((two - one) / 2) ** 2 + math.cos(one) * math.cos(two) * math.sin(east / 2) ** 2
        return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, chord)))


def of_country(code: str) -> Point | None:
    """Return where a country is.

    Args:
        code: ISO 3166-1 alpha-2, upper case.
    """
    return _countries().get(code)


@lru_cache(maxsize=1024)
def of_data_center(data_center: str) -> Point | None:
    """Return where a Runpod data center is, such as `EU-RO-1` or `US-TX-3`; None when its id does not say."""
    return _within(data_center, data_center)


def of_store(region: str) -> Point | None:
    """Return where a region of S3 is; None for stores that have none, such as `auto`."""
    code = _STORES.get(region)
    return _within(code if "-" in code else f"-{code}", region) if code else None


def of_caller(headers: Mapping[str, str]) -> Point | None:
    """Return where a request came from, as the CDN in front of the gateway tells; None without one.

    A caller can send these headers too, which changes nothing but the place of that caller's own worker.

    Args:
        headers: Of the request, case-insensitive.
    """
    latitude, longitude = headers.get(LATITUDE), headers.get(LONGITUDE)
    if latitude and longitude:
        try:
            point = Point(float(latitude), float(longitude), "your place")
        except ValueError:
            point = Point(math.nan, math.nan)
        if abs(point.latitude) <= 90 and abs(point.longitude) <= 180:  # noqa: PLR2004, degrees
            return point
    for name in COUNTRIES:
        if (code := headers.get(name)) and (found := of_country(code.upper())):
            return found
    return None


def _within(place: str, name: str) -> Point | None:
    area, _, rest = place.partition("-")
    code = rest.partition("-")[0]
    found = _STATES.get(code) if area == "US" else _CITIES.get(code)
    if found is not None:
        return Point(*found, name)
    country = of_country(code)
    return Point(country.latitude, country.longitude, name) if country else None


@cache
def _countries() -> Mapping[str, Point]:
    table = files("tzdata").joinpath("zoneinfo/zone.tab").read_text(encoding="utf-8")
    found: dict[str, Point] = {}
    for code, north, degrees, minutes, east, more_degrees, more_minutes, zone in _ZONE.findall(table):
        if code not in found or zone in _MAIN_ZONES:
            latitude = float(f"{north}1") * (int(degrees) + int(minutes) / 60)
            longitude = float(f"{east}1") * (int(more_degrees) + int(more_minutes) / 60)
            found[code] = Point(latitude, longitude, code)
    return found

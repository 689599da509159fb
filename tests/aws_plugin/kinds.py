"""What a resource type of AWS is to the plugin, and what all of them share."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

Values = dict[str, Any]
REGION = "eu-central-1"
GONE = re.compile(r"NotFound|NoSuch|NonExistent|DoesNotExist|ResourceNotFound|404")


class Aws:
    """Clients for the one endpoint that there is."""

    def __init__(self) -> None:
        self.endpoint = os.environ["AWS_ENDPOINT_URL"]
        self.region = os.environ.get("AWS_REGION", REGION)
        self.account = "123456789012"

    @cache  # noqa: B019, one object for the life of the plugin
    def client(self, service: str, region: str | None = None) -> Any:
        """Return a client that waits for so long and no longer."""
        config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
        return boto3.client(  # type: ignore[call-overload]  # the name is a variable
            service, region_name=region or self.region, endpoint_url=self.endpoint, config=config
        )


Create = Callable[[Aws, Values], tuple[str, Values]]
Read = Callable[[Aws, str, Values], Values | None]
Update = Callable[[Aws, str, Values], Values]
Delete = Callable[[Aws, str, Values], None]


@dataclass(frozen=True)
class Kind:
    """One resource type.

    Args:
        create: Makes it and returns its id and what is known of it besides its inputs.
        delete: Ends it; one that is gone already is fine.
        read: Returns what has changed of its outputs, or None when it is gone.
        update: Changes it and returns what is known of it then; every change makes a new one when left out.
        named: Input that is made up when the program leaves it out.
        fixed: Inputs whose change makes a new one.
        takes_back: It is ended before its replacement is made.
    """

    create: Create
    delete: Delete
    read: Read
    update: Update | None = None
    named: str | None = None
    fixed: frozenset[str] = field(default_factory=frozenset)
    takes_back: bool = False


KINDS: dict[str, Kind] = {}


def gone(error: ClientError) -> bool:
    """Say whether an error means that there is nothing."""
    return bool(GONE.search(error.response["Error"]["Code"]))


def of_put(
    put: Callable[[Aws, Values], str],
    get: Callable[[Aws, Values], Any],
    remove: Callable[[Aws, Values], Any],
    *,
    fixed: tuple[str, ...] = (),
) -> Kind:
    """Return a kind that is written as a whole: to make and to change it is the same call."""

    def create(aws: Aws, values: Values) -> tuple[str, Values]:
        return put(aws, values), {}

    def update(aws: Aws, _id: str, values: Values) -> Values:
        put(aws, values)
        return {}

    def read(aws: Aws, _id: str, values: Values) -> Values | None:
        observed = get(aws, values)
        return observed if isinstance(observed, dict) and observed.pop("__observed", False) else {}

    def delete(aws: Aws, _id: str, values: Values) -> None:
        remove(aws, values)

    return Kind(create, delete, read, update, fixed=frozenset(fixed), takes_back=True)


def recorded(*, named: str | None = None, **told: Callable[[str], Any]) -> Kind:
    """Return a kind that moto does not have: it is in the state alone.

    Args:
        named: Input that is made up.
        told: Outputs as functions of the id.
    """

    def outs(id_: str) -> Values:
        return {key: of(id_) for key, of in told.items()}

    def create(_aws: Aws, values: Values) -> tuple[str, Values]:
        id_ = str(values.get(named or "", "")) or f"recorded-{abs(hash(str(values))):x}"
        return id_, outs(id_)

    return Kind(
        create,
        delete=lambda _aws, _id, _values: None,
        read=lambda _aws, _id, _values: {},
        update=lambda _aws, id_, _values: outs(id_),
        named=named,
    )


def pascal(value: Any) -> Any:
    """Return a structure with names as the API has them: `metricName` is `MetricName`."""
    if isinstance(value, Mapping):
        return {_pascal(key): pascal(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [pascal(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _pascal(key: str) -> str:
    return (key[0].upper() + key[1:]).replace("CloudwatchMetrics", "CloudWatchMetrics").replace("Arns", "ARNs")


def tag_list(values: Values) -> list[dict[str, str]]:
    """Return tags as most services want them."""
    return [{"Key": key, "Value": value} for key, value in sorted((values.get("tags") or {}).items())]

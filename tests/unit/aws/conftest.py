"""The resource graph of target aws, made by the real program against Pulumi's mocks, with pulumi-aws's own classes."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks, rpc

from pulumi_visgate import InferencePlatform

ACCOUNT = "123456789012"
REGION = "eu-central-1"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
KEY = "rpa_AWSTESTAWSTESTAWSTEST"
KEY_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:visgate/runpod-Ab12Cd"
SIGNING_KEY = "a-signing-key-of-many-characters"
WINDOW = {"start": "09:00", "end": "18:00", "timezone": "Europe/Berlin"}
MODEL = {"model_id": "acme/tiny", "source": "/models/tiny", "policy": "scheduled_warm", "windows": [WINDOW]}
GATEWAY = {
    "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/gateway@sha256:0",
    "alarm_email": "ops@acme.example",
    "monthly_budget_usd": 200.0,
    "runpod_hourly_limit_usd": 20.0,
}
NAMED = {"domain": "api.acme.example", "zone_id": "Z123"}
PLATFORM: dict[str, Any] = {
    "regions": ["EU-RO-1"],
    "gpu_pools": ["ADA_24"],
    "models": [MODEL],
    "image": "acme/worker:1",
    "target": "aws",
    "cors_origins": ["https://app.acme.example"],
    "tags": {"team": "pictures"},
    "aws": {
        "cdn": {"versioning": True, "signed_links": True, "expire_prefix_days": {"artifacts/": 30}},
        "gateway": GATEWAY,
        "runpod_key_secret_arn": KEY_SECRET,
        "reaper": {"delete": False},
    },
}


@dataclass(frozen=True)
class Made:
    """One resource that the program has made."""

    kind: str
    name: str
    inputs: Mapping[str, Any]
    request: Any

    def __getitem__(self, key: str) -> Any:
        return plain(self.inputs.get(key))

    def holds_secret(self, key: str) -> bool:
        """Say whether an input, or a part of it, was handed over as a secret."""
        return rpc._special_secret_sig in json.dumps(self.inputs.get(key), default=str)


class Graph:
    """Every resource of a program."""

    def __init__(self, made: list[Made]) -> None:
        self.made = made

    def of(self, kind: str) -> list[Made]:
        """Return the resources of a kind, such as `s3.Bucket`."""
        package, _, name = kind.rpartition(".")
        return [
            one
            for one in self.made
            if one.kind.endswith(f"/{name[0].lower()}{name[1:]}:{name}") and one.kind.startswith(f"aws:{package}/")
        ]

    def one(self, kind: str, containing: str = "") -> Made:
        """Return the only resource of a kind whose name contains something."""
        [found] = [one for one in self.of(kind) if containing in one.name]
        return found

    @property
    def aws(self) -> list[Made]:
        """Everything that is in AWS."""
        return [one for one in self.made if one.kind.startswith("aws:")]


def plain(value: Any) -> Any:
    """Return a value with what is secret in the clear."""
    if isinstance(value, dict):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return plain(value["value"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


_RECORD = {
    "resourceRecordName": "_x.acme.example",
    "resourceRecordType": "CNAME",
    "resourceRecordValue": "_y.acm-validations.aws",
}
# What the program reads of a kind, besides ARN and name.
_TOLD: dict[str, dict[str, Any]] = {
    "Bucket": {
        "bucket": "{name}",
        "arn": "arn:aws:s3:::{name}",
        "bucketRegionalDomainName": "{name}.s3.{region}.amazonaws.com",
    },
    "Distribution": {"domainName": "{name}.cloudfront.net", "hostedZoneId": "Z2FDTNDATAQYW2"},
    "FunctionUrl": {"functionUrl": "https://{name}.lambda-url.{region}.on.aws/"},
    "SecretVersion": {"versionId": "v1"},
    "Repository": {"repositoryUrl": f"{REGISTRY}/{{name}}"},
    "ContainerImage": {"ref": f"{REGISTRY}/{{name}}@sha256:1"},
    "Certificate": {"domainValidationOptions": [_RECORD]},
    "LoadBalancer": {"dnsName": "lb.internal", "arnSuffix": "app/lb/1"},
    "TargetGroup": {"arnSuffix": "targetgroup/tg/1"},
    "ServerlessCache": {"endpoints": [{"address": "cache.internal", "port": 6379}]},
    "WarmPool": {"hourly_floor_usd": 0.0, "hourly_ceiling_usd": 0.0, "monthly_floor_usd": 803.0},
    "NetworkVolume": {"hourly_floor_usd": 0.0, "hourly_ceiling_usd": 0.0},
    "ModelCache": {"prefix": "models/"},
}


class Cloud(mocks.Mocks):
    """Answers as AWS would where the program reads what it answers."""

    def __init__(self) -> None:
        self.inputs: dict[tuple[str, str], dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.inputs[args.typ, args.name] = args.inputs
        service = args.typ.split("/")[0].removeprefix("aws:")
        region = args.inputs.get("region", REGION)
        arn = f"arn:aws:{service}:{region}:{ACCOUNT}:{args.name}"
        told: dict[str, Any] = {"arn": arn, "name": args.name, "region": region, "value": SIGNING_KEY}
        told |= {
            key: value.replace("{name}", args.name).replace("{region}", region) if isinstance(value, str) else value
            for key, value in _TOLD.get(args.typ.rpartition(":")[2], {}).items()
        }
        return f"id-of-{args.name}", {**told, **plain(args.inputs)}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        known: dict[str, dict[str, Any]] = {
            "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": ["a", "b", "c"]},
            "aws:ec2/getManagedPrefixList:getManagedPrefixList": {"id": "pl-cloudfront"},
        }
        return known[args.token], []


class Monitor(mocks.MockMonitor):
    def RegisterResource(self, request: Any) -> Any:  # noqa: N802, named by the protocol
        self.requests[request.type, request.name] = request
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]  # pulumi's own

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.requests: dict[tuple[str, str], Any] = {}


Build = Callable[[Callable[[], Any]], Graph]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, pulumi_loop: None) -> Build:
    """Run a program and return what it has made."""
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    for name in ("RUNPOD_API_URL", "VISGATE_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)

    def run(program: Callable[[], Any]) -> Graph:
        cloud = Cloud()
        monitor = Monitor(cloud)
        mocks.set_mocks(cloud, project="p", stack="s", monitor=monitor)
        pulumi.runtime.test(lambda: pulumi.Output.from_input(program()))()  # type: ignore[no-untyped-call]  # pulumi's own
        return Graph(list(_all(cloud, monitor)))

    return run


def _all(cloud: Cloud, monitor: Monitor) -> Iterator[Made]:
    for (kind, name), inputs in cloud.inputs.items():
        yield Made(kind, name, inputs, monitor.requests[kind, name])


def platform(**changes: Any) -> Callable[[], InferencePlatform]:
    """Return a program with the whole platform; `gateway` and `cdn` change those parts."""
    aws = dict(PLATFORM["aws"])
    for part in ("gateway", "cdn"):
        if part in changes:
            aws[part] = {**aws[part], **changes.pop(part)}
    return lambda: InferencePlatform("p", {**PLATFORM, "aws": aws, **changes})  # type: ignore[typeddict-item]  # built above


VARIANTS: dict[str, dict[str, Any]] = {
    "lambda": {},
    "lambda with a name": {"gateway": NAMED, "cdn": {"domain": "cdn.acme.example", "zone_id": "Z123"}},
    "fargate": {"gateway": {"compute": "fargate", "shared_limits": True, **NAMED}},
    "own images": {"image": None, "gateway": {"image": None}},
}
_GRAPHS: dict[str, Graph] = {}


@pytest.fixture
def graph_of(build: Build) -> Callable[[str], Graph]:
    """Return the graph of a variant; each is made once."""

    def graph(variant: str) -> Graph:
        if variant not in _GRAPHS:
            _GRAPHS[variant] = build(platform(**VARIANTS[variant]))
        return _GRAPHS[variant]

    return graph


@pytest.fixture
def on_lambda(graph_of: Callable[[str], Graph]) -> Graph:
    return graph_of("lambda")


@pytest.fixture
def on_fargate(graph_of: Callable[[str], Graph]) -> Graph:
    return graph_of("fargate")


@pytest.fixture
def on_own_images(graph_of: Callable[[str], Graph]) -> Graph:
    return graph_of("own images")


@pytest.fixture(params=list(VARIANTS))
def every(request: pytest.FixtureRequest, graph_of: Callable[[str], Graph]) -> Graph:
    """Each variant in turn."""
    return graph_of(request.param)

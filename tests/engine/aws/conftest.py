"""The prod stack, the real engine, a plugin `aws` of the tests, and moto's server as the AWS account."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import yaml

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from tests.conftest import CHECKOUT, PROGRAM
from tests.contract.gateway_image import command, unpacked
from tests.engine.aws.processes import Starts
from tests.engine.conftest import Stack, until

REGION = "eu-central-1"
ACCOUNT = "123456789012"
WORKER_IMAGE = "tests/uploading-worker:1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-aws-secret-key",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Account:
    """An AWS account, as somebody with a console sees it."""

    url: str
    environment: dict[str, str] = field(repr=False)

    def client(self, service: str, region: str = REGION) -> Any:
        """Return a client of the account."""
        return boto3.client(  # type: ignore[call-overload]  # the name is a variable
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="somebody",
            aws_secret_access_key="else",
        )

    def variables(self, function: str) -> dict[str, str]:
        """Return the environment that a function would start with."""
        [name] = [one for one in self.functions() if one.startswith(function) and one[len(function)] == "-"]
        found = self.client("lambda").get_function_configuration(FunctionName=name)
        variables: dict[str, str] = found["Environment"]["Variables"]
        return variables

    def functions(self) -> list[str]:
        """Return the names of all functions."""
        return [found["FunctionName"] for found in self.client("lambda").list_functions()["Functions"]]


@pytest.fixture(scope="session")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """moto's server, which takes seconds to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path_factory.mktemp("moto") / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/moto-api/", trust_env=False).is_success
            except httpx.HTTPError:
                return False

        until(answers, "moto's server", deadline_s=60)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def aws(moto_url: str) -> Account:
    """An empty account."""
    httpx.post(f"{moto_url}/moto-api/reset", trust_env=False).raise_for_status()
    return Account(moto_url, {**CREDENTIALS, "AWS_ENDPOINT_URL": moto_url})


@pytest.fixture
def prod(environment: dict[str, str], aws: Account, tmp_path: Path) -> Stack:
    """The stack `prod` of this repository, in a folder of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in PROGRAM:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    python_path = [str(CHECKOUT / ".venv" / "pulumi-aws"), str(CHECKOUT)]
    plugin = CHECKOUT / "tests" / "aws_plugin" / "bin"
    stack = Stack(
        folder,
        {
            **environment,
            **aws.environment,
            "PATH": f"{plugin}{os.pathsep}{environment['PATH']}",
            "PYTHONPATH": os.pathsep.join(python_path),
            "PYTHONWARNINGS": "ignore",
            "COLUMNS": "160",
        },
    )
    stack.run("stack", "init", "prod")
    return stack


def configure(stack: Stack, **config: Any) -> None:
    """Write the configuration of stack prod."""
    keys = {f"visgate:{key}": value for key, value in config.items()} | {"aws:region": REGION}
    file = stack.folder / "stacks" / "Pulumi.prod.yaml"
    known = yaml.safe_load(file.read_text()) if file.exists() else {}
    file.write_text(yaml.safe_dump({**known, "config": keys}))


@pytest.fixture
def gateway_image(tmp_path: Path) -> Starts:
    """The gateway's image, with packages of this environment."""
    (tmp_path / "image").mkdir()
    return partial(command, unpacked(tmp_path / "image"))


@pytest.fixture
def key_secret(aws: Account, runpod_emulator: RunpodEmulator) -> str:
    """The secret with the account's Runpod key, made by hand as the guide says."""
    made = aws.client("secretsmanager").create_secret(Name="visgate/runpod", SecretString=runpod_emulator.key)
    arn: str = made["ARN"]
    return arn


@pytest.fixture
def zone(aws: Account) -> str:
    """The team's Route 53 zone."""
    made = aws.client("route53").create_hosted_zone(Name="acme.example", CallerReference="once")
    id_: str = made["HostedZone"]["Id"].rpartition("/")[2]
    return id_


def statements(document: str | dict[str, Any]) -> list[dict[str, Any]]:
    """Return the statements of a policy."""
    found: list[dict[str, Any]] = (json.loads(document) if isinstance(document, str) else document)["Statement"]
    return found

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.registry import CreateRegistry
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume

Visgate = Callable[..., int]

SECRET = "canary-of-an-environment-variable"
ENCRYPTED = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:encrypted"}
# Keeps a log of its arguments, and of what it is told to encrypt.
PULUMI = """#!/bin/sh
echo "$*" >> "$PULUMI_LOG"
case "$1 $2" in
"stack --show-name") [ -z "$NO_STACK" ] && echo dev || { echo "error: no stack selected" >&2; exit 255; };;
"stack export") echo '{"deployment": {"resources": '"${OWNED:-[]}"'}}';;
"config set")
  cat >> "$PULUMI_LOG.stdin"
  [ -n "$LOCKED" ] && { echo "error: passphrase must be set; key is $RUNPOD_API_KEY" >&2; exit 255; }
  [ -n "$ELSEWHERE" ] || printf 'config:\\n  acme:%s:\\n    secure: v1:encrypted\\n' "$6" > settings/Pulumi.dev.yaml;;
esac
"""


@pytest.fixture
def account(
    visgate: Visgate,
    runpod_emulator: RunpodEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RunpodClient]:
    for name, value in runpod_emulator.env.items():
        monkeypatch.setenv(name, value)
    with RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as client:
        yield client


@pytest.fixture
def endpoint(account: RunpodClient) -> str:
    wanted: dict[str, Any] = {
        "name": "sd",
        "type": "QUEUE",
        "image": "acme/worker:1",
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "gpu": {"pools": ["ADA_24"]},
        "env": {"TOKEN": SECRET},
    }
    return account.create_endpoint(CreateEndpoint.model_validate(wanted)).id


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in this folder, and a `pulumi` that only takes note."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "settings").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: acme\nruntime: python\nstackConfigDir: settings\n")
    program = tmp_path / "bin" / "pulumi"
    program.write_text(PULUMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_secrets_go_through_a_pipe_and_come_back_encrypted(
    visgate: Visgate, endpoint: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visgate("import") == 0
    told = capsys.readouterr()
    assert json.loads(log.with_suffix(".stdin").read_text()) == {"TOKEN": SECRET}
    [entry] = json.loads(Path("import.json").read_text())["resources"]
    assert (entry["type"], entry["name"], entry["id"]) == ("pulumi-python:dynamic/visgate:Endpoint", "sd", endpoint)
    for values in (entry["inputs"], entry["outputs"]):
        assert values["env"] == ENCRYPTED
        assert values["owner"] == "acme/dev/sd"
        assert values["__provider"]
    assert 'config.require_secret_object("sd-env")' in Path("__main__.py").read_text()
    assert endpoint in told.out
    assert "pulumi import --file import.json" in told.err
    for text in (told.out, told.err, log.read_text(), Path("import.json").read_text(), Path("__main__.py").read_text()):
        assert SECRET not in text


@pytest.mark.usefixtures("account", "log")
def test_an_empty_account_writes_nothing(visgate: Visgate, capsys: pytest.CaptureFixture[str]) -> None:
    assert visgate("import") == 0
    assert "There is nothing to import." in capsys.readouterr().err
    assert not Path("import.json").exists()


@pytest.mark.usefixtures("endpoint")
def test_files_are_only_overwritten_when_that_is_said(
    visgate: Visgate, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("__main__.py").write_text("mine")
    assert visgate("import") == 1
    assert "__main__.py would be overwritten" in capsys.readouterr().err
    assert not log.exists()
    assert visgate("import", "--program", "more.py") == 0
    assert Path("__main__.py").read_text() == "mine"
    assert "Endpoint(" in Path("more.py").read_text()
    assert visgate("import", "--force") == 0
    assert "Endpoint(" in Path("__main__.py").read_text()


def test_a_project_and_a_stack_are_made(visgate: Visgate, account: RunpodClient, log: Path) -> None:
    account.create_network_volume(CreateNetworkVolume(name="models", size=10, data_center="EU-RO-1"))
    assert visgate("import", "-o", "my infra", "--stack", "acme/prod") == 0
    assert Path("my infra/Pulumi.yaml").read_text() == "name: my-infra\nruntime: python\n"
    assert "stack select --create acme/prod" in log.read_text()
    [entry] = json.loads(Path("my infra/import.json").read_text())["resources"]
    assert entry["inputs"]["owner"] == "my-infra/prod/models"
    assert "config" not in Path("my infra/__main__.py").read_text()


@pytest.mark.usefixtures("endpoint")
def test_without_a_stack_it_says_how_to_name_one(
    visgate: Visgate, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_STACK", "yes")
    for folder in (".", "elsewhere"):
        assert visgate("import", "-o", folder) == 1
        assert "No stack is selected" in capsys.readouterr().err
    assert not Path("elsewhere/Pulumi.yaml").exists()
    assert not log.with_suffix(".stdin").exists()


@pytest.mark.usefixtures("endpoint", "log")
@pytest.mark.parametrize("trouble", ["LOCKED", "ELSEWHERE"])
def test_what_pulumi_refuses_is_told_and_nothing_is_written(
    visgate: Visgate,
    runpod_emulator: RunpodEmulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trouble: str,
) -> None:
    said = {"LOCKED": "passphrase must be set", "ELSEWHERE": "does not hold"}[trouble]
    monkeypatch.setenv(trouble, "yes")
    assert visgate("import") == 1
    told = capsys.readouterr()
    assert said in told.err
    assert not any(secret in told.out + told.err for secret in (SECRET, runpod_emulator.key))
    assert not Path("import.json").exists()
    assert not Path("__main__.py").exists()


@pytest.mark.usefixtures("endpoint")
def test_without_pulumi_it_says_so(
    visgate: Visgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visgate("import", "--stack", "dev") == 1
    assert "pulumi is not installed" in capsys.readouterr().err


@pytest.mark.usefixtures("log")
def test_without_a_key_nothing_is_made(
    visgate: Visgate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert visgate("import", "-o", "new", "--stack", "dev") == 1
    assert "RUNPOD_API_KEY" in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.mark.usefixtures("log")
def test_what_the_stack_has_already_stays_out(
    visgate: Visgate,
    endpoint: str,
    account: RunpodClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = {"name": "ghcr", "username": "u", "password": "canary-of-a-password"}
    account.create_registry(CreateRegistry.model_validate(wanted))
    urn = "urn:pulumi:dev::acme::pulumi-python:dynamic/visgate:Endpoint::mine"
    monkeypatch.setenv("OWNED", json.dumps([{"urn": urn, "id": endpoint}, {"urn": urn}]))
    assert visgate("import") == 0
    told = capsys.readouterr()
    assert "the stack has it already" in told.out
    assert "never shows its user and password" in told.out
    monkeypatch.setenv("OWNED", json.dumps([{"urn": urn, "id": endpoint, "external": True}]))
    assert visgate("import", "--only", "endpoint", "--name", "s?") == 0
    told = capsys.readouterr()
    assert "ghcr" not in told.out
    assert len(json.loads(Path("import.json").read_text())["resources"]) == 1

"""`visgate local` as a person uses it."""

import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import members
from pulumi_visgate.local.state import CloudState


def parts(stack: Any) -> dict[str, dict[str, Any]]:
    shown = stack.run("visgate", "local", "status", "--json", check=False).stdout
    return {part["name"]: part for part in json.loads(shown)}


@pytest.fixture
def cloud(empty_project: Any) -> Any:
    empty_project.run("visgate", "local", "up")
    return empty_project


def test_from_up_to_purge(empty_project: Any) -> None:
    stack = empty_project
    assert "never been started" in stack.run("visgate", "local", "status", check=False).stdout
    assert "not running" in stack.run("visgate", "local", "env", check=False).stdout

    assert "is up." in stack.run("visgate", "local", "up").stdout
    first = parts(stack)
    assert {part["state"] for part in first.values()} == {"running"}
    assert set(first) == {"s3", "emulator", "host"}

    assert "up already" in stack.run("visgate", "local", "up").stdout
    assert parts(stack) == first

    down = stack.run("visgate", "local", "down").stdout
    assert "No process is left" in down
    assert "kept: logs" in down
    assert members(stack.home) == []
    assert stack.run("visgate", "local", "status", check=False).returncode == 3
    assert "was not running" in stack.run("visgate", "local", "down").stdout

    stack.run("visgate", "local", "up")
    assert {name: part["url"] for name, part in parts(stack).items()} == {
        name: part["url"] for name, part in first.items()
    }
    assert "kept" not in stack.run("visgate", "local", "down", "--purge").stdout
    assert not Home(stack.home).local.exists()


def test_everything_private_is(cloud: Any) -> None:
    home = Home(cloud.home)
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    for file in (home.cloud_file, home.env_file, *home.logs.glob("*.log")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    state = CloudState.running(home)
    logs = b"".join(file.read_bytes() for file in home.logs.iterdir())
    commands = "\n".join(" ".join(process.cmdline()) for process in members(home.root))
    assert len(members(home.root)) >= 3
    for secret in (*state.secrets(), cloud.key):
        assert secret.encode() not in logs
        assert secret not in commands
    assert cloud.key not in home.env_file.read_text()


@pytest.mark.parametrize("name", ["s3", "emulator", "host"])
def test_a_part_that_was_killed_is_started_again(cloud: Any, name: str) -> None:
    before = parts(cloud)
    os.kill(before[name]["pid"], signal.SIGKILL)
    assert f"repaired: {name}" in cloud.run("visgate", "local", "up").stdout
    after = parts(cloud)
    assert {part["state"] for part in after.values()} == {"running"}
    assert after[name]["url"] == before[name]["url"]
    others = set(before) - {name}
    assert all(after[other] == before[other] for other in others)


def test_a_pid_that_somebody_else_has_now_is_left_alone(cloud: Any) -> None:
    home = Home(cloud.home)
    cloud.run("visgate", "local", "down")
    state = CloudState.load(home)
    assert state is not None
    mine = {"pid": os.getpid(), "started": 1000.0}
    stale = state.model_dump(mode="json") | {"processes": dict.fromkeys(("s3", "emulator", "host"), mine)}
    home.cloud_file.write_text(json.dumps(stale))
    assert "was not running" in cloud.run("visgate", "local", "down").stdout
    assert "is up" in cloud.run("visgate", "local", "up").stdout


def test_a_port_that_is_taken_is_not_fought_for(cloud: Any) -> None:
    port = int(parts(cloud)["emulator"]["url"].rpartition(":")[2])
    cloud.run("visgate", "local", "down")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        shown = cloud.run("visgate", "local", "up").stdout
        assert "emulator" in shown.split("have new ones")[1]
        assert {part["state"] for part in parts(cloud).values()} == {"running"}


def test_a_home_that_was_deleted_leaves_no_process_for_ever(cloud: Any) -> None:
    home = Home(cloud.home)
    home.cloud_file.unlink()
    assert len(members(home.root)) >= 3
    cloud.run("visgate", "local", "down")
    assert members(home.root) == []


def test_a_missing_program_is_said_with_the_way_to_it(empty_project: Any) -> None:
    only = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    failed = empty_project.run("visgate", "local", "up", check=False, VISGATE_TOOLCHAIN="path", PATH=only)
    assert failed.returncode == 1
    assert "make setup" in failed.stdout
    assert members(empty_project.home) == []


def test_the_cdn_serves_published_buckets_of_the_real_store(cloud: Any) -> None:
    told = cloud.cloud()
    s3 = boto3.client(
        "s3",
        endpoint_url=told["VISGATE_S3_ENDPOINT"],
        aws_access_key_id=told["VISGATE_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=told["VISGATE_S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    s3.create_bucket(Bucket="pictures")
    s3.put_object(Bucket="pictures", Key="a/0.png", Body=b"0123456789", ContentType="image/png")
    link = f"{told['VISGATE_CDN_URL']}/pictures/a/0.png"
    with httpx.Client(trust_env=False) as http:
        assert http.get(link).status_code == 404
        headers = {"authorization": f"Bearer {told['VISGATE_HOST_TOKEN']}"}
        http.put(f"{told['VISGATE_HOST_URL']}/buckets/pictures", headers=headers).raise_for_status()
        whole = http.get(link)
        assert (whole.content, whole.headers["content-type"]) == (b"0123456789", "image/png")
        part = http.get(link, headers={"range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        assert part.headers["content-range"] == "bytes 2-4/10"
        head = http.head(link)
        assert (head.status_code, head.headers["content-length"]) == (200, "10")
        assert http.get(link, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
        assert http.get(f"{told['VISGATE_CDN_URL']}/pictures/a/1.png").status_code == 404


def test_the_store_wants_its_credentials(cloud: Any) -> None:
    told = cloud.cloud()
    stranger = boto3.client(
        "s3",
        endpoint_url=told["VISGATE_S3_ENDPOINT"],
        aws_access_key_id="stranger",
        aws_secret_access_key="stranger",
        region_name="us-east-1",
    )
    with pytest.raises(ClientError):
        stranger.list_buckets()

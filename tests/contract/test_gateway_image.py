"""What the gateway's image holds: enough to serve, and neither Pulumi nor torch."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.contract.gateway_image import PIN, unpacked

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "pulumi_visgate/gateway/image/requirements.lock"
SETTINGS = {
    "signing_key": "signing-key-of-the-image-tests",
    "image": "acme/worker:1",
    "gpu_pools": ["ADA_24"],
    "bucket": "artifacts",
    "s3_endpoint": "https://s3.test",
    "s3_access_key_id": "id",
    "s3_secret_access_key": "secret",
    "cdn_base_url": "https://cdn.test",
}
HINT = "`make lock` writes it anew."


def test_the_pins_are_those_of_the_workspace_each_with_hashes() -> None:
    text = LOCK.read_text()
    locked: dict[str, set[str]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        locked.setdefault(package["name"], set()).add(package.get("version", ""))
    pins = PIN.findall(text)
    assert [name for name, version, _ in pins if version not in locked[name]] == [], HINT
    assert text.count("--hash=sha256:") > len(pins)
    assert "://" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["gateway"]
    wanted = {re.split(r"[><=\[]", one)[0] for one in project}
    assert wanted <= {name for name, _, _ in pins}, HINT
    assert not {"torch", "pulumi", "pulumi-aws", "grpcio", "diffusers", "runpod"} & {name for name, _, _ in pins}


def test_what_is_in_the_image_serves_and_upkeeps_alone(tmp_path: Path) -> None:
    site = unpacked(tmp_path)
    code = (
        f"import sys, json; sys.path.append({str(site)!r})\n"
        "import asyncio, pulumi_visgate.gateway.__main__, pulumi_visgate.upkeep.__main__\n"
        "from pulumi_visgate.gateway.app import create_app\n"
        "from pulumi_visgate.gateway.settings import Settings\n"
        f"app = create_app(Settings(**{SETTINGS!r}))\n"
        "async def start_and_end():\n"
        "    async with app.router.lifespan_context(app):\n"
        "        pass\n"
        "asyncio.run(start_and_end())\n"
        "from importlib.metadata import version\n"
        "print(json.dumps([version('pulumi-visgate'), sorted({'pulumi', 'torch', 'grpc'} & set(sys.modules))]))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    own_version, heavy = json.loads(done.stdout)
    assert heavy == []
    assert own_version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_dockerfile_runs_as_nobody_special_and_holds_no_value(tmp_path: Path) -> None:
    text = (ROOT / "pulumi_visgate/gateway/image/Dockerfile").read_text()
    final = text.rpartition("\nFROM ")[2]
    assert "USER visgate" in final
    assert '"pulumi_visgate.gateway"' in final
    assert "/opt/extensions/lambda-adapter" in final
    assert not re.search(r"(?i)^(ARG|ENV).*(key|secret|token|password)", text, re.MULTILINE)

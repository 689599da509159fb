import subprocess
import sys

import pytest

HEAVY = ("pulumi", "torch", "diffusers", "boto3", "botocore", "visgate_worker", "pulumi_visgate.resources", "runpod")


@pytest.mark.contract
@pytest.mark.parametrize("module", ["pulumi_visgate.gateway", "pulumi_visgate.gateway.__main__"])
def test_the_gateway_starts_without_heavy_modules(module: str) -> None:
    script = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


@pytest.mark.contract
def test_missing_settings_are_named_once_each() -> None:
    env = {"VISGATE_GATEWAY_SIGNING_KEY": "too-short-canary"}
    done = subprocess.run(
        [sys.executable, "-m", "pulumi_visgate.gateway"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=env,
    )
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert {line.partition(":")[0] for line in lines} == {
        "VISGATE_GATEWAY_SIGNING_KEY",
        "VISGATE_GATEWAY_IMAGE",
        "VISGATE_GATEWAY_GPU_POOLS",
        "VISGATE_GATEWAY_BUCKET",
    }
    assert "canary" not in done.stderr

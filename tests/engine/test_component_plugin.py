"""Components in a program of another language, through the plugin and the real engine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from visgate_contract.names import model_slug

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "components" / "pulumi-resource-visgate"
PROGRAM = """\
name: pictures
runtime: yaml
resources:
  cache:
    type: visgate:index:GeoRoutedCache
    properties:
      regions: [EU-SE-1]
      models:
        - modelId: acme/model
          source: {source}
      retainData: false
      tags:
        team: pictures
      overrides:
        volume:
          sizeGb: 10
outputs:
  volumes: ${{cache.volumeIds}}
"""
PLATFORM = """\
  platform:
    type: visgate:index:InferencePlatform
    properties:
      regions: [EU-SE-1]
      gpuPools: [ADA_24]
      models:
        - modelId: acme/model
          source: {source}
          policy: scheduled_warm
          windows:
            - start: "08:00"
              end: "19:00"
              timezone: Europe/Berlin
              minWorkers: 2
outputs:
  gateway: ${{platform.gatewayUrl}}
"""


def pulumi(*arguments: str, folder: Path, environment: dict[str, str]) -> str:
    program = shutil.which("pulumi", path=environment["PATH"])
    assert program is not None
    done = subprocess.run(
        [program, *arguments, "--non-interactive"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_engine_reads_the_committed_schema_from_the_plugin(environment: dict[str, str], tmp_path: Path) -> None:
    of_plugin, committed = (
        json.loads(pulumi("package", "get-schema", str(source), folder=tmp_path, environment=environment))
        for source in (PLUGIN, PLUGIN.parent / "schema.json")
    )
    assert of_plugin == committed


def test_a_yaml_program_previews_a_platform_makes_a_cache_and_takes_it_away(
    environment: dict[str, str],
    runpod_emulator: RunpodEmulator,
    runpod: RunpodClient,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    command = [sys.executable, str(ROOT / "tools" / "toolchain.py"), "path", "yaml"]
    host = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    environment["PATH"] = os.pathsep.join(filter(None, (str(PLUGIN.parent), host, environment["PATH"])))
    folder = tmp_path / "yaml"
    folder.mkdir()
    program = PROGRAM.format(source=model_folder)
    whole = program[: program.index("outputs:")] + PLATFORM.format(source=model_folder)
    (folder / "Pulumi.yaml").write_text(whole)
    pulumi("stack", "init", "dev", folder=folder, environment=environment)
    nowhere = {"VISGATE_HOST_URL": "http://127.0.0.1:9", "VISGATE_HOST_TOKEN": "nobody"}
    preview = json.loads(pulumi("preview", "--json", folder=folder, environment=environment | nowhere))
    planned = {step["urn"].rsplit("::", 1)[1]: step["newState"] for step in preview["steps"]}
    assert planned[f"platform-{model_slug('acme/model')}-text2img-schedule"]["inputs"]["windows"][0]["min_workers"] == 2
    assert planned["cache-eu-se-1"]["inputs"]["size_gb"] == 10
    assert runpod.list_network_volumes() == []

    (folder / "Pulumi.yaml").write_text(program)
    pulumi("up", "--yes", "--skip-preview", folder=folder, environment=environment)
    outputs = json.loads(pulumi("stack", "output", "--json", folder=folder, environment=environment))
    [volume] = runpod.list_network_volumes()
    assert outputs["volumes"] == [volume.id]
    assert volume.data_center == "EU-SE-1"
    stored = runpod_emulator.volumes_dir / volume.id / "models" / "acme" / "model"
    [weights] = stored.rglob("weights.safetensors")
    assert weights.read_bytes() == b"\x01\x02" * 5000

    pulumi("destroy", "--yes", "--skip-preview", folder=folder, environment=environment)
    assert runpod.list_network_volumes() == []

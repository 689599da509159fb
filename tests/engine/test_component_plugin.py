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
      sizeGb: 10
      models:
        - modelId: acme/model
          source: {source}
outputs:
  volumes: ${{cache.volumeIds}}
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


def test_the_schema_has_every_component_and_keeps_secrets_optional(environment: dict[str, str], tmp_path: Path) -> None:
    schema = json.loads(pulumi("package", "get-schema", str(PLUGIN), folder=tmp_path, environment=environment))
    assert (schema["name"], schema["namespace"]) == ("visgate", "visgate-dev")
    names = {token.rsplit(":", 1)[1] for token in schema["resources"]}
    assert names == {"ArtifactCdn", "Gateway", "GeoRoutedCache", "InferencePlatform", "WorkerImage"}
    platform = schema["resources"]["visgate:index:InferencePlatform"]
    assert set(platform["requiredInputs"]) == {"gpuPools", "models", "regions"}
    assert set(platform["properties"]) == {"bucket", "cdnUrl", "gatewayUrl", "pools"}
    assert all(item.get("description") for item in platform["inputProperties"].values())


def test_a_yaml_program_makes_a_cache_and_takes_it_away(
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
    (folder / "Pulumi.yaml").write_text(PROGRAM.format(source=model_folder))

    pulumi("stack", "init", "dev", folder=folder, environment=environment)
    pulumi("up", "--yes", "--skip-preview", folder=folder, environment=environment)
    outputs = json.loads(pulumi("stack", "output", "--json", folder=folder, environment=environment))
    [volume] = runpod.list_network_volumes()
    assert outputs["volumes"] == [volume.id]
    assert volume.data_center == "EU-SE-1"
    stored = runpod_emulator.volumes_dir / volume.id / "models" / "acme" / "model"
    assert (stored / "unet" / "weights.safetensors").read_bytes() == b"\x01\x02" * 5000

    pulumi("destroy", "--yes", "--skip-preview", folder=folder, environment=environment)
    assert runpod.list_network_volumes() == []

"""The host of the components for other languages: its schema, and its words where the library is missing."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).resolve().parents[3] / "components"
COMPONENTS = {"ArtifactCdn", "Gateway", "GeoRoutedCache", "InferencePlatform", "WorkerImage"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(runpy.run_path(str(PLUGIN / "__main__.py"))["schema"]())
    return made


def test_the_schema_changes_only_when_somebody_says_so(schema: dict[str, Any]) -> None:
    committed = json.loads((PLUGIN / "schema.json").read_text(encoding="utf-8"))
    hint = (
        "The components have another schema than components/schema.json. If that is meant, run `make schema`, read the "
        "difference as a user in another language would, and commit it."
    )
    assert schema == committed, hint


def test_the_schema_describes_every_component_input_and_output(schema: dict[str, Any]) -> None:
    assert (schema["name"], schema["namespace"]) == ("visgate", "visgate-dev")
    assert {token.rsplit(":", 1)[1] for token in schema["resources"]} == COMPONENTS
    for token, component in schema["resources"].items():
        assert component["description"], token
        for name, told in (component["inputProperties"] | component["properties"]).items():
            assert told.get("description"), f"{token}: {name}"
    platform = schema["resources"]["visgate:index:InferencePlatform"]
    assert set(platform["requiredInputs"]) == {"gpuPools", "models", "regions"}
    assert "transform" not in platform["inputProperties"]
    assert platform["inputProperties"]["signingKey"]["secret"]


def test_no_type_is_called_args_because_languages_append_that(schema: dict[str, Any]) -> None:
    assert [name for name in schema["types"] if name.endswith("Args")] == []


def test_a_python_without_the_library_is_named(tmp_path: Path) -> None:
    bare = [sys.executable, "-I", "-S", str(PLUGIN / "__main__.py"), "127.0.0.1:1"]
    done = subprocess.run(bare, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{sys.executable} has no pulumi" in done.stderr
    assert "PULUMI_PYTHON_CMD" in done.stderr

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.local.environment import (
    LOCAL_API_KEY,
    cloud_environment,
    hub_upstream,
    shell_exports,
    without_key,
)
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.state import CloudState

STATE = CloudState(ports={"s3": 1, "emulator": 2, "host": 3})


def variables(**environ: str) -> dict[str, str]:
    return cloud_environment(Home(Path("/h/.visgate")), STATE, path="/a:/b", environ=environ)


def test_addresses_follow_the_ports() -> None:
    found = variables()
    assert found["RUNPOD_API_URL"] == "http://127.0.0.1:2"
    assert found["RUNPOD_JOBS_URL"] == "http://127.0.0.1:2/jobs/v2"
    assert found["VISGATE_S3_ENDPOINT"] == "http://127.0.0.1:1"
    assert found["VISGATE_CDN_URL"] == "http://127.0.0.1:3/cdn"
    assert found["HF_ENDPOINT"] == "http://127.0.0.1:3/hub"
    assert found["PULUMI_BACKEND_URL"] == "file:///h/.visgate/state?metadata=skip"


def test_a_key_of_ones_own_is_used_and_never_written() -> None:
    assert variables()["RUNPOD_API_KEY"] == without_key(variables())["RUNPOD_API_KEY"] == LOCAL_API_KEY
    own = variables(RUNPOD_API_KEY="rpa_mine")
    assert own["RUNPOD_API_KEY"] == "rpa_mine"
    assert "RUNPOD_API_KEY" not in without_key(own)


def test_the_hub_behind_is_the_one_that_was_set_before_and_never_the_clouds_own() -> None:
    assert hub_upstream({}, STATE) == "https://huggingface.co"
    assert hub_upstream({"HF_ENDPOINT": "https://hub.example/"}, STATE) == "https://hub.example"
    assert hub_upstream(variables(), STATE) == "https://huggingface.co"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_a_shell_reads_back_every_value(value: str) -> None:
    script = shell_exports({"VALUE": value}) + 'printf %s "$VALUE"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == value

"""Rollouts with the real engine: progress, what the state says after a failure, slots, and Ctrl-C in between."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from tests.engine.conftest import Stack, until

pytestmark = pytest.mark.engine

TOKEN = "canary-of-a-worker-token"
# Asks for jobs as Runpod's SDK does, which takes seconds to import.
WORKS = """
import os, urllib.request
url = os.environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", os.environ["RUNPOD_POD_ID"])
while True:
    ask = urllib.request.Request(url, headers={"Authorization": os.environ["RUNPOD_AI_API_KEY"]})
    urllib.request.urlopen(ask).read()
"""
BROKEN = "import os, sys\nsys.exit('no such model, token ' + os.environ['TOKEN'])\n"
SLOW = "import time\ntime.sleep(600)\n"
PROGRAM = """
from pulumi_visgate import Endpoint
for name in ({names}):
    Endpoint(name, image="acme/worker:{tag}", gpu_pools=["ADA_24"], min_workers=1, env={{"TOKEN": "{token}"}},
             rollout={{"timeout_s": 90, "grace_s": 1, "on_failure": "{on_failure}"}})
"""


def program(tag: str, on_failure: str = "fail", names: str = '"sd",') -> str:
    return PROGRAM.format(tag=tag, on_failure=on_failure, token=TOKEN, names=names)


@pytest.fixture
def images(runpod_emulator: RunpodEmulator, tmp_path: Path) -> RunpodEmulator:
    """Tags 1 and 2 work, tag `broken` ends at once, tag `slow` is never ready."""
    for tag, source in (("1", WORKS), ("2", WORKS), ("broken", BROKEN), ("slow", SLOW)):
        script = tmp_path / f"worker_{tag}.py"
        script.write_text(source)
        runpod_emulator.map_image(f"acme/worker:{tag}", [sys.executable, str(script)])
    return runpod_emulator


@pytest.mark.usefixtures("images")
def test_a_new_image_is_waited_for_and_a_broken_one_comes_back_or_fails(stack: Stack, runpod: RunpodClient) -> None:
    stack.write(program("1"))
    stack.up()
    stack.write(program("2"))
    good = stack.up()
    assert "of 2 workers on the new release" in good.text
    assert "rollout: done, 1 of 1 workers on the new release (1 IDLE)" in good.text

    stack.write(program("broken", "rollback"))
    back = stack.up(ok=False)
    assert back.code != 0
    assert "container: no such model, token [masked]" in back.text
    assert "The former release is in force again" in back.text
    assert [endpoint.image for endpoint in runpod.list_endpoints()] == ["acme/worker:2"]
    assert stack.steps() == {"sd": "update"}

    stack.write(program("broken"))
    bad = stack.up(ok=False)
    assert "The rollout failed: none of its workers is ready" in bad.text
    assert [endpoint.image for endpoint in runpod.list_endpoints()] == ["acme/worker:broken"]
    assert stack.steps() == {"sd": "update"}  # the next `up` waits again
    assert TOKEN not in back.text + bad.text + stack.exported()


@pytest.mark.long
def test_ctrl_c_while_five_wait_leaves_the_state_right_and_the_next_up_goes_on(
    stack: Stack, runpod: RunpodClient, images: RunpodEmulator
) -> None:
    names = ", ".join(f'"sd-{n}"' for n in range(5))
    stack.write(program("1", names=names))
    stack.up()
    stack.write(program("slow", names=names))
    process = stack.start("up", "--yes", "--skip-preview")
    try:
        # More than the four slots of the provider host: none of them is held while these wait.
        until(lambda: {found.image for found in runpod.list_endpoints()} == {"acme/worker:slow"}, "five rollouts")
        hosts = psutil.Process(process.pid).children(recursive=True)
        (running,) = [host for host in hosts if any("pulumi-language-python-exec" in part for part in host.cmdline())]
        process.send_signal(signal.SIGINT)
        os.kill(running.pid, signal.SIGINT)  # as the language host of current releases does
        assert process.wait(60) != 0
    finally:
        process.kill()
        process.wait(10)
    said = (stack.folder / "started.log").read_text()
    assert "It goes on without anybody waiting." in said
    stack.run("refresh", "--yes")
    assert stack.steps() == {f"sd-{n}": "update" for n in range(5)}

    script = stack.folder.parent / "worker_slow.py"
    images.map_image("acme/worker:slow", [sys.executable, str(script.with_name("worker_1.py"))])
    for worker in images.workers():
        os.kill(worker["pid"], signal.SIGKILL)
    done = stack.up()
    assert "rollout: done" in done.text
    stack.run("preview", "--expect-no-changes")
    assert len(runpod.list_endpoints()) == 5

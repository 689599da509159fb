"""Hooks and rules of rollouts and drains against the emulator, whose workers are real processes on the runpod SDK."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pulumi
import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.resources import _drain
from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources._rollout_hooks import RolloutHooks
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources.errors import InUse, RolloutFailed
from pulumi_visgate.resources.network_volume import NetworkVolumeCrud
from pulumi_visgate.resources.template import TemplateCrud
from pulumi_visgate.resources.warm_pool import WarmPoolCrud
from tests.unit.resources.test_rollout_wait import Said

pytestmark = pytest.mark.contract

SDK = "import runpod\nrunpod.serverless.start({'handler': lambda job: job['input']})\n"
# Asks for jobs as the SDK does, which takes seconds to import.
WORKS = """
import os, urllib.request
url = os.environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", os.environ["RUNPOD_POD_ID"])
while True:
    ask = urllib.request.Request(url, headers={"Authorization": os.environ["RUNPOD_AI_API_KEY"]})
    urllib.request.urlopen(ask).read()
"""
BROKEN = "import os, sys\nsys.exit('cannot log in with ' + os.environ['TOKEN'])\n"
SLOW = "import time\ntime.sleep(600)\n"
BUSY = "import time, runpod\nrunpod.serverless.start({'handler': lambda job: time.sleep(job['input'])})\n"
TOKEN = "canary-of-a-rolled-worker"
DEADLINE_S = 60.0


def until(probe: Callable[[], Any]) -> Any:
    retrying = Retrying(
        retry=retry_if_result(lambda value: not value), stop=stop_after_delay(DEADLINE_S), wait=wait_fixed(0.05)
    )
    return retrying(probe)


class Cloud:
    """An account with one resource, and hooks as the engine calls them.

    Args:
        emulator: Where.
        session: Settings and messages.
        kind: Rules of the resource.
        program: Its arguments.
    """

    def __init__(self, emulator: RunpodEmulator, session: Session, kind: type[EndpointCrud], **program: Any) -> None:
        self.emulator = emulator
        self.crud = kind(session)
        self.hooks = RolloutHooks(kind)
        self.program: dict[str, Any] = {
            "gpu_pools": ["ADA_24"], "max_workers": 2, "env": {"TOKEN": TOKEN}, "owner": "p/s/sd",
            "rollout": {"timeout_s": 60, "grace_s": 1}, **program,
        }  # fmt: skip
        self.id, self.outs = self.crud.create(self.checked({}))

    def checked(self, changes: dict[str, Any]) -> dict[str, Any]:
        self.program |= changes
        values, problems = self.crud.check({}, self.program)
        assert problems == []
        return values

    def up(self, **changes: Any) -> None:
        """What an `up` with a changed program does, in the engine's order."""
        news = self.checked(changes)
        assert self.crud.diff(self.outs, news).changed
        args = pulumi.ResourceHookArgs("urn", self.id, "sd", "t", new_inputs=news, old_outputs=self.outs)
        asyncio.run(self.hooks.before_update(args))
        self.outs = self.crud.update(self.id, self.outs, news)
        asyncio.run(self.hooks.after_update(args))

    @property
    def image(self) -> str | None:
        return self.crud.session.runpod.get_endpoint(self.id).image

    def states(self) -> list[tuple[str | None, str, bool]]:
        found = self.crud.session.runpod.list_endpoint_workers(self.id).workers
        return sorted((worker.image, str(worker.status), worker.is_stale) for worker in found)


@pytest.fixture
def session(runpod_emulator: RunpodEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    for name, value in runpod_emulator.env.items():
        monkeypatch.setenv(name, value)
    for tag, source in (("1", WORKS), ("2", WORKS), ("sdk", SDK), ("broken", BROKEN), ("slow", SLOW), ("busy", BUSY)):
        script = tmp_path / f"{tag}.py"
        script.write_text(source)
        runpod_emulator.map_image(f"acme/worker:{tag}", [sys.executable, str(script)])
    session = Session(Settings.read(lambda _key: None, os.environ))
    yield session
    session.runpod.close()


def test_a_new_image_rolls_through_the_workers_of_a_pool(runpod_emulator: RunpodEmulator, session: Session) -> None:
    pool = {"model_id": "acme/tiny", "policy": "always_on", "image": "acme/worker:1"}
    cloud = Cloud(runpod_emulator, session, WarmPoolCrud, **pool)
    until(lambda: cloud.states() == [("acme/worker:1", "IDLE", False)])
    cloud.up(image="acme/worker:sdk")
    assert cloud.states() == [("acme/worker:sdk", "IDLE", False)]
    assert (cloud.outs["image"], cloud.outs.get("rollout_pending")) == ("acme/worker:sdk", None)
    newest, first = session.runpod.list_endpoint_releases(cloud.id).releases
    assert [(entry.field, entry.new) for entry in newest.diff] == [("template.imageName", "acme/worker:sdk")]
    assert (newest.version, first.version, newest.worker_count) == (2, 1, 1)


def test_an_image_that_crashes_is_taken_back_and_the_former_worker_never_stopped(
    runpod_emulator: RunpodEmulator, session: Session
) -> None:
    cloud = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:1", min_workers=1)
    until(lambda: cloud.states() == [("acme/worker:1", "IDLE", False)])
    (before,) = runpod_emulator.workers(cloud.id)
    olds = cloud.outs
    with pytest.raises(RolloutFailed, match="taken back: none of its workers is ready") as failed:
        cloud.up(image="acme/worker:broken", rollout={"timeout_s": 60, "grace_s": 1, "on_failure": "rollback"})
    assert TOKEN not in str(failed.value)
    assert (cloud.image, cloud.outs) == ("acme/worker:1", olds)
    assert before["pid"] in [worker["pid"] for worker in runpod_emulator.workers(cloud.id)]
    assert "image" in cloud.crud.diff(cloud.outs, cloud.checked({})).changed


def test_a_failure_that_stays_is_in_the_state_and_waited_for_again(
    runpod_emulator: RunpodEmulator, session: Session
) -> None:
    cloud = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:1", min_workers=1)
    with pytest.raises(RolloutFailed, match="The rollout failed: none of its workers is ready"):
        cloud.up(image="acme/worker:broken")
    assert (cloud.image, cloud.outs["image"]) == ("acme/worker:broken", "acme/worker:broken")
    assert cloud.outs["rollout_pending"] is True
    assert cloud.crud.diff(cloud.outs, cloud.checked({})).changed == ("rollout",)
    found = cloud.crud.read(cloud.id, cloud.outs)
    assert found is not None
    assert found.outs["rollout_pending"] is True
    runpod_emulator.map_image("acme/worker:broken", [sys.executable, "-c", WORKS])  # the same image, mended
    cloud.up()
    assert "rollout_pending" not in cloud.outs
    assert cloud.crud.diff(cloud.outs, cloud.checked({})).changed == ()

    cloud.up(image="acme/worker:slow", rollout={"timeout_s": 1, "on_failure": "warn"})
    assert (cloud.outs["image"], cloud.outs.get("rollout_pending")) == ("acme/worker:slow", None)


@pytest.mark.parametrize("on_failure", ["fail", "rollback"])
def test_ctrl_c_ends_waiting_and_the_state_is_right(
    runpod_emulator: RunpodEmulator, session: Session, on_failure: str
) -> None:
    cloud = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:1", min_workers=1)
    change = {"image": "acme/worker:slow", "rollout": {"timeout_s": 600, "on_failure": on_failure}}
    news = cloud.checked(change)
    args = pulumi.ResourceHookArgs("urn", cloud.id, "sd", "t", new_inputs=news, old_outputs=cloud.outs)

    async def interrupted() -> None:
        waiting = asyncio.create_task(cloud.hooks.before_update(args))
        while await asyncio.to_thread(lambda: cloud.image) != "acme/worker:slow":
            assert not waiting.done()
        os.kill(os.getpid(), signal.SIGINT)  # as current language hosts do at Ctrl-C
        await waiting

    if on_failure == "rollback":
        with pytest.raises(RolloutFailed, match="taken back: interrupted"):
            asyncio.run(interrupted())
        assert cloud.image == "acme/worker:1"
        return
    asyncio.run(interrupted())
    outs = cloud.crud.update(cloud.id, cloud.outs, news)
    assert (cloud.image, outs["image"], outs["rollout_pending"]) == ("acme/worker:slow", "acme/worker:slow", True)
    cloud.outs = outs
    cloud.up(image="acme/worker:2", rollout={"timeout_s": 60})
    assert cloud.outs.get("rollout_pending") is None


def test_first_workers_are_waited_for_and_no_workers_are_not(runpod_emulator: RunpodEmulator, session: Session) -> None:
    asleep = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:broken")
    args = pulumi.ResourceHookArgs("urn", asleep.id, "sd", "t", new_inputs=asleep.checked({}))
    asyncio.run(asleep.hooks.after_create(args))
    asleep.up(image="acme/worker:slow")
    assert asleep.image == "acme/worker:slow"

    awake = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:broken", min_workers=1, owner="p/s/b")
    args = pulumi.ResourceHookArgs("urn", awake.id, "sd", "t", new_inputs=awake.checked({}))
    with pytest.raises(RolloutFailed, match="UNHEALTHY"):
        asyncio.run(awake.hooks.after_create(args))


def test_without_capacity_the_time_runs_out(runpod_emulator: RunpodEmulator, session: Session) -> None:
    cloud = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:1")
    runpod_emulator.fault("no_capacity", endpoint=cloud.id, times=None)
    with pytest.raises(RolloutFailed, match=r"not done after 1 s: 1 of 1 workers on the new release \(1 THROTTLED\)"):
        cloud.up(image="acme/worker:2", min_workers=1, rollout={"timeout_s": 1})


# --- deletion ---


def posted(emulator: RunpodEmulator, endpoint: str, seconds: float) -> None:
    headers = {"Authorization": f"Bearer {emulator.key}"}
    httpx.post(f"{emulator.jobs_url}/{endpoint}/run", headers=headers, json={"input": seconds}).raise_for_status()


def deleted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setattr(_drain, "LOOK_EVERY_S", 0.1)
    said = Said()
    cloud.crud.session.report = said
    cloud.crud.delete(cloud.id, cloud.outs)
    assert cloud.crud.session.runpod.list_endpoints() == []
    return said


def test_a_drained_endpoint_finishes_its_jobs(
    runpod_emulator: RunpodEmulator, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:busy", rollout=None, drain_timeout_s=60)
    posted(runpod_emulator, cloud.id, 0.1)
    said = deleted(cloud, monkeypatch)
    assert said.noted == [f"{cloud.outs['name']} has finished its jobs."]
    assert any("drains: 1 queued jobs, 0 in progress" in text for text in said.shown)
    assert said.warned == []


def test_what_is_not_drained_in_time_is_counted_and_a_pool_is_not_found_meanwhile(
    runpod_emulator: RunpodEmulator, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = {"image": "acme/worker:busy", "model_id": "acme/tiny", "rollout": None, "drain_timeout_s": 1}
    cloud = Cloud(runpod_emulator, session, WarmPoolCrud, **program)
    names: list[str] = []
    monkeypatch.setattr(
        session.runpod,
        "delete_endpoint",
        lambda id_: names.append(session.runpod.get_endpoint(id_).name),
        raising=False,
    )
    posted(runpod_emulator, cloud.id, 600)
    posted(runpod_emulator, cloud.id, 600)
    said = Said()
    session.report = said
    cloud.crud.delete(cloud.id, cloud.outs)
    assert names == [f"draining-{cloud.outs['name']}"]
    (warned,) = said.warned
    assert warned.startswith(f"{cloud.outs['name']} is deleted after 1 s; cancelled: ")
    monkeypatch.undo()
    session.runpod.delete_endpoint(cloud.id)


def test_without_a_drain_no_call_is_spent_on_jobs(runpod_emulator: RunpodEmulator, session: Session) -> None:
    cloud = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:busy", rollout=None)
    runpod_emulator.reset_requests()
    cloud.crud.delete(cloud.id, cloud.outs)
    requests = runpod_emulator.requests(runpod_emulator.key)
    assert "health" not in requests
    assert requests["deleteEndpoint"] == 1


def test_a_bound_template_goes_with_its_endpoint_and_is_kept_for_a_foreign_one(
    runpod_emulator: RunpodEmulator, session: Session
) -> None:
    runpod_emulator.bind_templates()
    templates = TemplateCrud(session)
    inputs, _ = templates.check({}, {"image": "acme/worker:1", "name": "shared"})
    template, outs = templates.create(inputs)
    cloud = Cloud(runpod_emulator, session, EndpointCrud, template_id=template, rollout=None, env={})
    with pytest.raises(InUse, match=rf"Template shared \({template}\) is used by endpoint .* \({cloud.id}\)\."):
        templates.delete(template, outs)
    cloud.crud.delete(cloud.id, cloud.outs)
    templates.delete(template, outs)
    assert session.runpod.list_templates() == []


def test_a_volume_that_an_endpoint_has_is_kept(runpod_emulator: RunpodEmulator, session: Session) -> None:
    volumes = NetworkVolumeCrud(session)
    inputs, _ = volumes.check({}, {"size_gb": 10, "data_center": "EU-RO-1", "name": "models"})
    volume, outs = volumes.create(inputs)
    cloud = Cloud(runpod_emulator, session, EndpointCrud, image="acme/worker:1", network_volume_ids=[volume])
    with pytest.raises(InUse, match=f"is used by endpoint {cloud.outs['name']}"):
        volumes.delete(volume, outs)
    cloud.crud.delete(cloud.id, cloud.outs)
    volumes.delete(volume, outs)
    assert session.runpod.list_network_volumes() == []

import stat
from threading import Event, Thread

import pytest

from pulumi_visgate.local.errors import LocalCloudError, NotRunningError
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import ProcessRef
from pulumi_visgate.local.state import CloudState, locked


def test_what_is_saved_is_loaded(home: Home) -> None:
    state = CloudState(ports={"s3": 7070}, processes={"s3": ProcessRef(pid=1, started=2.5)})
    state.save(home)
    assert CloudState.load(home) == state
    assert stat.S_IMODE(home.cloud_file.stat().st_mode) == 0o600


def test_secrets_differ_between_homes_and_show_in_no_repr() -> None:
    one, other = CloudState(), CloudState()
    assert set(one.secrets()).isdisjoint(other.secrets())
    assert not any(secret in repr(one) for secret in one.secrets())


def test_no_cloud_is_not_an_error_until_one_is_needed(home: Home) -> None:
    assert CloudState.load(home) is None
    with pytest.raises(NotRunningError, match="visgate local up"):
        CloudState.running(home)


def test_a_stopped_cloud_is_not_running(home: Home) -> None:
    CloudState(ports={"s3": 1}).save(home)
    with pytest.raises(NotRunningError):
        CloudState.running(home)


def test_a_damaged_file_is_named_and_not_quoted(home: Home) -> None:
    home.cloud_file.write_text('{"host_token": "very-secret-token", "ports": "many"}')
    with pytest.raises(LocalCloudError, match=r"cloud\.json is damaged") as caught:
        CloudState.load(home)
    assert "very-secret-token" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_one_command_at_a_time(home: Home) -> None:
    inside, leave = Event(), Event()

    def hold() -> None:
        with locked(home):
            inside.set()
            leave.wait(30)

    holder = Thread(target=hold)
    holder.start()
    assert inside.wait(30)
    try:
        with pytest.raises(LocalCloudError, match="Another command"), locked(home, timeout_s=0.1):
            pytest.fail("two commands at once")
    finally:
        leave.set()
        holder.join(30)
    with locked(home, timeout_s=0.1):
        pass

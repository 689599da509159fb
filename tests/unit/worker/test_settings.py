import pickle

import pytest

from visgate_contract.errors import ErrorCode
from visgate_worker.settings import Settings, SettingsError, WatchdogAction

CANARY = "canary-value-of-a-secret"


def test_a_model_is_enough() -> None:
    settings = Settings.from_environment({"VISGATE_MODEL_ID": "stabilityai/sdxl-turbo"})
    assert settings.model_id == "stabilityai/sdxl-turbo"
    assert str(settings.volume_path) == "/runpod-volume"
    assert settings.watchdog_action is WatchdogAction.NONE
    assert settings.idle_timeout_s is None


def test_empty_values_count_as_left_out() -> None:
    settings = Settings.from_environment({"VISGATE_MODEL_ID": "a/b", "HF_TOKEN": " ", "VISGATE_IDLE_TIMEOUT_S": ""})
    assert settings.hf_token is None
    assert settings.idle_timeout_s is None


def test_a_missing_model_is_named_with_the_way_out() -> None:
    with pytest.raises(SettingsError, match=r"VISGATE_MODEL_ID is missing.*env of the endpoint") as caught:
        Settings.from_environment({})
    assert caught.value.code is ErrorCode.WORKER_FATAL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VISGATE_MODEL_ID", "../../etc"),
        ("VISGATE_MODEL_ID", "a/b/c"),
        ("VISGATE_MODEL_ID", "/absolute"),
        ("VISGATE_MODEL_REVISION", "../other"),
        ("VISGATE_WATCHDOG_ACTION", "explode"),
        ("VISGATE_IDLE_TIMEOUT_S", "soon"),
        ("VISGATE_IDLE_TIMEOUT_S", "-1"),
        ("VISGATE_MAX_FAILURES", "0"),
        ("VISGATE_WEBHOOK_SECRET", CANARY),
    ],
)
def test_a_wrong_value_is_named_by_its_variable_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.from_environment({"VISGATE_MODEL_ID": "a/b", name: value})
    assert CANARY not in str(caught.value)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"VISGATE_MAX_FAILURES": "none"})
    assert "VISGATE_MODEL_ID" in str(caught.value)
    assert "VISGATE_MAX_FAILURES" in str(caught.value)


def test_secrets_do_not_show() -> None:
    names = ("HF_TOKEN", "RUNPOD_API_KEY", "RUNPOD_AI_API_KEY")
    settings = Settings.from_environment(
        {"VISGATE_MODEL_ID": "a/b", "VISGATE_WEBHOOK_SECRET": f"whsec_{CANARY}", **dict.fromkeys(names, CANARY)}
    )
    assert CANARY not in repr(settings)
    assert CANARY not in settings.model_dump_json()
    assert pickle.loads(pickle.dumps(settings)) == settings

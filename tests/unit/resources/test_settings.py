import pytest

from pulumi_visgate.resources._settings import Market, Settings, is_loopback
from pulumi_visgate.resources.errors import ConfigError

CANARY = "rpa_CANARYCANARYCANARY"


def test_configuration_wins_over_the_environment_and_secrets_stay_out_of_repr() -> None:
    environ = {
        "RUNPOD_API_KEY": "rpa_ENVIRONMENT",
        "RUNPOD_API_URL": "http://127.0.0.1:1/",
        "VISGATE_S3_ENDPOINT": "http://127.0.0.1:2",
        "VISGATE_S3_ACCESS_KEY_ID": "id",
        "VISGATE_S3_SECRET_ACCESS_KEY": "s3-canary",
        "VISGATE_HOST_TOKEN": "host-canary",
        "HF_TOKEN": "hf_canary",
        "HF_ENDPOINT": "http://127.0.0.1:3/",
    }
    settings = Settings.read({"visgate:runpodApiKey": CANARY}.get, environ)
    assert settings.require_key() == CANARY
    assert settings.runpod_api_url == "http://127.0.0.1:1"
    assert settings.volume_store == settings.store  # the local S3 server fronts the volumes, too
    assert set(settings.secrets()) == {CANARY, "s3-canary", "host-canary", "hf_canary"}
    assert settings.hf_endpoint == "http://127.0.0.1:3"
    for secret in settings.secrets():
        assert secret not in repr(settings)
    assert hash(settings) == hash(Settings.read({"visgate:runpodApiKey": CANARY}.get, environ))


def test_real_volumes_are_not_reached_through_the_store_of_the_buckets() -> None:
    environ = {"VISGATE_S3_ENDPOINT": "https://r2.example", "RUNPOD_S3_ACCESS_KEY_ID": "user"}
    settings = Settings.read(lambda _: None, environ)
    assert settings.store.endpoint == "https://r2.example"
    assert settings.volume_store.endpoint is None
    assert settings.volume_store.access_key_id == "user"


def test_a_missing_key_is_told_with_the_fix() -> None:
    with pytest.raises(ConfigError, match="pulumi config set --secret visgate:runpodApiKey"):
        Settings.read(lambda _: None, {"RUNPOD_API_KEY": "  "}).require_key()


def test_the_deadline_of_a_call_can_be_set() -> None:
    assert Settings.read(lambda _: None, {}).api_timeout_s == 30
    assert Settings.read(lambda _: None, {"VISGATE_API_TIMEOUT_S": "3"}).api_timeout_s == 3
    for wrong in ("0", "soon", "3600", "nan"):
        with pytest.raises(ConfigError, match="visgate:apiTimeoutS must be 1 to 600 seconds"):
            Settings.read({"visgate:apiTimeoutS": wrong}.get, {})


@pytest.mark.parametrize("url", ["http://api.example", "ftp://127.0.0.1", "api.runpod.io", "https://"])
def test_a_key_is_only_sent_over_https_or_to_this_machine(url: str) -> None:
    with pytest.raises(ConfigError, match="visgate:runpodApiUrl must be an https URL"):
        Settings.read({"visgate:runpodApiUrl": url}.get, {})


def test_a_token_is_only_sent_to_a_hub_over_https() -> None:
    with pytest.raises(ConfigError, match="visgate:hfEndpoint must be an https URL"):
        Settings.read({"visgate:hfEndpoint": "http://hub.example"}.get, {"HF_TOKEN": "hf_canary"})


@pytest.mark.parametrize(
    ("url", "local"),
    [("http://127.0.0.1:80", True), ("http://[::1]:80", True), ("http://localhost", True), ("https://a.b", False)],
)
def test_loopback(url: str, local: bool) -> None:
    assert is_loopback(url) == local


def test_what_a_plan_without_stock_does_is_a_choice_of_three() -> None:
    assert Settings.read(lambda _: None, {}).market == Market.WARN
    assert Settings.read({"visgate:market": "off"}.get, {"VISGATE_MARKET": "fail"}).market == Market.OFF
    assert Settings.read(lambda _: None, {"VISGATE_MARKET": " FAIL "}).market == Market.FAIL
    with pytest.raises(ConfigError, match="visgate:market must be one of warn, fail, off; 'error' was given"):
        Settings.read({"visgate:market": "error"}.get, {})

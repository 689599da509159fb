import sys
import traceback
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pulumi.dynamic import Config, ConfigureRequest
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.output import Unknown

from pulumi_visgate import providers
from pulumi_visgate.resources import _provider
from pulumi_visgate.resources._provider import Provider, ProviderFailedError
from pulumi_visgate.resources.endpoint import EndpointProvider
from pulumi_visgate.resources.signing_key import SigningKeyProvider

KEY = "rpa_PROVIDERTESTPROVIDERTEST"
GPU = {"image": "acme/worker:1", "gpu_pools": ["ADA_24"], "owner": "p/s/sd", "__provider": "pickle"}


def configured(cls: type[Provider], **config: str) -> Provider:
    provider = cls()
    provider.configure(ConfigureRequest(Config({f"visgate:{key}": value for key, value in config.items()}, "p")))
    return provider


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNPOD_API_KEY", "RUNPOD_API_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", providers.__all__)
def test_a_provider_pickles_by_its_pinned_name(name: str) -> None:
    import base64

    provider = getattr(providers, name)()
    assert provider.serialize_as_secret_always is False
    pickled = base64.b64decode(serialize_provider(provider))
    assert b"pulumi_visgate.providers" in pickled
    assert len(pickled) < 100


def test_every_provider_is_in_the_module_that_states_refer_to() -> None:
    def all_below(cls: type[Provider]) -> set[str]:
        return {name for sub in cls.__subclasses__() for name in {sub.__name__, *all_below(sub)}}

    assert all_below(Provider) == set(providers.__all__)


def test_a_failure_of_a_secret_input_is_not_given_to_the_engine_by_its_name() -> None:
    provider = configured(EndpointProvider, runpodApiKey=KEY)
    news = {**GPU, "env": {"A B": "canary-value"}, "min_workers": -1.0, "max_worker": 1.0}
    failures = {failure.property: failure.reason for failure in provider.check({}, news).failures}
    assert "env: " in failures[""]  # the engine prints the value of a named property
    assert "greater than or equal" in failures["min_workers"]
    assert "Did you mean max_workers?" in failures["max_worker"]
    assert "canary-value" not in str(failures)


def test_unknowns_pass_through_a_preview_as_the_hosts_own() -> None:
    provider = configured(SigningKeyProvider, runpodApiKey=KEY)
    result = provider.check({}, {"rotation": Unknown()})  # type: ignore[no-untyped-call]  # pulumi's own marker
    assert isinstance(result.inputs["rotation"], Unknown)
    assert result.failures == []


def test_wrong_settings_are_a_failure_of_check_with_the_fix() -> None:
    for provider in (configured(EndpointProvider), configured(EndpointProvider, runpodApiUrl="http://a.example")):
        news = {**GPU, "env": {"A": "1"}}
        (failure,) = provider.check({}, news).failures
        assert failure.property == ""
        assert "visgate:runpodApi" in failure.reason


def test_what_goes_wrong_inside_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = configured(SigningKeyProvider, runpodApiKey=KEY)

    def fail(*_: Any) -> None:
        message = f"with {KEY}"
        raise KeyError(message)

    monkeypatch.setattr(SigningKeyProvider.crud, "create", fail)
    with pytest.raises(ProviderFailedError) as raised:
        provider.create({})
    said = str(raised.value)
    assert said.startswith("Creating SigningKey failed: KeyError at test_provider.py:")
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_the_host_prints_our_errors_without_a_traceback_and_all_others_with(monkeypatch: pytest.MonkeyPatch) -> None:
    host: Any = ModuleType("__main__")
    host.__spec__ = SimpleNamespace(name="pulumi.dynamic.__main__")
    host.traceback = traceback
    monkeypatch.setitem(sys.modules, "__main__", host)
    _provider._quiet_tracebacks()

    printed: list[str] = []
    with pytest.raises(ProviderFailedError):
        _raise_and_print(ProviderFailedError("Creating it failed."), host, printed)
    assert printed == ["Creating it failed."]
    with pytest.raises(ValueError, match="other"):
        _raise_and_print(ValueError("other"), host, printed)
    assert printed[1].startswith("Traceback")


def _raise_and_print(error: Exception, host: Any, printed: list[str]) -> None:
    try:
        raise error
    finally:
        printed.append(host.traceback.format_exc())

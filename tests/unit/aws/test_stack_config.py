"""Configuration of the stacks in AWS: every key documented, typed, and refused where it is wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from pulumi_visgate import InferencePlatform
from stacks import _aws, _config
from tests.unit.aws.conftest import GATEWAY, Build

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = (ROOT / "stacks" / "Pulumi.prod.yaml.example").read_text()
Configure = Callable[[dict[str, Any]], None]
LEAST = {"regions": ["EU-RO-1"], "gpuPools": ["ADA_24"], "models": [{"modelId": "acme/tiny"}]}


def keys(*, everything: bool) -> dict[str, Any]:
    """Return the example's configuration, with what is behind # as well if everything is wanted."""
    text = re.sub(r"(?m)^  # (visgate:\w+: .*)$", r"  \1", EXAMPLE) if everything else EXAMPLE
    config = yaml.safe_load(text)["config"]
    return {key.removeprefix("visgate:"): value for key, value in config.items() if key.startswith("visgate:")}


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Set the configuration as the engine does: everything is text, and what is no text is JSON."""

    def set_config(values: dict[str, Any]) -> None:
        texts = {
            f"visgate:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
        }
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))

    return set_config


def test_the_example_shows_every_key_and_its_default(configure: Configure) -> None:
    shown = keys(everything=True)
    aliases = {field.alias or name for name, field in _config.StackConfig.model_fields.items()}
    assert set(shown) == aliases
    assert all(field.description for field in _config.StackConfig.model_fields.values())
    given = keys(everything=False)
    configure({**given, **{key: shown[key] for key in shown if key not in given}})
    everything = _config.read()
    for name, field in _config.StackConfig.model_fields.items():
        if field.alias not in given and field.default is not None and not field.is_required() and name not in _FREE:
            assert getattr(everything, name) == field.default, name


_FREE = {"cors_origins", "tags"}  # the example has to show something


def test_the_example_makes_a_platform(configure: Configure, build: Build) -> None:
    configure({**keys(everything=False), "workerImage": "acme/worker:1", "gatewayImage": GATEWAY["image"]})
    made: dict[str, pulumi.Output[Any]] = {}

    def program() -> Any:
        made.update(_aws.declare(_config.read()))
        return pulumi.Output.all(**made)

    graph = build(program)
    assert {schedule.name for schedule in graph.of("scheduler.Schedule")} == {
        "visgate-upkeep-pools",
        "visgate-upkeep-reaper",
    }
    assert {"gateway_url", "cdn_url", "pools", "idle_monthly_usd"} <= set(made)
    assert InferencePlatform.__name__ in {one.kind.rpartition(":")[2] for one in graph.made}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"regions": []}, "visgate:regions: List should have at least 1 item"),
        ({"models": [{"modelID": "a/b"}]}, "visgate:models.0.modelId: Field required"),
        ({"compute": "ec2"}, "visgate:compute: Input should be 'lambda' or 'fargate'"),
        ({"memoryMb": "a lot"}, "visgate:memoryMb: "),
        ({"colour": "red"}, "visgate:colour is not known"),
        ({"reaper": "maybe"}, "visgate:reaper: "),
    ],
)
def test_a_wrong_key_is_named(configure: Configure, changes: dict[str, Any], said: str) -> None:
    configure({**LEAST, **changes})
    with pytest.raises(pulumi.RunError, match=re.escape(said)):
        _config.read()


def test_a_missing_key_is_named_and_provider_keys_are_known(configure: Configure) -> None:
    configure({"runpodApiKey": "rpa_KEY", "market": "off"})
    with pytest.raises(pulumi.RunError, match="visgate:regions: Field required") as raised:
        _config.read()
    assert "runpodApiKey" not in str(raised.value)


def test_dev_asks_for_less_than_prod(configure: Configure) -> None:
    configure(LEAST)
    dev = _config.read(waf=False, force_destroy=True)
    assert (dev.waf, dev.force_destroy) == (False, True)
    configure({**LEAST, "waf": True})
    assert _config.read(waf=False).waf is True

"""LoRA weights from the web and the hub: what is brought, kept and refused."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_visgate.local.hub import testing
from visgate_contract.addresses import EgressPolicy
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Lora
from visgate_worker import loras as module
from visgate_worker.failures import JobFailedError
from visgate_worker.fetch import Fetcher
from visgate_worker.loras import LoraPolicy, Loras

if TYPE_CHECKING:
    from pulumi_visgate.local.hub.testing import HubMirror
    from tests.unit.worker.conftest import Server

LIMIT = 4096


def weights(name: str = "a", size: int = 16) -> bytes:
    """A safetensors file by the format's own rules: length of the header, header, numbers."""
    header = json.dumps({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\1" * size


@pytest.fixture(scope="module")
def hub() -> Iterator["HubMirror"]:
    with testing.serve() as mirror:
        mirror.commit("org/one", {"style.safetensors": weights(), "README.md": b"#"})
        mirror.commit("org/two", {"a.safetensors": weights("a"), "b.safetensors": weights("b")})
        mirror.commit("org/pickled", {"style.bin": b"x"})
        mirror.commit("org/large", {"style.safetensors": weights(size=LIMIT)})
        mirror.commit("org/gated", {"style.safetensors": weights()})
        mirror.gate("org/gated", "hf_other")
        yield mirror


@pytest.fixture
def web(make_server: "Callable[..., Server]", answer_of: Callable[..., Any]) -> "Server":
    return make_server(lambda _: answer_of(body=weights()))


@pytest.fixture
def loras(tmp_path: Path, hub: "HubMirror") -> Iterator[Loras]:
    fetcher = Fetcher(EgressPolicy(allow_loopback=True))
    policy = LoraPolicy(max_bytes=LIMIT, cache_bytes=400)
    made = Loras(fetcher, tmp_path / "kept", policy=policy, endpoint=hub.url)
    yield made
    made.close()


def why(loras: Loras, **lora: Any) -> str:
    with pytest.raises(JobFailedError) as caught:
        loras.bring([Lora(path="org/one"), Lora(**lora)])
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert caught.value.detail.startswith("params.loras.1: ")
    assert caught.value.hint
    return caught.value.detail


def test_weights_come_by_url_once(loras: Loras, web: "Server") -> None:
    wanted = Lora(path=f"{web.url}/style.safetensors?token=secret", scale=0.5)
    (first,), (second,) = loras.bring([wanted]), loras.bring([wanted])
    assert (first, first.scale, first.path.read_bytes()) == (second, 0.5, weights())
    assert len(web.requests) == 1
    assert "secret" not in first.path.name
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


@pytest.mark.parametrize(
    ("lora", "content"),
    [
        ({"path": "org/one"}, weights()),
        ({"path": "org/two", "weight_name": "b.safetensors"}, weights("b")),
    ],
)
def test_weights_come_from_the_hub_once(loras: Loras, hub: "HubMirror", lora: dict[str, Any], content: bytes) -> None:
    hub.reset()
    (file,) = loras.bring([Lora(**lora)])
    assert file.path.read_bytes() == content
    asked = hub.requests.total()
    assert loras.bring([Lora(**lora, scale=2.0)])[0].path == file.path
    assert hub.requests.total() == asked


def test_what_the_hub_gave_once_serves_while_it_cannot_be_asked(loras: Loras, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = loras.bring([Lora(path="org/one")])
    monkeypatch.setattr(module, "RESOLVED_S", 0.0)
    monkeypatch.setattr(loras, "_endpoint", "http://127.0.0.1:9")
    assert loras.bring([Lora(path="org/one")]) == (file,)
    assert "cannot be had from the hub" in why(loras, path="org/two", weight_name="a.safetensors")


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ({"path": "org/nowhere"}, "not on the hub, or is private"),
        ({"path": "org/gated"}, "gated on the hub"),
        ({"path": "org/two"}, "has 2 .safetensors files"),
        ({"path": "org/pickled"}, "has 0 .safetensors files"),
        ({"path": "org/two", "weight_name": "c.safetensors"}, "has no c.safetensors"),
        ({"path": "org/large"}, f"larger than {LIMIT} bytes"),
        ({"path": "https://10.0.0.1/a.safetensors"}, "not public"),
    ],
)
def test_what_is_refused_and_why(loras: Loras, lora: dict[str, Any], words: str) -> None:
    assert words in why(loras, **lora)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"PK\3\4 a pickle in a zip", "not a safetensors file"),
        (b"", "not a safetensors file"),
        (weights()[:-1], "not a safetensors file"),
        (weights(size=LIMIT), f"larger than {LIMIT} bytes"),
    ],
)
def test_other_files_are_refused_whatever_they_are_called(
    loras: Loras, web: "Server", answer_of: Callable[..., Any], *, body: bytes, words: str, tmp_path: Path
) -> None:
    web.answer = lambda _: answer_of(body=body)
    assert words in why(loras, path=f"{web.url}/style.safetensors")
    assert len(list((tmp_path / "kept").iterdir())) == 1  # the good one before it


def test_an_operator_can_say_which_hosts_weights_come_from(loras: Loras, web: "Server", tmp_path: Path) -> None:
    strict = Loras(Fetcher(), tmp_path, policy=LoraPolicy(hosts=("huggingface.co",)))
    with pytest.raises(JobFailedError, match="takes no weights from") as caught:
        strict.bring([Lora(path="https://example.com/a.safetensors")])
    assert caught.value.hint == "Use a hub id, or a URL of huggingface.co."
    strict.close()


def test_the_least_recently_used_make_room(loras: Loras, web: "Server") -> None:
    def path(n: int) -> Path:
        return loras.bring([Lora(path=f"{web.url}/{n}.safetensors")])[0].path

    files = [path(n) for n in range(4)]
    assert 4 * len(weights()) < 400 < 5 * len(weights())
    for age, file in enumerate(files):
        os.utime(file, (1_000 + age, 1_000 + age))
    path(0)
    path(4)
    assert [file.exists() for file in files] == [True, False, True, True]

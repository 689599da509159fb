"""The hub of the local cloud, asked by our own protocol and by Hugging Face's own client."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from pulumi_visgate.hub import protocol
from pulumi_visgate.hub.errors import NoSuchRevision, NotOnHub, Passing
from pulumi_visgate.local.hub import testing
from pulumi_visgate.local.hub.app import create_app
from pulumi_visgate.local.hub.library import Folders
from pulumi_visgate.local.hub.testing import HubMirror
from pulumi_visgate.local.hub.upstream import Upstream

MODEL = "acme/tiny"
BASE = "http://host.test/hub"
FILES = testing.model(200_000)
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for path, data in FILES.items():
        file = tmp_path / MODEL / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (tmp_path / MODEL / ".visgate").write_text("not the model's")
    (tmp_path / "secret").write_text("not a model")
    return tmp_path


@pytest.fixture
def behind() -> Iterator[HubMirror]:
    with testing.serve() as mirror:
        yield mirror


@pytest.fixture
async def hub(models: Path, behind: HubMirror) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as http:
        app = Starlette(routes=[Mount("/hub", create_app(Folders(models), beyond=Upstream(behind.url, http).serve))])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            yield client


async def info(client: httpx.AsyncClient, model_id: str, revision: str | None = None) -> protocol.ModelInfo:
    answer = await client.get(protocol.info_url(BASE, model_id, revision))
    protocol.check(answer.status_code, answer.headers, model_id=model_id, revision=revision)
    return protocol.read_info(model_id, answer.content)


async def test_a_folder_is_a_model_with_a_commit_of_its_content(hub: httpx.AsyncClient, models: Path) -> None:
    found = await info(hub, MODEL)
    assert {file.path for file in found.files} == set(FILES)
    by_path = {file.path: file for file in found.files}
    assert by_path[WEIGHTS].sha256
    assert by_path["vae/config.json"].blob_id
    assert await info(hub, MODEL, "main") == await info(hub, MODEL, found.commit) == found
    (models / MODEL / "vae/config.json").write_text('{"changed": true}')
    changed = await info(hub, MODEL)
    assert changed.commit != found.commit
    with pytest.raises(NoSuchRevision):
        await info(hub, MODEL, found.commit)


async def test_files_come_whole_and_in_ranges(hub: httpx.AsyncClient) -> None:
    commit = (await info(hub, MODEL)).commit
    url = protocol.file_url(BASE, MODEL, commit, WEIGHTS)
    assert (await hub.get(url)).content == FILES[WEIGHTS]
    part = await hub.get(url, headers={"range": "bytes=100000-100009"})
    assert (part.status_code, part.content) == (206, FILES[WEIGHTS][100_000:100_010])
    assert part.headers["content-range"] == "bytes 100000-100009/200000"
    head = await hub.head(url)
    assert (head.headers["content-length"], head.headers["x-repo-commit"]) == ("200000", commit)
    assert (await hub.get(protocol.file_url(BASE, MODEL, commit, "no.bin"))).headers["x-error-code"] == "EntryNotFound"


@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "..%2fsecret", ".visgate", "/etc/passwd"])
async def test_nothing_but_the_model_is_given(hub: httpx.AsyncClient, path: str) -> None:
    commit = (await info(hub, MODEL)).commit
    answer = await hub.get(f"{BASE}/{MODEL}/resolve/{commit}/{path}")
    assert answer.status_code in {401, 404}
    assert "not" not in answer.text


async def test_what_is_not_here_comes_from_the_hub_behind_with_its_words(
    hub: httpx.AsyncClient, behind: HubMirror
) -> None:
    commit = behind.commit("acme/large", FILES)
    behind.gate("acme/large", "hf_CANARY")
    found = await info(hub, "acme/large")
    assert (found.commit, found.is_gated) == (commit, True)
    url = protocol.file_url(BASE, "acme/large", commit, WEIGHTS)
    refused = await hub.get(url)
    assert (refused.status_code, refused.headers["x-error-code"]) == (401, "GatedRepo")
    moved = await hub.get(url, headers=protocol.headers("hf_CANARY"))
    assert moved.headers["location"].startswith(f"http://127.0.0.1:{behind.ports[1]}/")
    small = await hub.get(
        protocol.file_url(BASE, "acme/large", commit, "vae/config.json"), headers=protocol.headers("hf_CANARY")
    )
    assert small.content == FILES["vae/config.json"]
    with pytest.raises(NotOnHub):
        await info(hub, "acme/nothing")


async def test_a_hub_behind_that_is_away_is_a_passing_trouble_and_local_models_go_on(models: Path) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        app = Starlette(
            routes=[Mount("/hub", create_app(Folders(models), beyond=Upstream("http://127.0.0.1:9", http).serve))]
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            with pytest.raises(Passing, match="504"):
                await info(client, "acme/nothing")
            assert (await info(client, MODEL)).files


def test_hugging_faces_own_client_downloads_from_it(
    behind: HubMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi, snapshot_download

    commit = behind.commit(MODEL, FILES)
    api: Any = HfApi(endpoint=behind.url, token=False)
    assert api.model_info(MODEL).sha == commit
    path = snapshot_download(MODEL, endpoint=behind.url, cache_dir=tmp_path, token=False)
    assert (Path(path) / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert Path(path).name == commit

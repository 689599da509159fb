"""The hub's client against a real server of the hub's routes."""

import traceback
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from pulumi_visgate.local.hub import testing as hub_mirror
from pulumi_visgate.local.hub.testing import HubMirror
from pulumi_visgate.resources import _hub
from pulumi_visgate.resources._hub import Hub, HubSource
from pulumi_visgate.resources._manifest import SourceFile
from pulumi_visgate.resources.errors import HubError

MODEL = "acme/tiny"
TOKEN = "hf_CANARYcanaryCANARYcanary"
FILES = hub_mirror.model(300_000)
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def mirror() -> Iterator[HubMirror]:
    with hub_mirror.serve() as running:
        yield running


@pytest.fixture
def hub(mirror: HubMirror) -> Hub:
    return Hub(mirror.url, SecretStr(TOKEN))


@pytest.fixture
def source(hub: Hub, mirror: HubMirror) -> Iterator[HubSource]:
    found = hub.source(MODEL, mirror.commit(MODEL, FILES), variant=None, patterns=[])
    yield found
    found.close()


def weights(source: HubSource) -> SourceFile:
    return next(file for file in source.files if file.path == WEIGHTS)


def test_a_revision_is_asked_for_once(hub: Hub, mirror: HubMirror) -> None:
    commit = mirror.commit(MODEL, FILES, "v1")
    assert [hub.commit(MODEL, "v1"), hub.commit(MODEL, "v1"), hub.commit(MODEL, commit)] == [commit] * 3
    assert mirror.requests["metadata"] == 1


def test_digests_are_those_that_the_hub_tells(source: HubSource) -> None:
    by_path = {file.path: file for file in source.files}
    assert by_path[WEIGHTS].sha256
    assert by_path[WEIGHTS].blob_id is None
    assert by_path["unet/config.json"].sha256 is None
    assert by_path["unet/config.json"].blob_id


def test_ranges_are_read_and_redirects_looked_up_once_without_the_token(source: HubSource, mirror: HubMirror) -> None:
    file = weights(source)
    parts = [source.read(file, start, 100_000) for start in (0, 100_000, 200_000)]
    assert b"".join(parts) == FILES[WEIGHTS]
    assert mirror.requests["redirect"] == 1
    assert ("files", None) in mirror.keys
    assert not [key for origin, key in mirror.keys if origin == "files" and key]


def test_cut_connections_expired_links_and_a_busy_hub_are_passed_over(source: HubSource, mirror: HubMirror) -> None:
    mirror.faults.cut, mirror.faults.stale, mirror.faults.refuse = 3, 1, (429, 2)
    assert source.read(weights(source), 0, 300_000) == FILES[WEIGHTS]
    assert mirror.faults.cut == 0
    assert mirror.served[WEIGHTS] < 600_000  # it goes on near where it was cut; from the start it would be 750,000


def test_a_hub_that_stays_away_is_told_without_link_and_token(
    source: HubSource, mirror: HubMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_hub, "FRUITLESS_ATTEMPTS", 2)
    mirror.faults.stale = 100
    with pytest.raises(
        HubError, match=rf"{WEIGHTS} of acme/tiny .* could not be read from the hub: answered 403"
    ) as no:
        source.read(weights(source), 0, 300_000)
    said = "".join(traceback.format_exception(no.value))
    assert "signature=canary" not in said
    assert TOKEN not in said


def test_too_slow_is_as_good_as_broken(source: HubSource, mirror: HubMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hub, "PART_DEADLINE_S", 0.1)
    mirror.faults.pause_s = 0.2
    with pytest.raises(HubError, match="too slow"):
        source.read(weights(source), 0, 300_000)


@pytest.mark.parametrize(
    ("token", "hint"),
    [
        (None, "no token was given.*Then set HF_TOKEN"),
        (TOKEN, "the given token has no access.*Accept the model's terms"),
    ],
)
def test_a_gated_model_says_what_to_do(mirror: HubMirror, token: str | None, hint: str) -> None:
    commit = mirror.commit(MODEL, FILES)
    hub = Hub(mirror.url, SecretStr(token) if token else None)
    source = hub.source(MODEL, commit, variant=None, patterns=[])
    mirror.gate(MODEL, "hf_of_somebody_else")
    for ask in (
        lambda: Hub(mirror.url, SecretStr(token) if token else None).source(MODEL, commit, variant=None, patterns=[]),
        lambda: source.read(weights(source), 0, 5),
    ):
        with pytest.raises(HubError, match=f"model_id: acme/tiny is gated.*{hint}") as refused:
            ask()
        assert TOKEN not in str(refused.value)
    source.close()


def test_a_gated_model_needs_a_token_before_anything_is_made(mirror: HubMirror) -> None:
    mirror.commit(MODEL, FILES)
    mirror.gate(MODEL, TOKEN)
    with pytest.raises(HubError, match="no token was given"):
        Hub(mirror.url).commit(MODEL, None)
    assert Hub(mirror.url, SecretStr(TOKEN)).commit(MODEL, None)


def test_a_token_that_the_hub_does_not_know_is_named(mirror: HubMirror) -> None:
    mirror.commit(MODEL, FILES)
    mirror.access.tokens = {"hf_other"}
    with pytest.raises(HubError, match=r"does not accept the given token.*HF_TOKEN") as refused:
        Hub(mirror.url, SecretStr(TOKEN)).commit(MODEL, None)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("model_id", "revision", "said"),
    [
        (MODEL, "v9", "revision: acme/tiny has no revision 'v9'"),
        ("acme/other", None, "model_id: acme/other is not on the hub at .*or is private"),
    ],
)
def test_what_the_hub_does_not_have_is_named(
    hub: Hub, mirror: HubMirror, model_id: str, revision: str | None, said: str
) -> None:
    mirror.commit(MODEL, FILES)
    with pytest.raises(HubError, match=said):
        hub.commit(model_id, revision)


def test_a_hub_that_does_not_answer_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hub, "METADATA_ATTEMPTS", 1)
    with pytest.raises(HubError, match=r"http://127\.0\.0\.1:9 did not answer \(ConnectError\).*HF_ENDPOINT"):
        Hub("http://127.0.0.1:9").commit(MODEL, None)


@pytest.mark.parametrize("index", [None, b"[1]", b"no json"])
def test_a_model_of_another_format_is_refused(hub: Hub, mirror: HubMirror, index: bytes | None) -> None:
    files = {"config.json": b"{}"} | ({"model_index.json": index} if index else {})
    with pytest.raises(HubError, match=r"model_index\.json"):
        hub.source(MODEL, mirror.commit(MODEL, files), variant=None, patterns=[])

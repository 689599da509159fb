"""Which content a model cache means, found out before anything is moved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pulumi_visgate.local.hub import testing as hub_mirror
from pulumi_visgate.local.hub.testing import HubMirror
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources._values import UNKNOWN
from pulumi_visgate.resources.errors import HubError
from pulumi_visgate.resources.model_cache import ModelCacheCrud

MODEL = "acme/tiny"
PLACE = {"model_id": MODEL, "volume_id": "v1", "data_center": "EU-RO-1"}
COMMIT = "c0ffee" + "0" * 34
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def mirror() -> Iterator[HubMirror]:
    with hub_mirror.serve() as running:
        yield running


def cache(endpoint: str = NOBODY) -> ModelCacheCrud:
    return ModelCacheCrud(Session(Settings(hf_endpoint=endpoint, hf_token=SecretStr("hf_CANARY"))))


def checked(crud: ModelCacheCrud, olds: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    values, problems = crud.check(olds or {}, {**PLACE, **given})
    assert problems == []
    return values


def test_a_commit_is_pinned_already_and_asks_nobody() -> None:
    values = checked(cache(), revision=COMMIT)
    assert values["commit"] == COMMIT
    assert values == checked(cache(), revision=COMMIT)


def test_a_branch_is_pinned_once_and_asked_for_again_when_the_program_changes(mirror: HubMirror) -> None:
    first = mirror.commit(MODEL, hub_mirror.model())
    olds = checked(cache(mirror.url))
    assert olds["commit"] == first
    second = mirror.commit(MODEL, hub_mirror.model(seed=2))
    assert checked(cache(), olds) == olds  # nobody is asked
    assert checked(cache(), olds | {"digest": "incomplete"}) == olds  # drift does not move it, but is repaired
    news = checked(cache(mirror.url), olds, revision="main")
    assert news["commit"] == second
    assert cache().diff(olds, news).changed == ("revision", "commit", "digest")
    assert cache().diff(olds, news).replaces == ()
    mirror.access.tokens = {"hf_other"}
    with pytest.raises(HubError, match="does not accept the given token"):
        cache(mirror.url).check(olds, {**PLACE, "revision": "v2"})


def test_another_choice_of_files_is_other_content() -> None:
    plain, half = checked(cache(), revision=COMMIT), checked(cache(), revision=COMMIT, variant="fp16")
    assert plain["digest"] != half["digest"]
    some = [checked(cache(), revision=COMMIT, allow_patterns=patterns) for patterns in (["a*", "b*"], ["b*", "a*"])]
    assert cache().diff(*some).changed == ()
    assert some[0]["digest"] not in {plain["digest"], half["digest"]}


def test_what_a_preview_does_not_know_yet_is_not_asked_for() -> None:
    values = checked(cache(), model_id=UNKNOWN)
    assert values["digest"] is UNKNOWN
    assert "commit" not in values


def test_a_folder_needs_no_hub_and_its_revision_is_only_a_name(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    plain = checked(cache(), source=str(tmp_path))
    named = checked(cache(), source=str(tmp_path), revision="ours-3")
    assert plain["digest"] == named["digest"]
    assert "commit" not in named
    assert cache().diff(plain, named).changed == ("revision",)


@pytest.mark.parametrize(
    ("given", "name", "reason"),
    [
        ({"volume_id": None}, "volume_id", "give either"),
        ({"bucket": "b"}, "volume_id", "give either"),
        ({"source": "/nowhere"}, "source", "no model_index.json"),
        ({"source": "/nowhere", "variant": "fp16"}, "variant", "leave source out"),
        ({"source": "/nowhere", "allow_patterns": ["*"]}, "allow_patterns", "leave source out"),
        ({"revision": "../other"}, "revision", "pattern"),
        ({"variant": "../fp16"}, "variant", "pattern"),
        ({"model_id": "tiny"}, "model_id", "pattern"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], name: str, reason: str) -> None:
    _, problems = cache().check({}, {**PLACE, "revision": COMMIT, **given})
    assert any(problem.property == name and reason in problem.reason for problem in problems), problems

"""What every child of a component gets, and how a program changes one of them."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_visgate import ArtifactCdn, Gateway, GeoRoutedCache, InferencePlatform, VisgateError
from pulumi_visgate.components import artifact_cdn, gateway, geo_routed_cache, inference_platform
from tests.unit.components.conftest import MODEL, PLATFORM, Recorder, run

WINDOW = {"start": "09:00", "end": "18:00", "timezone": "Europe/Berlin"}
SCHEDULED = {**MODEL, "policy": "scheduled_warm", "windows": [WINDOW]}
GATEWAY: dict[str, Any] = {
    "signing_key": "a-key",
    "image": "acme/worker:1",
    "gpu_pools": ["ADA_24"],
    "models": [],
    "bucket": "artifacts",
    "cdn_url": "http://127.0.0.1/cdn",
}
COMPONENTS: list[tuple[Any, dict[str, Any], tuple[str, ...]]] = [
    (GeoRoutedCache, {"regions": ["EU-RO-1"], "models": [MODEL]}, geo_routed_cache.PARTS),
    (ArtifactCdn, {}, artifact_cdn.PARTS),
    (Gateway, GATEWAY, gateway.PARTS),
    (InferencePlatform, {**PLATFORM, "models": [SCHEDULED]}, inference_platform.PARTS),
]
every_component = pytest.mark.parametrize(
    ("component", "args", "parts"), COMPONENTS, ids=[component.__name__ for component, *_ in COMPONENTS]
)


def resources(recorder: Recorder) -> dict[str, Any]:
    return {name: request for (_, name), request in recorder.requests.items() if request.custom}


@every_component
def test_each_is_usable_alone_and_tags_reach_every_resource(
    recorder: Recorder, component: Any, args: dict[str, Any], parts: tuple[str, ...]
) -> None:
    tags = {"team": "pictures", "owner": pulumi.Output.from_input("ada")}
    run(lambda: component("c", {**args, "tags": tags}))
    assert resources(recorder)
    for name in resources(recorder):
        assert recorder.made[name][1]["tags"] == {"team": "pictures", "owner": "ada"}


@every_component
def test_transform_reaches_every_child_with_its_arguments(
    recorder: Recorder, component: Any, args: dict[str, Any], parts: tuple[str, ...]
) -> None:
    seen: dict[str, list[dict[str, Any]]] = {part: [] for part in parts}
    options = []

    def seer(part: str) -> Any:
        def see(given: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
            seen[part].append(given)
            options.append(opts)

        return see

    run(lambda: component("c", args, transform={part: seer(part) for part in parts}))
    assert [part for part, calls in seen.items() if not calls] == []
    assert all(opts.parent is not None for opts in options)


def test_transform_changes_arguments_and_options_in_place_or_by_what_it_returns(recorder: Recorder) -> None:
    def larger(args: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        if args["data_center"] == "EU-RO-1":
            args["size_gb"] = 200
        opts.ignore_changes = ["tier"]

    def calmer(args: dict[str, Any], _: pulumi.ResourceOptions) -> tuple[dict[str, Any], pulumi.ResourceOptions]:
        return {**args, "max_workers": 1}, pulumi.ResourceOptions(protect=True)

    transform = {"cache.volume": larger, "pool": calmer}
    run(lambda: InferencePlatform("p", PLATFORM, transform=transform))  # type: ignore[arg-type]  # a plain dict
    sizes = {name: recorder.made[name][1]["size_gb"] for name in ("p-cache-eu-ro-1", "p-cache-us-ks-2")}
    assert sizes == {"p-cache-eu-ro-1": 200, "p-cache-us-ks-2": 50}
    assert list(recorder.requests["NetworkVolume", "p-cache-eu-ro-1"].ignoreChanges) == ["tier"]
    [pool] = [request for (kind, _), request in recorder.requests.items() if kind == "WarmPool"]
    assert pool.protect
    assert pool.parent.endswith("visgate:index:InferencePlatform::p")
    assert recorder.made[pool.name][1]["max_workers"] == 1


def test_overrides_do_so_in_words_of_any_language(recorder: Recorder) -> None:
    overrides = {
        "pool": {"flashboot": "FLASHBOOT", "containerDiskGb": 40},
        "cache": {"size_gb": 70},
        "cache.volume": {"tier": "HIGH_PERFORMANCE"},
        "cdn.bucket": {"corsOrigins": ["*"]},
        "worker": {"image": "acme/other:1"},
    }
    run(lambda: InferencePlatform("p", {**PLATFORM, "overrides": overrides}))  # type: ignore[typeddict-item]  # built above
    [pool] = [inputs for typ, inputs in recorder.made.values() if typ.endswith("WarmPool")]
    assert (pool["flashboot"], pool["container_disk_gb"], pool["image"]) == ("FLASHBOOT", 40, "acme/other:1")
    _, volume = recorder.made["p-cache-eu-ro-1"]
    assert (volume["size_gb"], volume["tier"]) == (70, "HIGH_PERFORMANCE")
    assert recorder.made["p-artifacts"][1]["cors_origins"] == ["*"]


@every_component
def test_an_unknown_child_is_refused_with_the_names_that_there_are_and_nothing_is_made(
    recorder: Recorder, component: Any, args: dict[str, Any], parts: tuple[str, ...]
) -> None:
    for given in (
        lambda: component("c", args, transform={"volumes": lambda *_: None}),
        lambda: component("c", {**args, "overrides": {"volumes": {}}}),
    ):
        with pytest.raises(VisgateError, match="has no child 'volumes'") as raised:
            run(given)
        assert all(part in str(raised.value) for part in parts)
    assert resources(recorder) == {}


@every_component
def test_the_documentation_names_every_child(component: Any, args: dict[str, Any], parts: tuple[str, ...]) -> None:
    told = f"| `{component.__name__}` | {', '.join(f'`{part}`' for part in parts)} |"
    assert told in (Path(__file__).parents[3] / "docs" / "library.md").read_text(encoding="utf-8")


def test_a_transform_that_returns_something_else_is_refused(recorder: Recorder) -> None:
    def wrong(args: dict[str, Any], opts: pulumi.ResourceOptions) -> Any:
        return {**args, "size_gb": 100}

    with pytest.raises(VisgateError, match=r"volume returned something else .* return \(args, opts\)"):
        run(lambda: GeoRoutedCache("c", {"regions": ["EU-RO-1"], "models": []}, transform={"volume": wrong}))


def test_provider_and_protection_are_inherited_as_everywhere_in_pulumi(recorder: Recorder) -> None:
    def program() -> None:
        mine = pulumi.ProviderResource("pulumi-python", "mine")
        InferencePlatform("p", PLATFORM, pulumi.ResourceOptions(providers=[mine], protect=True))  # type: ignore[arg-type]  # a plain dict

    run(program)
    found = {name: request for name, request in resources(recorder).items() if name != "mine"}
    assert len(found) == 9
    for request in found.values():
        assert "::mine::" in request.provider
        assert request.protect


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, True),
        ({"retain_data": False}, False),
        ({"force_destroy": True}, False),
        ({"retain_data": True, "force_destroy": True}, True),
    ],
)
def test_data_outlives_the_platform_unless_the_program_says_otherwise(
    recorder: Recorder, given: dict[str, Any], kept: bool
) -> None:
    run(lambda: InferencePlatform("p", {**PLATFORM, **given}))  # type: ignore[typeddict-item]  # built above
    retained = {kind for (kind, _), request in recorder.requests.items() if request.retainOnDelete}
    assert retained == ({"NetworkVolume", "Bucket"} if kept else set())
    model = next(request for (kind, _), request in recorder.requests.items() if kind == "ModelCache")
    assert "NetworkVolume" in model.deletedWith


def test_what_the_children_cost_is_summed_up_where_it_is_known_of_all(recorder: Recorder) -> None:
    recorder.answers = {"hourly_floor_usd": 0.1, "hourly_ceiling_usd": 2.0}

    def program() -> pulumi.Output[Any]:
        platform = InferencePlatform("p", PLATFORM)  # type: ignore[arg-type]  # a plain dict
        told = pulumi.Output.all(platform.hourly_floor_usd, platform.hourly_ceiling_usd)
        return told.apply(figures.append)

    figures: list[list[float | None]] = []
    run(program)
    recorder.answers = {"hourly_floor_usd": None}
    run(program)
    assert figures[0] == [0.3, 6.0]
    assert figures[1][0] is None


def test_a_model_of_the_hub_has_its_revision_wherever_it_is_named(recorder: Recorder) -> None:
    args: Any = {**PLATFORM, "models": [{"model_id": "acme/tiny", "revision": "v1"}]}
    run(lambda: InferencePlatform("p", args))
    made = [inputs for _, inputs in recorder.made.values()]
    caches = [inputs for inputs in made if "data_center" in inputs and "model_id" in inputs]
    assert [(inputs["revision"], inputs.get("source")) for inputs in caches] == [("v1", None)] * 2
    assert [inputs["model_revision"] for inputs in made if "policy" in inputs] == ["v1"]
    [env] = [inputs["env"] for inputs in made if "module" in inputs]
    assert '"revision":"v1"' in str(env).replace(" ", "")

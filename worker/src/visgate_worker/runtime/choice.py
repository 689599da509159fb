"""The runtime of a worker: put together from its settings, its model and its GPU."""

import math

from visgate_contract.bounds import FALLBACK_STEPS
from visgate_contract.capabilities import Capability, Route
from visgate_contract.tasks import MIN_FRAMES, Task, Text2ImgInput, Text2VideoInput
from visgate_worker.adapters.adapter import Adapter
from visgate_worker.adapters.base import Generation
from visgate_worker.runtime.compiled import CompiledCode
from visgate_worker.runtime.hardware import detect, versions
from visgate_worker.runtime.ladder import LadderRuntime, Means
from visgate_worker.runtime.recipe import MIN_CACHED_STEPS
from visgate_worker.runtime.verdicts import Verdicts
from visgate_worker.settings import Settings

PROBE_SIDE = 512
PROBE_SIDE_ON_CPU = 64
PROBE_STEPS = 4
_PROBE_PROMPT = "A lighthouse on a rock by the sea, in the light of the evening."


def runtime_for(capability: Capability, settings: Settings) -> LadderRuntime:
    """Return a runtime that has not loaded its model yet.

    Args:
        capability: What the model is for.
        settings: The worker's settings.
    """
    hardware = detect()
    family = capability.family.value if capability.family else capability.pipeline
    root = settings.kept_path
    known = f"{settings.model_id} {settings.model_revision or ''}"
    key = f"{hardware.name} {hardware.capability} {family} {versions()}"
    route = next(iter(capability.routes.values()), None)
    return LadderRuntime(
        Means(
            policy=settings.runtime,
            hardware=hardware,
            family=family,
            verdicts=Verdicts(root, gpu=hardware.name, family=family, model=known, versions=versions()),
            compiled=CompiledCode(root, settings.cache_path.expanduser() / "compiled", key=key),
            probe=probe_of(capability, is_gpu=hardware.is_gpu),
            steps=_steps(route),
            multiple=route.traits.multiple if route else 8,
        )
    )


def probe_of(capability: Capability, *, is_gpu: bool) -> Generation | None:
    """Return a small picture or clip to compare runtimes by; None for a model that makes none from words alone.

    Args:
        capability: What the model is for.
        is_gpu: It may be as large as a GPU draws in a moment.
    """
    route = capability.routes.get(Task.TEXT2IMG) or capability.routes.get(Task.TEXT2VIDEO)
    if route is None:
        return None
    multiple = route.traits.multiple
    side = (PROBE_SIDE if is_gpu else PROBE_SIDE_ON_CPU) // multiple * multiple
    width, height = route.traits.sides or (side, side)
    # Steps that a cache can use are needed to see what it does to a picture.
    steps = MIN_CACHED_STEPS + 3 if _steps(route) >= MIN_CACHED_STEPS else PROBE_STEPS
    given = {"prompt": _PROBE_PROMPT, "width": width, "height": height, "steps": steps}
    if route.task is Task.TEXT2IMG:
        params: Text2ImgInput | Text2VideoInput = Text2ImgInput.model_validate(given)
    else:
        step = route.traits.frame_step
        frames = max(2, math.ceil((MIN_FRAMES - 1) / step)) * step + 1
        params = Text2VideoInput.model_validate(given | {"num_frames": frames})
    return Adapter(route).plan(params, seed=0)[0]


def _steps(route: Route | None) -> int:
    """Return the steps that a model is run with when nobody says."""
    own = (route.traits.steps or route.signature.steps) if route else None
    return own or FALLBACK_STEPS

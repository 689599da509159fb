"""What a job changes about a loaded pipeline, for as long as it runs: weights laid over its own, another scheduler."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import diffusers
import torch

from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Scheduler
from visgate_worker.adapters.base import LoraFile
from visgate_worker.failures import JobFailedError, summary
from visgate_worker.safety import OwnChecker

_OF_NOISE: Mapping[Scheduler, tuple[str, Mapping[str, Any]]] = {
    Scheduler.DDIM: ("DDIMScheduler", {}),
    Scheduler.DDPM: ("DDPMScheduler", {}),
    Scheduler.DEIS: ("DEISMultistepScheduler", {}),
    Scheduler.DPMPP_2M: ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    Scheduler.DPMPP_2M_KARRAS: (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
    ),
    Scheduler.DPMPP_2M_SDE: ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    Scheduler.EULER: ("EulerDiscreteScheduler", {}),
    Scheduler.EULER_ANCESTRAL: ("EulerAncestralDiscreteScheduler", {}),
    Scheduler.HEUN: ("HeunDiscreteScheduler", {}),
    Scheduler.LCM: ("LCMScheduler", {}),
    Scheduler.PNDM: ("PNDMScheduler", {"skip_prk_steps": True}),
    Scheduler.UNIPC: ("UniPCMultistepScheduler", {}),
}
_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
_OF_FLOWS: Mapping[Scheduler, tuple[str, Mapping[str, Any]]] = {
    Scheduler.DEIS: ("DEISMultistepScheduler", _FLOW),
    Scheduler.DPMPP_2M: ("DPMSolverMultistepScheduler", _FLOW | {"algorithm_type": "dpmsolver++"}),
    Scheduler.EULER: ("FlowMatchEulerDiscreteScheduler", {}),
    Scheduler.HEUN: ("FlowMatchHeunDiscreteScheduler", {}),
    Scheduler.LCM: ("FlowMatchLCMScheduler", {}),
    Scheduler.UNIPC: ("UniPCMultistepScheduler", _FLOW),
}


def scheduler_like(own: Any, name: Scheduler) -> Any:
    """Return a scheduler by its name, set up for what a model was trained with.

    Args:
        own: The model's own scheduler, whose configuration says that.
        name: One of those that the family takes.
    """
    known = dict(own.config)
    predicts_flow = type(own).__name__.startswith("FlowMatch") or known.get("use_flow_sigmas") is True
    class_name, more = (_OF_FLOWS if predicts_flow else _OF_NOISE)[name]
    if predicts_flow:
        shift = known.get("flow_shift", known.get("shift", 1.0))
        known |= {"shift": shift, "flow_shift": shift}
    made = getattr(diffusers, class_name)
    takes = inspect.signature(made).parameters
    return made(**{key: value for key, value in {**known, **more}.items() if key in takes})


@contextmanager
def scheduled(pipeline: Any, name: Scheduler | None) -> Iterator[None]:
    """Let a pipeline take its steps by another scheduler; None leaves its own."""
    if name is None:
        yield
        return
    own = pipeline.scheduler
    pipeline.scheduler = scheduler_like(own, name)
    try:
        yield
    finally:
        pipeline.scheduler = own


class LaidOver:
    """Weights that lie over those of a pipeline, until others are wanted: a job's pictures follow each other."""

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._loras: tuple[LoraFile, ...] = ()

    def change(self, pipeline: Any, loras: tuple[LoraFile, ...]) -> None:
        """Lay weights over a pipeline's, and take off what lay there before.

        Args:
            pipeline: Which; None where there is nothing to lay over.
            loras: The weights, or none.

        Raises:
            JobFailedError: They are not made for this model (`invalid_request`); nothing of them stays.
        """
        if (loras or self._loras) == () or (pipeline is self._pipeline and loras == self._loras):
            return
        if self._loras:
            self._pipeline.unload_lora_weights()
            self._pipeline, self._loras = None, ()
        if loras:
            try:
                _lay_over(pipeline, loras)
            except BaseException:
                pipeline.unload_lora_weights()
                raise
            self._pipeline, self._loras = pipeline, loras


def _lay_over(pipeline: Any, loras: Sequence[LoraFile]) -> None:
    names = [f"lora_{n}" for n in range(len(loras))]
    for n, (name, lora) in enumerate(zip(names, loras, strict=True)):
        try:
            pipeline.load_lora_weights(
                str(lora.path.parent), weight_name=lora.path.name, adapter_name=name, local_files_only=True
            )
            fits = any(name in adapters for adapters in pipeline.get_list_adapters().values())
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001, whatever a loader meets in a file of unknown making
            cause = error.__context__ or error  # the loader's own clearing up can fail over the first error
            raise _misfit(n, pipeline, f" ({summary(cause)})") from None
        if not fits:
            raise _misfit(n, pipeline)
    pipeline.set_adapters(names, [lora.scale for lora in loras])


def _misfit(n: int, pipeline: Any, why: str = "") -> JobFailedError:
    detail = f"params.loras.{n}: is not made for {type(pipeline).__name__}{why}."
    return JobFailedError(detail, hint="Choose one for this model.", code=ErrorCode.INVALID_REQUEST)


def taken_checker(pipeline: Any) -> OwnChecker | None:
    """Take the safety checker out of a pipeline, which would blank pictures without a word, and return it."""
    model = getattr(pipeline, "safety_checker", None)
    if type(model).__name__ != "StableDiffusionSafetyChecker":
        return None
    pipeline.safety_checker = None
    pipeline.register_to_config(requires_safety_checker=False)
    return OwnChecker(model, pipeline.feature_extractor)

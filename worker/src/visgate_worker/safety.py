"""What becomes of pictures that a safety checker objects to: each by itself, by policy, and never the whole job."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from visgate_contract.errors import ErrorCode
from visgate_contract.events import SafetyOutcome
from visgate_contract.tasks import Safety
from visgate_worker.failures import JobFailedError
from visgate_worker.runtime.base import Clip

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

FRAMES_LOOKED_AT = 8
_STRICTNESS = (Safety.OFF, Safety.FLAG, Safety.BLANK)


class Checker(Protocol):
    """Tells what should not be shown."""

    def objects_to(self, picture: "Image") -> bool:
        """Tell whether it objects to a picture."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """What is delivered, and what the checker said.

    Args:
        made: The picture or clip, blank where the policy says so.
        outcome: None where nothing was to be checked.
    """

    made: "Image | Clip"
    outcome: SafetyOutcome | None = None


def policy_of(platform: Safety, asked: Safety | None, checker: Checker | None) -> Safety:
    """Return the policy of a job: the platform's, or the job's where that is stricter.

    Raises:
        JobFailedError: There is to be a check, and nothing that checks (`invalid_request`).
    """
    policy = max(platform, asked or Safety.OFF, key=_STRICTNESS.index)
    if policy is not Safety.OFF and checker is None:
        detail = "params.safety: this model has no safety checker, and the platform names none."
        raise JobFailedError(detail, hint="Leave it out.", code=ErrorCode.INVALID_REQUEST)
    return policy


def checked(made: "Image | Clip", policy: Safety, checker: Checker | None) -> Checked:
    """Look at a picture, or at some frames of a clip; a check that fails is said, and counts as an objection."""
    if policy is Safety.OFF or checker is None:
        return Checked(made)
    try:
        objects = any(checker.objects_to(picture) for picture in _looked_at(made))
    except Exception:
        log.exception("the safety checker failed")
        return Checked(_blank(made) if policy is Safety.BLANK else made, SafetyOutcome.UNCHECKED)
    if not objects:
        return Checked(made, SafetyOutcome.PASSED)
    if policy is Safety.FLAG:
        return Checked(made, SafetyOutcome.FLAGGED)
    return Checked(_blank(made), SafetyOutcome.BLANKED)


def _looked_at(made: "Image | Clip") -> "Sequence[Image]":
    from PIL import Image  # noqa: PLC0415, loaded when there is a picture

    if not isinstance(made, Clip):
        return (made,)
    count = len(made.frames)
    chosen = sorted({n * (count - 1) // max(1, FRAMES_LOOKED_AT - 1) for n in range(FRAMES_LOOKED_AT)})
    return [Image.fromarray((made.frames[n].clip(0, 1) * 255).round().astype("uint8")) for n in chosen]


def _blank(made: "Image | Clip") -> "Image | Clip":
    from PIL import Image  # noqa: PLC0415, as above

    return replace(made, frames=made.frames * 0) if isinstance(made, Clip) else Image.new("RGB", made.size)


class OwnChecker:
    """The checker that Stable Diffusion's models bring along.

    Args:
        model: The part `safety_checker`.
        extractor: The part `feature_extractor`.
    """

    def __init__(self, model: Any, extractor: Any) -> None:
        self._model = model
        self._extractor = extractor

    def objects_to(self, picture: "Image") -> bool:
        """Tell whether it objects to a picture."""
        import numpy as np  # noqa: PLC0415, loaded when there is a picture

        seen = self._extractor(picture, return_tensors="pt").pixel_values.to(self._model.device, self._model.dtype)
        _, flags = self._model(images=np.array(picture)[None] / 255, clip_input=seen)
        return bool(flags[0])


class ClassifyingChecker:
    """Any classifier of pictures in transformers' format; loaded when it is first asked.

    Args:
        model_id: Hub id.
        labels: Labels that are objected to.
        threshold: From which probability of all of them together.
        load: Keyword arguments of loading it: where it is kept, and the token.
    """

    def __init__(self, model_id: str, *, labels: Sequence[str], threshold: float, load: dict[str, Any]) -> None:
        self._model_id = model_id
        self._labels = frozenset(label.lower() for label in labels)
        self._threshold = threshold
        self._load = load
        self._classify: Any = None

    def objects_to(self, picture: "Image") -> bool:
        """Tell whether it objects to a picture.

        Raises:
            JobFailedError: It knows none of the labels (`model_load_failed`).
        """
        if self._classify is None:
            self._classify = self._loaded()
        scores = {found["label"].lower(): found["score"] for found in self._classify(picture, top_k=None)}
        if not self._labels & scores.keys():
            detail = f"{self._model_id} knows none of the labels {', '.join(sorted(self._labels))}."
            hint = f"VISGATE_SAFETY_LABELS names them; it knows {', '.join(sorted(scores))}."
            raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED)
        objected = sum(float(score) for label, score in scores.items() if label in self._labels)
        return objected >= self._threshold

    def _loaded(self) -> Any:
        import torch  # noqa: PLC0415, by now it is there
        import transformers  # noqa: PLC0415, as above

        model = transformers.AutoModelForImageClassification.from_pretrained(
            self._model_id, use_safetensors=True, **self._load
        )
        processor = transformers.AutoImageProcessor.from_pretrained(self._model_id, **self._load)
        return transformers.pipeline(
            "image-classification",
            model=model,
            image_processor=processor,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

"""What calling a pipeline class takes, asked of the class itself."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from visgate_contract.pipelines import Signature

# Tensors, and what only a program would set.
_NOT_ASKED_FOR = re.compile(r"embeds|latents|attention_mask|kwargs|_tensor_inputs|seqlens|return_dict|output_type|_\d$")


def signature_of(pipeline: type) -> Signature:
    """Return what calling a pipeline of this class takes."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(pipeline.__call__).parameters.items()
        if name != "self" and parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
    }
    needs = frozenset(name for name, parameter in parameters.items() if parameter.default is parameter.empty)
    sides = [_default(parameters, name, int) for name in ("height", "width")]
    return Signature(
        takes=frozenset(name for name in parameters if not _NOT_ASKED_FOR.search(name)) | needs,
        needs=needs,
        steps=_default(parameters, "num_inference_steps", int),
        strength=_default(parameters, "strength", float),
        pixels=sides[0] * sides[1] if all(sides) else None,
        has_loras=hasattr(pipeline, "load_lora_weights"),
    )


def _default(parameters: Mapping[str, inspect.Parameter], name: str, kind: type) -> Any:
    default = parameters[name].default if name in parameters else None
    return default if isinstance(default, kind) else None

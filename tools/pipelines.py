"""Writes what the pipelines of the installed diffusers take into the contract: `python -m tools.pipelines`."""

import json
import pkgutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from visgate_contract.pipelines import TABLE, Catalogue, Signature
from visgate_contract.tasks import Task
from visgate_worker.adapters.signatures import signature_of

DESTINATION = Path(str(files("visgate_contract").joinpath(TABLE)))
_LIBRARIES = ("diffusers", "transformers")
_SIBLINGS = {
    Task.TEXT2IMG: "AUTO_TEXT2IMAGE_PIPELINES_MAPPING",
    Task.IMAGE2IMG: "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING",
    Task.INPAINT: "AUTO_INPAINT_PIPELINES_MAPPING",
    Task.TEXT2VIDEO: "AUTO_TEXT2VIDEO_PIPELINES_MAPPING",
    Task.IMAGE2VIDEO: "AUTO_IMAGE2VIDEO_PIPELINES_MAPPING",
}


def classes() -> Iterator[type]:
    """Return every pipeline class of diffusers that can be called."""
    import diffusers  # noqa: PLC0415, takes long

    for name in sorted(dir(diffusers)):
        found = getattr(diffusers, name)
        is_pipeline = isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)
        if is_pipeline and found is not diffusers.DiffusionPipeline and "__call__" in dir(found):
            yield found


def catalogue() -> Catalogue:
    """Return the table as the installed diffusers says it is."""
    import diffusers  # noqa: PLC0415, takes long
    from diffusers import pipelines  # noqa: PLC0415, as above

    siblings = _siblings()
    parts = {module.name for module in pkgutil.iter_modules(pipelines.__path__) if module.ispkg}
    return Catalogue(
        diffusers=diffusers.__version__,
        parts=frozenset({*_LIBRARIES, *parts}),
        pipelines={
            found.__name__: signature_of(found).model_copy(update={"siblings": siblings.get(found.__name__, {})})
            for found in classes()
        },
    )


def _siblings() -> dict[str, dict[Task, str]]:
    from diffusers.pipelines import auto_pipeline  # noqa: PLC0415, takes long

    groups: dict[str, dict[Task, str]] = {}
    for task, mapping in _SIBLINGS.items():
        for group, found in getattr(auto_pipeline, mapping).items():
            groups.setdefault(group, {})[task] = found.__name__
    return {
        pipeline: {task: other for task, other in group.items() if other != pipeline}
        for group in groups.values()
        for pipeline in group.values()
    }


def text(table: Catalogue) -> str:
    """Return the file: one line for each class, so that a change of diffusers can be read."""
    lines = ",\n".join(f'    "{name}": {_line(row)}' for name, row in sorted(table.pipelines.items()))
    parts = ", ".join(f'"{part}"' for part in sorted(table.parts))
    return f'{{\n  "diffusers": "{table.diffusers}",\n  "parts": [{parts}],\n  "pipelines": {{\n{lines}\n  }}\n}}\n'


def _line(row: Signature) -> str:
    found: dict[str, Any] = row.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({name: sorted(value) if isinstance(value, list) else value for name, value in found.items()})


if __name__ == "__main__":
    DESTINATION.write_text(text(catalogue()), encoding="utf-8")

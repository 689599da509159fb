"""What is known of runtimes, per GPU, family and version, on the volume: no worker tries the same failure twice.

A runtime that raised is remembered for the whole family, one that drew something else or was no faster for the model.
Each verdict is a file of its own, written in one step; two workers that write at once lose nothing.
"""

import hashlib
import os
import re
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from visgate_worker.runtime.recipe import Recipe

FOLDER = ".visgate/runtimes"


class Figures(BaseModel):
    """What was measured.

    Args:
        psnr_db: How close its picture was to the eager one.
        seconds: What its picture took, after the first.
        eager_s: What the eager one took.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    psnr_db: float
    seconds: float
    eager_s: float


class Verdict(BaseModel):
    """What a proof has shown.

    Args:
        runtime: Name of the recipe.
        is_proven: It may be used.
        reason: Why not, or by which figures.
        figures: What was measured, if it came to that.
        at: When.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    runtime: str
    is_proven: bool
    reason: str
    figures: Figures | None = None
    at: datetime


class Verdicts:
    """Verdicts of one GPU, family and set of versions.

    Args:
        root: Volume, or the machine's own cache.
        gpu: Name of the GPU.
        family: Family, or pipeline class of a model without one.
        model: Hub id and revision of the model.
        versions: Everything that a verdict is only good for.
    """

    def __init__(self, root: Path, *, gpu: str, family: str, model: str, versions: str) -> None:
        self._folder = root / FOLDER / _slug(gpu) / _slug(family) / _slug(versions)
        self._model = _slug(model)

    def of(self, recipe: Recipe) -> Verdict | None:
        """Return what is known of a recipe, or None."""
        for name in (f"{recipe.name}.json", f"{self._model}/{recipe.name}.json"):
            with suppress(OSError, ValidationError):
                return Verdict.model_validate_json((self._folder / name).read_bytes())
        return None

    def keep(
        self,
        recipe: Recipe,
        *,
        is_proven: bool,
        reason: str,
        of_family: bool = False,
        figures: Figures | None = None,
    ) -> None:
        """Remember a verdict; a place that cannot be written to forgets it.

        Args:
            recipe: What was tried.
            is_proven: It may be used.
            reason: Why not, or by which figures.
            of_family: It holds for every model of the family.
            figures: What was measured.
        """
        verdict = Verdict(
            runtime=recipe.name, is_proven=is_proven, reason=reason, figures=figures, at=datetime.now(UTC)
        )
        folder = self._folder if of_family else self._folder / self._model
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder, prefix=".")
            with os.fdopen(handle, "wb") as file:
                file.write(verdict.model_dump_json(exclude_none=True, indent=1).encode())
            Path(name).replace(folder / f"{recipe.name}.json")


def _slug(text: str) -> str:
    """Return a file name that tells texts apart."""
    short = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")[:60]
    return f"{short}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

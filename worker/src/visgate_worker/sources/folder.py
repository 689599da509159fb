"""A model in diffusers' folder format on a local path."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visgate_contract.caches import WEIGHTS, variant_of
from visgate_contract.capabilities import MODEL_INDEX
from visgate_contract.errors import ErrorCode
from visgate_contract.events import LoadSource
from visgate_worker.failures import JobFailedError, summary

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model in the diffusers folder format.

    Args:
        path: The folder with `model_index.json`.
        source: Where the bytes were when the search began.
        fetched_bytes: What came over the network during the search.
        fetch_s: Seconds that this took.
        repaired_files: Files of a cache that were missing, short or wrong, and were brought again.
    """

    path: Path
    source: LoadSource
    fetched_bytes: int = 0
    fetch_s: float = 0.0
    repaired_files: int = 0

    def index(self) -> dict[str, Any]:
        """Read `model_index.json`.

        Raises:
            JobFailedError: The file is no JSON object (`model_load_failed`).
        """
        try:
            parsed = json.loads((self.path / MODEL_INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            detail = f"{MODEL_INDEX} of the model cannot be read: {summary(error)}"
            raise JobFailedError(detail, hint="Copy the model again.", code=ErrorCode.MODEL_LOAD_FAILED) from error
        if not isinstance(parsed, dict):
            detail = f"{MODEL_INDEX} of the model is not a JSON object."
            raise JobFailedError(detail, hint="Copy the model again.", code=ErrorCode.MODEL_LOAD_FAILED)
        return parsed

    def config_of(self, part: str) -> dict[str, Any]:
        """Read the `config.json` of a part, such as the transformer; empty where there is none that can be read."""
        try:
            parsed = json.loads((self.path / part / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # loading the part says what is wrong with it
        return parsed if isinstance(parsed, dict) else {}

    @property
    def commit(self) -> str | None:
        """The commit that the folder is called by, if it is."""
        return self.path.name if _COMMIT.fullmatch(self.path.name) else None

    def size_bytes(self) -> int:
        """Return the size of all files, links followed."""
        return sum((Path(folder) / name).stat().st_size for folder, _, names in os.walk(self.path) for name in names)

    def variant(self) -> str | None:
        """Return the variant, such as `fp16`, that a part has all of its weights in; it then is that of all parts."""
        for _, files in self._safetensors():
            names = {variant_of(path.name) for path in files}
            if files and None not in names:
                return min(name for name in names if name)
        return None

    def weights(self) -> list[Path]:
        """Return the files that loading a pipeline reads: of each part its safetensors in the variant, else `.bin`."""
        variant = self.variant()
        chosen: list[Path] = []
        for part, files in self._safetensors():
            wanted = [path for path in files if variant_of(path.name) == variant]
            plain = [path for path in files if variant_of(path.name) is None]
            chosen += wanted or plain or sorted(part.glob("*.bin"))
        return chosen

    def _safetensors(self) -> list[tuple[Path, list[Path]]]:
        parts = sorted(path for path in self.path.iterdir() if path.is_dir())
        return [(part, sorted(part.glob(f"*{WEIGHTS}"))) for part in parts]

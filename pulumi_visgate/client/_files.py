"""Saving an artifact: whole and as announced, or not at all."""

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from pulumi_visgate.client.errors import GatewayError
from visgate_contract.events import Artifact

HINT = "Try the link again."


class Download:
    """A file on its way; use as a context manager, and `finish` it.

    Args:
        artifact: What was announced.
        file: Where to; replaced if it exists.
    """

    def __init__(self, artifact: Artifact, file: Path) -> None:
        self._artifact = artifact
        self._file = file
        self._unfinished = file.with_name(f".{file.name}.{os.getpid()}.part")
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        self._target = self._unfinished.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._target.close()
        self._unfinished.unlink(missing_ok=True)

    def add(self, chunk: bytes) -> bool:
        """Take a part; False when there is more of it than was announced."""
        self._size += len(chunk)
        if self._size > self._artifact.size_bytes:
            return False
        self._digest.update(chunk)
        self._target.write(chunk)
        return True

    def finish(self) -> None:
        """Put the file where it belongs.

        Raises:
            GatewayError: It is not what was announced.
        """
        self._target.close()
        announced = self._artifact.size_bytes, self._artifact.sha256
        if (self._size, self._digest.hexdigest()) != announced:
            detail = f"What {self._artifact.url} serves is not what the job delivered: size or SHA-256 differ."
            raise GatewayError(detail, hint=HINT, status=200)
        self._unfinished.replace(self._file)


def missing(artifact: Artifact, status: int) -> GatewayError:
    """Return the error of a link that leads nowhere."""
    return GatewayError(f"The CDN answered {status} for {artifact.url}.", hint=HINT, status=status)


def unreachable(artifact: Artifact, why: str) -> GatewayError:
    """Return the error of a CDN that does not answer."""
    return GatewayError(f"The CDN cannot be reached at {artifact.url}: {why}.", hint=HINT)

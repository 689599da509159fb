"""What a job has drawn becomes files at their links, beside the drawing of what follows, its own or another job's."""

import logging
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from visgate_contract.errors import VisgateError
from visgate_contract.events import Artifact
from visgate_contract.jobs import POSTER_TYPE, THUMBNAIL_TYPE, JobInput, Upload
from visgate_worker.artifacts import File, file_of, sha256
from visgate_worker.provenance import Provenance
from visgate_worker.runtime.base import Clip
from visgate_worker.safety import Checked
from visgate_worker.uploads import Uploader

log = logging.getLogger(__name__)


class Finishing:
    """The files of one job, in order, on a thread of their own.

    Args:
        job: What was asked, and where files go.
        uploader: Puts them there.
        mask: Removes secrets from text that is written into files.
        alive: Called whenever something got further; may raise, which ends it.
    """

    def __init__(
        self, job: JobInput, uploader: Uploader, *, mask: Callable[[str], str], alive: Callable[[], object]
    ) -> None:
        self.check_s: float | None = None
        self.encode_s = 0.0
        self.upload_s = 0.0
        self._job = job
        self._uploader = uploader
        self._mask = mask
        self._alive = alive
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="artifact")
        self._files: list[Future[Artifact]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=error is not None)

    def add(self, look: Callable[[], Checked], origin: Provenance) -> None:
        """Queue the next picture or clip.

        Args:
            look: Returns what was drawn, once a safety checker has looked at it if it is to.
            origin: What made it.
        """
        self._files.append(self._thread.submit(self._finish, len(self._files), look, origin))

    def artifacts(self) -> tuple[Artifact, ...]:
        """Wait until every file is at its link.

        Raises:
            JobFailedError: One is not, and will not be (`upload_failed`, `generation_failed`).
        """
        return tuple(file.result() for file in self._files)

    def _finish(self, n: int, look: Callable[[], Checked], origin: Provenance) -> Artifact:
        self._alive()
        began = time.perf_counter()
        looked_at = look()
        del look
        made, outcome = looked_at.made, looked_at.outcome
        if outcome is not None:
            self.check_s = (self.check_s or 0.0) + time.perf_counter() - began
        width, height = (made.frames.shape[2], made.frames.shape[1]) if isinstance(made, Clip) else made.size
        origin = origin.with_details(seed=origin.seed or 0, width=width, height=height)
        about = self._mask(origin.text()) if self._job.params.embed_metadata else None
        with tempfile.TemporaryDirectory(prefix="visgate-") as scratch:
            began = time.perf_counter()
            file = file_of(made, self._job.params, Path(scratch), about=about)
            del made, looked_at
            self.encode_s += time.perf_counter() - began
            self._alive()
            began = time.perf_counter()
            artifact = self._stored(self._job.uploads[n], file, origin)
            self.upload_s += time.perf_counter() - began
        self._alive()
        return artifact.model_copy(update={"safety": outcome})

    def _stored(self, upload: Upload, file: File, origin: Provenance) -> Artifact:
        digest = sha256(file.content)
        self._uploader.put(upload, file.content, content_type=file.content_type, alive=self._alive)
        return Artifact(
            url=upload.cdn_url,
            content_type=file.content_type,
            width=file.width,
            height=file.height,
            size_bytes=file.size_bytes,
            sha256=digest,
            seed=origin.seed or 0,
            duration_s=file.duration_s,
            num_frames=file.num_frames,
            fps=file.fps,
            thumbnail_url=self._beside(upload.thumbnail, file.thumbnail, THUMBNAIL_TYPE),
            poster_url=self._beside(upload.poster, file.poster, POSTER_TYPE),
        )

    def _beside(self, upload: Upload | None, content: bytes | None, content_type: str) -> str | None:
        """Store a picture that stands for another; a job does not fail for the want of one."""
        if upload is None or content is None:
            return None
        try:
            self._uploader.put(upload, content, content_type=content_type, alive=self._alive)
        except VisgateError as error:
            log.warning("a small picture is missing: %s", error.detail)
            return None
        return upload.cdn_url

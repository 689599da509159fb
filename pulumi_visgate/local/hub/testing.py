"""A hub for tests: models that a test makes, a second origin for large files, faults on demand, and what was asked."""

import asyncio
import json
import random
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.local.hub.app import Access, create_app
from pulumi_visgate.local.hub.library import BRANCH, LARGE_BYTES, Commit, blob_of

HUB, FILES = "hub", "files"
_START_S = 30.0


@dataclass
class Faults:
    """What goes wrong; counts go down with every time that it does.

    Args:
        cut: Connections that end in the middle of a file.
        corrupt: Answers with a flipped byte.
        broken: Path of a file that always has one.
        refuse: Status and number of answers for files.
        silent: Status and number of answers for metadata.
        stale: Answers of the second origin that say that a link has expired.
        pause_s: Seconds before every 64 kB of a file.
        hang_s: Seconds before an answer with metadata.
    """

    cut: int = 0
    corrupt: int = 0
    broken: str = ""
    refuse: tuple[int, int] = (503, 0)
    silent: tuple[int, int] = (503, 0)
    stale: int = 0
    pause_s: float = 0.0
    hang_s: float = 0.0


@dataclass
class HubMirror:
    """One hub with its models.

    Args:
        folder: Where their content is kept.
        faults: What goes wrong.
        access: Who may read what.
        served: Bytes of each path that went out.
        requests: How often each kind of request came: `metadata`, `file`, `redirect`.
        keys: `Authorization` that came, by origin.
    """

    folder: Path
    faults: Faults = field(default_factory=Faults)
    access: Access = field(default_factory=Access)
    served: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    keys: set[tuple[str, str | None]] = field(default_factory=set)
    revisions: dict[tuple[str, str], Commit] = field(default_factory=dict)
    ports: tuple[int, int] = (0, 0)

    @property
    def url(self) -> str:
        """Base URL, for `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def commit(self, model_id: str, files: Mapping[str, bytes], branch: str = BRANCH) -> str:
        """Put files under a new commit, and a branch on it."""
        blobs = {}
        for path, data in files.items():
            file = self.folder / str(len(list(self.folder.iterdir())))
            file.write_bytes(data)
            blobs[path] = blob_of(file)
        made = Commit(blobs)
        self.revisions[model_id, made.sha] = self.revisions[model_id, branch] = made
        return made.sha

    def gate(self, model_id: str, *tokens: str) -> None:
        """Give the files of a model to these tokens only."""
        self.access.gates[model_id] = set(tokens)

    def reset(self) -> None:
        """Forget what was counted."""
        self.served.clear()
        self.requests.clear()

    def take(self, fault: str) -> bool:
        """Use a fault up once."""
        left: int = getattr(self.faults, fault)
        setattr(self.faults, fault, max(left - 1, 0))
        return left > 0

    def take_status(self, fault: str) -> int | None:
        """Use up one of the answers with a status, and return it."""
        status, times = getattr(self.faults, fault)
        setattr(self.faults, fault, (status, max(times - 1, 0)))
        return status if times else None


class _Kept:
    """The hub's library over a mirror's commits."""

    def __init__(self, mirror: HubMirror) -> None:
        self._mirror = mirror

    def has(self, model_id: str) -> bool:
        return any(known == model_id for known, _ in self._mirror.revisions)

    def commit(self, model_id: str, revision: str) -> Commit | None:
        return self._mirror.revisions.get((model_id, revision))


class _CutError(Exception):
    """Ends a connection in the middle of an answer."""


class FaultyHub:
    """The application of a mirror's two origins: it counts, and lets go wrong what is to go wrong.

    Args:
        mirror: What it serves; its two ports tell the origins apart.
    """

    def __init__(self, mirror: HubMirror) -> None:
        def elsewhere(request: Request) -> str:
            return f"http://127.0.0.1:{mirror.ports[1]}{request.url.path}?signature=canary"

        kept = _Kept(mirror)
        # The signature opens the second origin, whoever comes with it.
        self._apps: dict[str, ASGIApp] = {
            HUB: create_app(kept, access=mirror.access, elsewhere=elsewhere),
            FILES: create_app(kept),
        }
        self._mirror = mirror

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        mirror = self._mirror
        origin = HUB if scope["server"][1] == mirror.ports[0] else FILES
        mirror.keys.add((origin, Request(scope).headers.get("authorization")))
        is_file = "/resolve/" in scope["path"]
        mirror.requests["file" if is_file else "metadata"] += 1
        await asyncio.sleep(0.0 if is_file else mirror.faults.hang_s)
        if status := mirror.take_status("refuse" if is_file else "silent"):
            headers = {"retry-after": "0"} if status == 429 else {}  # noqa: PLR2004, Too Many Requests
            return await Response(status_code=status, headers=headers)(scope, receive, send)
        if origin == FILES and mirror.take("stale"):
            return await Response(status_code=403)(scope, receive, send)
        path = scope["path"].split("/resolve/", 1)[-1].partition("/")[2]
        return await self._apps[origin](scope, receive, _Body(mirror, path, send) if is_file else send)


class _Body:
    """Sends the body of a file, or something like it."""

    def __init__(self, mirror: HubMirror, path: str, send: Send) -> None:
        self._mirror = mirror
        self._path = path
        self._send = send
        self._left: int | None = None
        self._corrupt = False

    async def __call__(self, message: Message) -> None:
        mirror = self._mirror
        if message["type"] == "http.response.start":
            if message["status"] == 302:  # noqa: PLR2004, Found
                mirror.requests["redirect"] += 1
            elif message["status"] < 300:  # noqa: PLR2004, a file follows
                length = next(int(value) for name, value in message["headers"] if name == b"content-length")
                self._corrupt = self._path == mirror.faults.broken or mirror.take("corrupt")
                self._left = length // 2 if mirror.take("cut") else None
        elif message.get("body"):
            message = await self._changed(message)
        await self._send(message)
        if self._left == 0:
            raise _CutError

    async def _changed(self, message: Message) -> Message:
        body = bytearray(message["body"])
        if self._mirror.faults.pause_s:
            await asyncio.sleep(self._mirror.faults.pause_s)
        if self._corrupt:
            body[0] ^= 0xFF
            self._corrupt = False
        if self._left is not None:
            del body[self._left :]
            self._left -= len(body)
        self._mirror.served[self._path] += len(body)
        return {**message, "body": bytes(body), "more_body": message.get("more_body", False) or self._left == 0}


@contextmanager
def serve() -> Iterator[HubMirror]:
    """Run a hub, and the other origin that it sends clients on to for large files."""
    with tempfile.TemporaryDirectory(prefix="visgate-hub-") as folder, socket.socket() as one, socket.socket() as two:
        for listening in (one, two):
            listening.bind(("127.0.0.1", 0))
        mirror = HubMirror(Path(folder), ports=(one.getsockname()[1], two.getsockname()[1]))
        config = uvicorn.Config(
            FaultyHub(mirror), log_config=None, ws="none", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [one, two]}, name="hub")
        thread.start()
        try:
            _await(server, thread)
            yield mirror
        finally:
            server.should_exit = True
            thread.join()


def _await(server: uvicorn.Server, thread: threading.Thread) -> None:
    started = threading.Event()
    for _ in range(int(_START_S / 0.01)):
        if server.started:
            return
        if not thread.is_alive():
            break
        started.wait(0.01)
    message = "the hub did not start"
    raise RuntimeError(message)


def model(size: int = 0, seed: int = 1) -> dict[str, bytes]:
    """Return the files of something in the shape of a diffusers model on a hub.

    Args:
        size: Bytes of its large file.
        seed: Other content for another one.
    """
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
    }
    weights = random.Random(seed).randbytes(size)  # noqa: S311, no secret
    return {
        "README.md": b"# a model",
        "LICENSE.md": b"open",
        "model_index.json": json.dumps(index).encode(),
        "whole.safetensors": b"s" * LARGE_BYTES,
        "unet/config.json": b'{"seed": %d}' % seed,
        "unet/diffusion_pytorch_model.safetensors": weights or b"u" * LARGE_BYTES,
        "unet/diffusion_pytorch_model.fp16.safetensors": b"h" * LARGE_BYTES,
        "unet/diffusion_pytorch_model.bin": b"b" * LARGE_BYTES,
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": b"v" * LARGE_BYTES,
        "safety_checker/model.safetensors": b"n" * LARGE_BYTES,
    }

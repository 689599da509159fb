"""A model hub on loopback: metadata, ranged files, redirects to a second origin, and faults on demand."""

import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = 64 * 1024  # from here on a file is stored as LFS, by SHA-256
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Faults:
    """What goes wrong; counts go down with every time that it does.

    Args:
        cut: Connections that end in the middle of a file.
        corrupt: Answers with a flipped byte.
        broken: Path of a file that always has one.
        refuse: Status and number of answers for files.
        stale: Answers of the second origin that say that a link has expired.
        gated: The model's terms were not accepted.
        pause_s: Seconds before every 64 kB.
    """

    cut: int = 0
    corrupt: int = 0
    broken: str = ""
    refuse: tuple[int, int] = (503, 0)
    stale: int = 0
    gated: bool = False
    pause_s: float = 0.0


@dataclass
class HubMirror:
    """One hub with its models.

    Args:
        faults: What goes wrong.
        served: Bytes of each path that went out.
        requests: How often each kind of request came.
        keys: `Authorization` that came, by origin.
    """

    faults: Faults = field(default_factory=Faults)
    served: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    keys: set[tuple[str, str | None]] = field(default_factory=set)
    revisions: dict[tuple[str, str], str] = field(default_factory=dict)
    commits: dict[tuple[str, str], Mapping[str, bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)
    ports: tuple[int, int] = (0, 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def commit(self, model_id: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Put files under a new commit, and a branch on it."""
        named = json.dumps({path: hashlib.sha1(data).hexdigest() for path, data in sorted(files.items())})
        sha = hashlib.sha1(named.encode()).hexdigest()
        self.commits[model_id, sha] = dict(files)
        self.revisions[model_id, sha] = self.revisions[model_id, branch] = sha
        return sha

    def take(self, fault: str) -> bool:
        """Use a fault up once."""
        with self.lock:
            left = getattr(self.faults, fault)
            setattr(self.faults, fault, max(left - 1, 0))
            return bool(left > 0)

    def reset(self) -> None:
        """Forget what was counted."""
        with self.lock:
            self.served.clear()
            self.requests.clear()


def lfs(data: bytes) -> bool:
    return len(data) >= LARGE


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubMirror
    origin = "hub"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        with self.hub.lock:
            self.hub.keys.add((self.origin, self.headers.get("authorization")))
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        if found:
            self._info(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/(?:lfs/)?([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", path):
            self._file(found[1], found[2], found[3])
        else:
            self._answer(404, {"x-error-code": "RepoNotFound"})

    def _info(self, model_id: str, revision: str) -> None:
        self.hub.requests["metadata"] += 1
        if self.hub.faults.gated:
            self._answer(403, {"x-error-code": "GatedRepo", "x-error-message": "Access to model is restricted."})
        elif not any(known == model_id for known, _ in self.hub.revisions):
            self._answer(401, {"x-error-code": "RepoNotFound"})
        elif (model_id, revision) not in self.hub.revisions:
            self._answer(404, {"x-error-code": "RevisionNotFound"})
        else:
            sha = self.hub.revisions[model_id, revision]
            siblings = [_sibling(path, data) for path, data in self.hub.commits[model_id, sha].items()]
            self._answer(200, {}, json.dumps({"id": model_id, "sha": sha, "siblings": siblings}).encode())

    def _file(self, model_id: str, sha: str, path: str) -> None:
        hub = self.hub
        data = hub.commits.get((model_id, sha), {}).get(path)
        status, times = hub.faults.refuse
        if data is None:
            self._answer(404, {"x-error-code": "EntryNotFound"})
        elif hub.faults.gated and self.origin == "hub":
            self._answer(403, {"x-error-code": "GatedRepo"})
        elif times:
            hub.faults.refuse = (status, times - 1)
            self._answer(status, {"retry-after": "0"} if status == 429 else {})
        elif self.origin == "hub" and lfs(data):
            hub.requests["redirect"] += 1
            self._answer(302, {"location": f"http://127.0.0.1:{hub.ports[1]}/lfs{self.path}?signature=canary"})
        elif self.origin != "hub" and hub.take("stale"):
            self._answer(403, {})
        else:
            self._send(path, data)

    def _send(self, path: str, data: bytes) -> None:
        asked = _RANGE.fullmatch(self.headers.get("range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, len(data)) if asked and asked[2] else len(data)
        self.send_response(206 if asked else 200)
        self.send_header("content-length", str(end - start))
        if asked:
            self.send_header("content-range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        body = bytearray(data[start:end])
        if path == self.hub.faults.broken or self.hub.take("corrupt"):
            body[0] ^= 0xFF
        if self.hub.take("cut"):
            del body[len(body) // 2 :]
            self.close_connection = True
        for at in range(0, len(body), LARGE):
            if self.hub.faults.pause_s:
                self.hub.stopping.wait(self.hub.faults.pause_s)
            chunk = body[at : at + LARGE]
            self.wfile.write(chunk)
            with self.hub.lock:
                self.hub.served[path] += len(chunk)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body)), "content-type": "application/json"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    found: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob}
    if lfs(data):
        found["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is what some tests are about."""


@contextmanager
def serve() -> Iterator[HubMirror]:
    """Run a hub, and the other origin that it sends clients on to."""
    hub = HubMirror()
    front = type("Front", (_Handler,), {"hub": hub})
    back = type("Back", (_Handler,), {"hub": hub, "origin": "files"})
    servers = [_Server(("127.0.0.1", 0), handler) for handler in (front, back)]
    hub.ports = (servers[0].server_address[1], servers[1].server_address[1])
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def model(size: int = 0, seed: int = 1) -> dict[str, bytes]:
    """Return the files of something in the shape of a diffusers model on a hub.

    Args:
        size: Bytes of its large file.
        seed: Other content for another one.
    """
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
    }
    weights = random.Random(seed).randbytes(size)
    return {
        "README.md": b"# a model",
        "LICENSE.md": b"open",
        "model_index.json": json.dumps(index).encode(),
        "whole.safetensors": b"s" * LARGE,
        "unet/config.json": b'{"seed": %d}' % seed,
        "unet/diffusion_pytorch_model.safetensors": weights or b"u" * LARGE,
        "unet/diffusion_pytorch_model.fp16.safetensors": b"h" * LARGE,
        "unet/diffusion_pytorch_model.bin": b"b" * LARGE,
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": b"v" * LARGE,
        "safety_checker/model.safetensors": b"n" * LARGE,
    }

"""Small models whose files are what they say they are, and a model store that serves one."""

import hashlib
import json
import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visgate_contract.caches import MANIFEST_NAME, Manifest, ManifestFile, model_prefix

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Request, Server

MODEL_ID = "org/name"
COMMIT = "c0ffee" + "0" * 34


def safetensors(size: int, fill: bytes = b"w") -> bytes:
    """Return a file with one tensor."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + fill * size


def model_files(weights: int = 1000) -> dict[str, bytes]:
    """Return the files of something in the shape of a diffusers model; two of them are equal."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
    }
    return {
        "model_index.json": json.dumps(index).encode(),
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": safetensors(weights),
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": safetensors(10, b"v"),
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b"",
        "tokenizer/merges.txt": b"",
    }


def manifest_of(files: dict[str, bytes], **head: Any) -> Manifest:
    about = {
        path: ManifestFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for path, data in files.items()
    }
    return Manifest(model_id=MODEL_ID, files=about, **({"folder": "rev1", "commit": COMMIT} | head))


def put_files(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def put_model(volume: Path, files: dict[str, bytes], **head: Any) -> Path:
    """Put a model on a volume as ModelCache does; returns its folder."""
    manifest = manifest_of(files, **head)
    root = volume / model_prefix(MODEL_ID)
    put_files(root / manifest.folder, files)
    (root / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    return root / manifest.folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class StoreServer:
    """A model store behind redirects, with faults.

    Args:
        files: What it has, by key.
        cut: Answers that end in the middle.
        expired: Answers of signed links that say that they are no longer good.
        corrupt: Answers with a wrong byte.
        status: Status of everything, if not what it should be.
        whole: Ranges are not honoured.
        served: Bytes that went out, by key.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut: int = 0
    expired: int = 0
    corrupt: int = 0
    status: int = 0
    whole: bool = False
    served: Counter[str] = field(default_factory=Counter)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    front: "Server" = field(init=False)
    back: "Server" = field(init=False)

    @property
    def url(self) -> str:
        return f"{self.front.url}/v1/models-store"

    def put(self, files: dict[str, bytes], **head: Any) -> Manifest:
        manifest = manifest_of(files, **head)
        prefix = model_prefix(MODEL_ID)
        self.files = {f"{prefix}{manifest.folder}/{path}": data for path, data in files.items()}
        self.files[prefix + MANIFEST_NAME] = manifest.to_bytes()
        return manifest

    def redirect(self, request: "Request", answer_of: Callable[..., Any]) -> Any:
        self.asked.append((request.path, request.headers.get("authorization")))
        key = request.path.removeprefix("/v1/models-store/")
        if self.status:
            return answer_of(status=self.status)
        if key not in self.files:
            return answer_of(status=404)
        return answer_of(status=307, headers={"location": f"{self.back.url}/{key}?X-Amz-Signature=canary"})

    def give(self, request: "Request", answer_of: Callable[..., Any]) -> Any:
        assert "authorization" not in request.headers
        data = self.files[request.path.split("?")[0].lstrip("/")]
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if asked is None or self.whole:
            return answer_of(body=data)
        if self.expired:
            self.expired -= 1
            return answer_of(status=403)
        start, end = int(asked[1]), int(asked[2]) + 1
        body = bytearray(data[start:end])
        self.served[request.path.split("?")[0].lstrip("/")] += len(body)
        headers = {"content-range": f"bytes {start}-{end - 1}/{len(data)}"}
        if self.corrupt and body:
            self.corrupt -= 1
            body[0] ^= 0xFF
        if self.cut:
            self.cut -= 1
            del body[len(body) // 2 :]
        return answer_of(status=206, body=bytes(body), headers=headers)


@pytest.fixture
def store_server(make_server: "Callable[..., Server]", answer_of: Callable[..., Any]) -> StoreServer:
    made = StoreServer()
    made.back = make_server(lambda request: made.give(request, answer_of))
    made.front = make_server(lambda request: made.redirect(request, answer_of))
    return made

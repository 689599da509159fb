"""A model from the platform's store to the volume, by the worker and by boto3, from the S3 server of this machine.

The worker reads ranges at once, checks every byte against the manifest, and keeps the files so that the next worker
finds them. The anchor is boto3's `get_object` of one file after the other, written to disk, which checks nothing. Over
the loopback nothing holds a single stream back, so both are measured again with what AWS says that one connection gets
of S3: about 85 MB/s (Amazon S3 User Guide, "Best practices design patterns: optimizing Amazon S3 performance").
"""

import hashlib
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.report import Measurement
from bench.servers import free_port, server
from pulumi_visgate.resources._s3 import s3_client
from pulumi_visgate.resources._settings import S3Settings
from visgate_contract.caches import MANIFEST_NAME, Manifest, ManifestFile, model_prefix
from visgate_worker.sources.search import Places, find_model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODEL_ID = "bench/stored"
BUCKET = "models"
ROUNDS = 3
OF_ONE_CONNECTION = 85e6  # bytes a second
_POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",'
    f' "Resource": "arn:aws:s3:::{BUCKET}/*"}}]}}'
)


def measure(store: S3Settings, model: Path, scratch: Path) -> list[Measurement]:
    """Load the same model in turns; the middle of three rounds counts.

    Args:
        store: The S3 server.
        model: A model in diffusers' format.
        scratch: Folder for what is loaded.
    """
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    keys = _seed(s3_client(store), model)
    plain, ours = _compare(store, keys, scratch)
    with held_back(store, OF_ONE_CONNECTION) as slower:
        slow_plain, slow_ours = _compare(slower, keys, scratch)
    return [
        Measurement.of("worker.s3_load.loopback.ratio", ours, "s", anchor=plain),
        Measurement.of("worker.s3_load.ratio", slow_ours, "s", anchor=slow_plain),
        Measurement.of("worker.s3_load.rate", size / 1e6 / slow_ours, "MB/s", anchor=size / 1e6 / slow_plain),
    ]


@contextmanager
def held_back(store: S3Settings, bytes_per_s: float) -> Iterator[S3Settings]:
    """Give another way to a store, on which each connection gets so many bytes a second.

    Args:
        store: The store, on this machine.
        bytes_per_s: What one connection gets.
    """
    port = free_port()
    target = urlsplit(store.endpoint or "").port
    command = [sys.executable, "-m", "bench.held_back", str(port), str(target), str(bytes_per_s)]
    with server(command, ready_url=f"http://127.0.0.1:{port}/healthz"):
        yield replace(store, endpoint=f"http://127.0.0.1:{port}")


def _compare(store: S3Settings, keys: list[str], scratch: Path) -> tuple[float, float]:
    """Return the seconds of boto3 and of the worker."""
    client = s3_client(store)
    plain: list[float] = []
    ours: list[float] = []
    for _ in range(ROUNDS):
        plain.append(_seconds(lambda: _plainly(client, keys, scratch / "plain")))
        ours.append(_seconds(lambda: _by_worker(store, scratch / "ours")))
    return statistics.median(plain), statistics.median(ours)


def _seed(client: "S3Client", model: Path) -> list[str]:
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_policy(Bucket=BUCKET, Policy=_POLICY)
    files, prefix = {}, model_prefix(MODEL_ID)
    for path in sorted(model.rglob("*")):
        if path.is_file():
            name = path.relative_to(model).as_posix()
            client.upload_file(str(path), BUCKET, prefix + name)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[name] = ManifestFile(sha256=digest, size=path.stat().st_size)
    manifest = Manifest(model_id=MODEL_ID, files=files)
    client.put_object(Bucket=BUCKET, Key=prefix + MANIFEST_NAME, Body=manifest.to_bytes())
    return [prefix + name for name in files]


def _plainly(client: "S3Client", keys: list[str], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for key in keys:
        target = folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for chunk in client.get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(1 << 20):
                file.write(chunk)


def _by_worker(store: S3Settings, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "volume").mkdir(parents=True)
    places = Places(volume=folder / "volume", cache=folder / "cache", store_url=f"{store.endpoint}/{BUCKET}")
    found = find_model(places, MODEL_ID)
    if found.source != "s3":
        message = f"the model came from {found.source}"
        raise RuntimeError(message)


def _seconds(action: Callable[[], object]) -> float:
    os.sync()  # what the one has written is not for the other to wait for
    began = time.perf_counter()
    action()
    return time.perf_counter() - began

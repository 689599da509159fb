"""A model from the platform's store to the volume, by the worker and by boto3, from the S3 server of this machine.

The worker reads ranges at once, checks every byte against the manifest, and keeps the files so that the next worker
finds them. The anchor is boto3's `get_object` of one file after the other, written to disk, which checks nothing. Over
the loopback a single stream is not held back as it is by a real store, where one connection gets a part of what many
get.
"""

import hashlib
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import Measurement
from pulumi_visgate.resources._s3 import s3_client
from pulumi_visgate.resources._settings import S3Settings
from visgate_contract.caches import MANIFEST_NAME, Manifest, ManifestFile, model_prefix
from visgate_worker.sources.search import Places, find_model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODEL_ID = "bench/stored"
BUCKET = "models"
ROUNDS = 3
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
    client = s3_client(store)
    keys = _seed(client, model)
    ours: list[float] = []
    plain: list[float] = []
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    for _ in range(ROUNDS):
        plain.append(_seconds(lambda: _plainly(client, keys, scratch / "plain")))
        ours.append(_seconds(lambda: _by_worker(store, scratch / "ours")))
    return [
        Measurement.of("worker.s3_load.ratio", statistics.median(ours), "s", anchor=statistics.median(plain)),
        Measurement.of("worker.s3_load.rate", size / 1e6 / statistics.median(ours), "MB/s"),
    ]


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

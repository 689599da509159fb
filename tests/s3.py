"""The real S3 server of the toolchain, over folders of a test."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from pulumi_visgate.local.toolchain import S3_PROGRAM, program, search_path

S3_KEY_ID = "testsofthestore"
S3_SECRET = "canary-of-the-s3-secret"
START_S = 30.0


@contextlib.contextmanager
def s3_server(buckets: Path, metadata: Path) -> Iterator[str]:
    """Serve S3 while the block runs.

    Args:
        buckets: Folder whose folders are the buckets.
        metadata: Folder for what S3 knows of objects beside their bytes; its log goes beside it.

    Yields:
        The server's address.
    """
    path = search_path(os.environ)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [str(program(S3_PROGRAM, path)), "--port", address, "--health", "/healthz", "posix"]
    command += ["--sidecar", str(metadata), str(buckets)]
    environment = {"PATH": path, "ROOT_ACCESS_KEY": S3_KEY_ID, "ROOT_SECRET_KEY": S3_SECRET}
    log_file = metadata.parent / "s3.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + START_S
        while not _answers(f"http://{address}/healthz"):
            assert process.poll() is None, log_file.read_text()
            assert time.monotonic() < end, f"gave up waiting for the S3 server: {log_file.read_text()}"
            time.sleep(0.02)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False

"""`pulumi-analyzer-policy-visgate`: what an engine starts for a policy pack whose runtime is `visgate`.

An engine looks for a program of this name on PATH when there is no language of the pack's runtime. So the pack runs in
this Python, whatever language host the engine has: one that was built from Go modules cannot start a Python pack.
"""

import io
import os
import runpy
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import cast

_USAGE = "usage: pulumi-analyzer-policy-visgate ENGINE FOLDER"
_ARGUMENTS = 3


def main() -> None:
    """Run the policy pack of a folder; the engine gives its address, then the folder."""
    if len(sys.argv) < _ARGUMENTS:
        sys.exit(_USAGE)
    if find_spec("pulumi_policy") is None:
        sys.exit("pulumi-policy is not installed: install pulumi-visgate[policy].")
    # The engine waits for the port, which the library writes and does not flush.
    sys.stdout = io.TextIOWrapper(cast("io.BufferedWriter", io.FileIO(1, "w")), write_through=True)
    threading.Thread(target=_end_with_engine, daemon=True).start()
    runpy.run_path(str(Path(sys.argv[2]).resolve()), run_name="__main__")


def _end_with_engine() -> None:
    """End when the engine does, however it ends: it holds the other side of standard input open."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)

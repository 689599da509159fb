"""Finds or installs the Pulumi engine and the local S3 server: `python3 tools/toolchain.py --help`."""

import sys
from pathlib import Path

if sys.platform == "win32":
    sys.exit("visgate: the toolchain runs on Linux and macOS; on Windows use it inside WSL.")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.provision.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run the benchmarks: all of them, or the sections named on the command line (gateway, pulumi, cache, worker)."""

import compileall
import importlib
import sys
from pathlib import Path

from bench import report

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = ("gateway", "pulumi", "cache", "worker")


def main() -> int:
    """Run the sections and keep their figures; return the exit status."""
    names = sys.argv[1:] or list(SECTIONS)
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        sys.stderr.write(f"No benchmark is called {', '.join(unknown)}; there are {', '.join(SECTIONS)}.\n")
        return 2
    for source in ("pulumi_visgate", "worker/src"):  # as an installed library is: with its bytecode
        compileall.compile_dir(ROOT / source, quiet=1)
    for name in names:
        measurements = importlib.import_module(f"bench.{name}_bench").measure()
        report.show(name, measurements)
        report.save(measurements)
    return 0


if __name__ == "__main__":
    sys.exit(main())

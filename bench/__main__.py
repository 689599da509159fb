"""Run the benchmarks: all of them, or the sections named on the command line (gateway, pulumi, cache, worker)."""

import importlib
import sys

from bench import report

SECTIONS = ("gateway", "pulumi", "cache", "worker")


def main() -> int:
    """Run the sections and keep their figures; return the exit status."""
    names = sys.argv[1:] or list(SECTIONS)
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        sys.stderr.write(f"No benchmark is called {', '.join(unknown)}; there are {', '.join(SECTIONS)}.\n")
        return 2
    for name in names:
        measurements = importlib.import_module(f"bench.{name}_bench").measure()
        report.show(name, measurements)
        report.save(measurements)
    return 0


if __name__ == "__main__":
    sys.exit(main())

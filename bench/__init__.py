"""Benchmarks: `make bench` measures each figure beside its anchor in the same run and writes `bench/results.json`."""

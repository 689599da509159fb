"""A model hub on this machine, with Hugging Face's routes: metadata and files with ranges.

The service host of the local cloud serves the models of its home here, so that what asks a hub (caches, preflight,
workers) asks a real one. `testing` serves models that a test makes, with faults on demand.
"""

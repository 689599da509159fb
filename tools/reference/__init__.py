"""Writes the reference pages that come from the code: `python -m tools.reference`."""

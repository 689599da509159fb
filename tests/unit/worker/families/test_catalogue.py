"""The table of pipelines that the gateway reads is what the installed diffusers says."""

import warnings

from tools import pipelines


def test_the_table_is_that_of_the_installed_diffusers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, while they are imported
        found = pipelines.text(pipelines.catalogue())
    assert pipelines.DESTINATION.read_text(encoding="utf-8") == found, "run `make pipelines`"

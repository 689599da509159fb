"""`python -m pulumi_visgate.upkeep`: serve, with settings from the environment (`VISGATE_UPKEEP_…`)."""

import logging
import os
import sys

import uvicorn
from pydantic import ValidationError

from pulumi_visgate.errors import VisgateError
from pulumi_visgate.references import referenced
from pulumi_visgate.upkeep.app import create_app
from pulumi_visgate.upkeep.settings import ENV_PREFIX, Settings

EXIT_USAGE = 2


def main() -> int:
    """Read the settings and serve until told to stop; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        settings = Settings(**referenced(os.environ, ENV_PREFIX))
    except VisgateError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except ValidationError as error:
        for found in error.errors(include_input=False, include_url=False):
            name = ENV_PREFIX + "_".join(str(part) for part in found["loc"]).upper()
            sys.stderr.write(f"{name}: {found['msg']}\n")
        return EXIT_USAGE
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_config=None, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Starts the serving process first and its supervisor second, so that the slow imports begin at once.

Nothing above the standard library is imported before the serving process runs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

SERVE = (sys.executable, "-m", "visgate_worker.serve")


def main(serve: Sequence[str] = SERVE) -> int:
    """Run the worker until it ends; returns the exit status.

    Args:
        serve: Command of the serving process.
    """
    started = time.time()
    read_end, write_end = os.pipe()
    # The key that may scale or delete the endpoint stays with the supervisor, away from model code.
    env = {name: value for name, value in os.environ.items() if name != "RUNPOD_API_KEY"}
    env |= {"VISGATE_LINK_FD": str(write_end), "VISGATE_STARTED_AT": repr(started), "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(  # noqa: S603, our own module in our own interpreter
        serve,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(write_end,),
        start_new_session=True,
    )
    os.close(write_end)
    from visgate_worker.supervisor import supervise  # noqa: PLC0415, see the module's text

    return supervise(child, read_end)


if __name__ == "__main__":
    sys.exit(main())

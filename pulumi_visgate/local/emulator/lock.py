"""A lock on the data folder, so that two emulators never share one database."""

import fcntl
import os
from pathlib import Path

from pulumi_visgate.local.emulator.errors import StartError


class FolderLock:
    """Holds a folder until released or until the process ends, however it ends.

    Args:
        folder: The folder.

    Raises:
        StartError: Another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            detail = f"Another emulator uses the data folder {folder}."
            raise StartError(detail, hint="Stop it, or choose another --data.") from None

    def release(self) -> None:
        """Let the folder go."""
        os.close(self._file)

"""Which command stands for which container image: nothing is pulled or built here."""

import shlex
from collections.abc import Mapping

from pulumi_visgate.local.emulator.settings import default_command, repository_of
from pulumi_visgate.local.emulator.store import Store

_KEPT_AS = "images"


class Images:
    """Commands of images.

    Args:
        store: Keeps what was mapped while running.
        given: What the emulator was started with; wins over what is kept.
    """

    def __init__(self, store: Store, given: Mapping[str, str]) -> None:
        self._store = store
        self._given = dict(given)
        self._commands: dict[str, str] = {**store.recall(_KEPT_AS, {}), **given}

    def map(self, image: str, command: str) -> None:
        """Let a command line stand for an image reference or a whole repository."""
        self._commands[image] = command
        self._store.remember(_KEPT_AS, self._commands)

    def unmap(self, image: str) -> bool:
        """Take a mapping away; tell whether there was one."""
        found = self._commands.pop(image, None) is not None
        self._store.remember(_KEPT_AS, self._commands)
        return found

    def reset(self) -> None:
        """Keep only what the emulator was started with."""
        self._commands = dict(self._given)
        self._store.remember(_KEPT_AS, {})

    def all(self) -> dict[str, str]:
        """Return every mapping."""
        return dict(self._commands)

    def command(self, image: str, args: str) -> list[str] | None:
        """Return the command of an image with the container's arguments, or None for an unknown image."""
        repository = repository_of(image)
        line = self._commands.get(image, self._commands.get(repository))
        command = default_command(repository) if line is None else shlex.split(line)
        return None if command is None else [*command, *shlex.split(args)]

    def advice(self, image: str) -> str:
        """Return the log line of a worker whose image is unknown."""
        return (
            f"image {image} cannot run here: no command is mapped to it; start the emulator with"
            f" --image {repository_of(image)}=COMMAND or PUT /admin/images"
        )

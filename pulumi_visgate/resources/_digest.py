"""Whether the bytes that come are those that the source promised; no Pulumi, no network."""

import hashlib

from pulumi_visgate.resources._manifest import SourceFile
from visgate_contract.caches import ManifestFile

DIGEST_ATTEMPTS = 3


class DigestMismatch(Exception):  # noqa: N818, tried again
    """The bytes that came are not those that were promised."""


class Digests:
    """Computes what a file has to agree with.

    Args:
        file: The file.
    """

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._blob = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False) if file.blob_id else None

    def update(self, data: bytes) -> None:
        """Take the following bytes."""
        self._sha256.update(data)
        if self._blob:
            self._blob.update(data)

    def verified(self) -> ManifestFile:
        """Return the file as a manifest has it.

        Raises:
            DigestMismatch: It is another one.
        """
        found = self._sha256.hexdigest()
        for kind, expected, got in (
            ("SHA-256", self._file.sha256, found),
            ("git SHA-1", self._file.blob_id, self._blob.hexdigest() if self._blob else None),
        ):
            if expected and expected != got:
                message = f"{self._file.path} should have {kind} {expected} and has {got}"
                raise DigestMismatch(message)
        return ManifestFile(sha256=found, size=self._file.size, blob_id=self._file.blob_id)

"""A model from its source into a bucket or volume, and the revision before it out of there; no Pulumi.

`models/<org>/<name>/` holds a folder for each revision and a manifest that names the current one. Steps: files into a
folder of their own, the manifest, then away with everything else. A run that is killed in between leaves the former
revision as it was, and whatever is in the new folder is right, so the next run goes on from there.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Event, Thread
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pulumi_visgate.resources._manifest import SourceFile
from pulumi_visgate.resources._parts import Source
from pulumi_visgate.resources._progress import Progress
from pulumi_visgate.resources._report import Report
from pulumi_visgate.resources._s3 import attempting
from pulumi_visgate.resources._transfer import Transfer, abort, unfinished
from pulumi_visgate.resources.errors import StoreError
from visgate_contract.caches import MANIFEST_NAME, CacheHead, Manifest, ManifestFile, model_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FILES_AT_ONCE = 4
ROUNDS = 3
MARKER = ".visgate-writing-"
MARKED_EVERY_S = 10.0
ALIVE = timedelta(seconds=45)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the revisions of one model are.

    Args:
        client: Client of the store.
        bucket: Bucket or volume.
        model_id: Hub id of the model.
    """

    client: "S3Client"
    bucket: str
    model_id: str

    @property
    def prefix(self) -> str:
        """Key prefix of the model."""
        return model_prefix(self.model_id)

    def stored(self) -> "Stored":
        """List what is there (`ListObjectsV2`)."""
        sizes: dict[str, int] = {}
        changed: dict[str, datetime] = {}
        now: datetime | None = None
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for page in pages:
            date = page["ResponseMetadata"]["HTTPHeaders"].get("date")
            now = parsedate_to_datetime(date) if date else now
            for item in page.get("Contents", []):
                sizes[item["Key"]] = item["Size"]
                changed[item["Key"]] = item["LastModified"]
        return Stored(self.prefix, sizes, changed, now)

    def manifest(self) -> Manifest | None:
        """Return the manifest, if there is one that can be read."""
        try:
            with attempting(f"reading {self.prefix}{MANIFEST_NAME} in {self.bucket}"):
                body = self.client.get_object(Bucket=self.bucket, Key=self.prefix + MANIFEST_NAME)["Body"].read()
            return Manifest.model_validate_json(body)
        except ValidationError:
            return None
        except StoreError as error:
            if error.gone and error.s3_code != "NoSuchBucket":
                return None
            raise

    def remove(self, keys: Iterable[str]) -> None:
        """Delete objects one by one (`DeleteObject`), which every store can; folders that it lists go last."""
        wanted = sorted(keys, reverse=True)  # what is inside of a folder comes before it
        files = [key for key in wanted if not key.endswith("/")]
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            list(pool.map(self._delete, files))
        for key in wanted:
            if key.endswith("/"):
                self._delete(key)

    def _delete(self, key: str) -> None:
        try:
            with attempting(f"deleting {key} in {self.bucket}"):
                self.client.delete_object(Bucket=self.bucket, Key=key)
        except StoreError as error:
            # A folder that the store will not delete is empty, and costs nothing.
            if not error.gone and not key.endswith("/"):
                raise

    def remove_all(self) -> None:
        """Remove the model; the manifest goes first, so that half a model is not taken for a whole one."""
        with attempting(f"removing model {self.model_id} from {self.bucket}"):
            self.remove([self.prefix + MANIFEST_NAME])
            abort(self.client, self.bucket, unfinished(self.client, self.bucket, self.prefix))
            self.remove(self.stored().sizes)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is there of a model.

    Args:
        prefix: Key prefix of the model.
        sizes: Bytes of the objects, by key.
        changed: When each was written.
        now: The store's own clock.
    """

    prefix: str
    sizes: Mapping[str, int]
    changed: Mapping[str, datetime]
    now: datetime | None

    @property
    def empty(self) -> bool:
        """There is nothing but folders, which some stores list."""
        return all(key.endswith("/") for key in self.sizes)

    def is_whole(self, manifest: Manifest) -> bool:
        """Tell whether every file of a manifest is there in full length."""
        return all(self.sizes.get(key) == file.size for key, file in manifest.keys(self.prefix).items())

    def others(self, folder: str) -> set[str]:
        """Return the folders into which other runs are writing at this moment.

        Args:
            folder: Our own.
        """
        begin = self.prefix + MARKER
        return {
            key.removeprefix(begin)
            for key, changed in self.changed.items()
            if key.startswith(begin) and key != begin + folder and self.now and self.now - changed < ALIVE
        }

    def leftovers(self, manifest: Manifest, others: set[str]) -> Iterator[str]:
        """Name what is neither the current revision nor another run's.

        Args:
            manifest: The current revision.
            others: Folders that other runs are writing.
        """
        current = manifest.keys(self.prefix)
        for key in self.sizes:
            place = key.removeprefix(self.prefix).partition("/")[0].removeprefix(MARKER)
            is_folder_of_ours = key.endswith("/") and any(ours.startswith(key) for ours in current)
            if (
                key not in current
                and key != self.prefix + MANIFEST_NAME
                and place not in others
                and not is_folder_of_ours
            ):
                yield key


def seed(place: Place, source: Source, head: CacheHead, identity: str, report: Report) -> Manifest:
    """Make a source the current revision of a model; safe to repeat, and after a kill.

    Args:
        place: Where the model is kept.
        source: Where its files come from.
        head: Folder and revision.
        identity: What tells this content from any other.
        report: Hears of the progress.

    Raises:
        HubError: The source does not give what it promised.
        StoreError: The store refuses.
    """
    former, before = place.manifest(), place.stored()
    if former and former.identity == identity and former.head == head and before.is_whole(former):
        _tidy(place, former)
        return former
    progress = Progress(place.model_id.rpartition("/")[2], source.files, report)
    files: dict[str, ManifestFile] = {}
    with _marked(place, head.folder):
        for _ in range(ROUNDS):
            files = _Run(place, source, progress, before=before, former=former, folder=head.folder).bring(files)
            pinned = identity if head.commit else None
            manifest = Manifest(model_id=place.model_id, files=files, pinned=pinned, **head.model_dump())
            before = place.stored()
            if before.is_whole(manifest):
                break
        else:
            detail = f"Files of {place.model_id} in {place.bucket} go missing while they are written."
            raise StoreError(detail, hint="Another program may be writing to it. Run `pulumi up` again.")
        place.client.put_object(Bucket=place.bucket, Key=place.prefix + MANIFEST_NAME, Body=manifest.to_bytes())
    _tidy(place, manifest)
    report.note(progress.summary())
    return manifest


@contextmanager
def _marked(place: Place, folder: str) -> Iterator[None]:
    """Keep an object fresh that tells other runs not to tidy our folder away."""
    key = f"{place.prefix}{MARKER}{folder}"
    place.client.put_object(Bucket=place.bucket, Key=key, Body=b"")
    ended = Event()

    def keep() -> None:
        while not ended.wait(MARKED_EVERY_S):
            with suppress(Exception):  # the transfer meets the same store, and says what is wrong with it
                place.client.put_object(Bucket=place.bucket, Key=key, Body=b"")

    keeper = Thread(target=keep, name="model-marker", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        with suppress(StoreError):
            place.remove([key])


def _tidy(place: Place, manifest: Manifest) -> None:
    stored = place.stored()
    if place.manifest() != manifest:
        return  # another run has come after us, and what we would tidy away is its revision
    others = stored.others(manifest.folder)
    place.remove(stored.leftovers(manifest, others))
    begun = unfinished(place.client, place.bucket, place.prefix)
    foreign = tuple(f"{place.prefix}{folder}/" for folder in others)
    abort(place.client, place.bucket, [upload for upload in begun if not upload[0].startswith(foreign or "\0")])


class _Run:
    """One attempt to complete a folder.

    Args:
        place: Where the model is kept.
        source: Where its files come from.
        progress: Hears of every part.
        before: What is there.
        former: Manifest of the current revision.
        folder: Folder of the new one.
    """

    def __init__(
        self, place: Place, source: Source, progress: Progress, *, before: Stored, former: Manifest | None, folder: str
    ) -> None:
        self._place = place
        self._source = source
        self._progress = progress
        self._before = before
        self._prefix = f"{place.prefix}{folder}/"
        self._known = former.keys(place.prefix) if former else {}

    def bring(self, done: Mapping[str, ManifestFile]) -> dict[str, ManifestFile]:
        """Bring what is missing; the largest files first, so that no thread is left with one at the end.

        Args:
            done: What an earlier attempt has brought.
        """
        begun = unfinished(self._place.client, self._place.bucket, self._prefix)
        transfer = Transfer(self._place.client, self._place.bucket, self._source, self._progress, begun)
        files = sorted(self._source.files, key=lambda file: -file.size)
        try:
            with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="model-file") as pool:
                working = {file.path: pool.submit(self._one, transfer, file, done.get(file.path)) for file in files}
                try:
                    return {path: one.result() for path, one in sorted(working.items())}
                finally:
                    for one in working.values():
                        one.cancel()
        finally:
            transfer.close()

    def _one(self, transfer: Transfer, file: SourceFile, done: ManifestFile | None) -> ManifestFile:
        key = self._prefix + file.path
        doing = f"bringing {file.path} of {self._place.model_id} to {self._place.bucket}"
        with attempting(doing):
            if self._before.sizes.get(key) == file.size:
                there = done or self._there(transfer, file, key)
                if there is not None:
                    if done is None:
                        self._progress.had(file)
                    return there
            for known_key, known in self._known.items():
                if known_key != key and file.is_same(known) and self._before.sizes.get(known_key) == file.size:
                    copied = transfer.copy(file, known, known_key, key)
                    if copied is not None:
                        return copied
                    break
            return transfer.put(file, key)

    def _there(self, transfer: Transfer, file: SourceFile, key: str) -> ManifestFile | None:
        """Return an object of our folder as the manifest has it, or None if it is not what it should be."""
        known = self._known.get(key)
        if known is not None:
            return known if file.is_same(known) else None
        if file.sha256:
            # The folder is named after the content, and nothing is put into it before its digest was seen.
            return ManifestFile(sha256=file.sha256, size=file.size)
        return transfer.checked(file, key)

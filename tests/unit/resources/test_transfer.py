"""Stores that are slow or untidy, which the real S3 server of the other tests is not."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.stub import ANY, Stubber
from pydantic import SecretStr

from pulumi_visgate.resources import _parts, _transfer
from pulumi_visgate.resources._manifest import SourceFile, scan
from pulumi_visgate.resources._parts import MOST_PARTS, PART_BYTES, FolderSource, part_ranges
from pulumi_visgate.resources._progress import Progress
from pulumi_visgate.resources._report import Silent
from pulumi_visgate.resources._s3 import s3_client
from pulumi_visgate.resources._settings import S3Settings
from pulumi_visgate.resources._transfer import Transfer, unfinished
from pulumi_visgate.resources.errors import StoreError
from visgate_contract.caches import ManifestFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SIZE = 3_000
PLACE = {"Bucket": "b", "Key": "k"}
UPLOAD = {**PLACE, "UploadId": "u"}
PART_ETAG = '"part"'


@pytest.fixture
def client() -> "S3Client":
    return s3_client(S3Settings("http://127.0.0.1:9", "us-east-1", "id", SecretStr("secret")))


@pytest.fixture
def store(client: "S3Client") -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber


@pytest.fixture
def file(tmp_path: Path) -> SourceFile:
    (tmp_path / "w").write_bytes(b"x" * SIZE)
    found = scan(tmp_path, "a/b").files["w"]
    return SourceFile("w", SIZE, found.sha256)


@pytest.fixture
def transfer(
    client: "S3Client", tmp_path: Path, file: SourceFile, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Transfer]:
    monkeypatch.setattr(_parts, "PART_BYTES", 2_000)
    monkeypatch.setattr(_transfer, "PARTS_AT_ONCE", 1)
    monkeypatch.setattr(_transfer, "backoff", lambda **_: lambda _: 0)
    made = Transfer(client, "b", FolderSource(tmp_path, [file]), Progress("m", [file], Silent()))
    yield made
    made.close()


def parts_are_sent(store: Stubber) -> None:
    store.add_response("create_multipart_upload", {"UploadId": "u"}, PLACE)
    for number in (1, 2):
        expected = {**UPLOAD, "PartNumber": number, "Body": ANY}
        store.add_response("upload_part", {"ETag": PART_ETAG}, expected)


def test_a_store_that_puts_parts_together_for_longer_than_it_answers_is_waited_for(
    store: Stubber, transfer: Transfer, file: SourceFile
) -> None:
    parts_are_sent(store)
    store.add_client_error("complete_multipart_upload", "504", http_status_code=504)
    store.add_client_error("head_object", "404", http_status_code=404)
    store.add_client_error("head_object", "502", http_status_code=502)
    store.add_response("head_object", {"ContentLength": SIZE}, PLACE)
    assert transfer.put(file, "k").sha256 == file.sha256
    store.assert_no_pending_responses()


def test_a_part_that_the_store_could_not_take_is_sent_again(
    store: Stubber, transfer: Transfer, file: SourceFile
) -> None:
    store.add_response("create_multipart_upload", {"UploadId": "u"}, PLACE)
    store.add_client_error("upload_part", "502", http_status_code=502)
    for _ in (1, 2):
        store.add_response("upload_part", {"ETag": PART_ETAG})
    store.add_response("complete_multipart_upload", {})
    transfer.put(file, "k")
    store.assert_no_pending_responses()


def test_an_upload_that_another_run_finished_is_done(store: Stubber, transfer: Transfer, file: SourceFile) -> None:
    parts_are_sent(store)
    store.add_client_error("complete_multipart_upload", "NoSuchUpload", http_status_code=404)
    store.add_response("head_object", {"ContentLength": SIZE}, PLACE)
    assert transfer.put(file, "k").sha256 == file.sha256


def test_a_full_volume_is_told_at_once(store: Stubber, transfer: Transfer, file: SourceFile) -> None:
    store.add_response("create_multipart_upload", {"UploadId": "u"}, PLACE)
    for _ in (1, 2):
        store.add_client_error("upload_part", "EntityTooLarge", "no space left on device", http_status_code=400)
    with pytest.raises(Exception, match="no space left"):
        transfer.put(file, "k")


def test_a_copy_that_the_store_cannot_make_is_no_error(store: Stubber, transfer: Transfer, file: SourceFile) -> None:
    known = ManifestFile(sha256=file.sha256 or "", size=SIZE)
    store.add_client_error("copy_object", "NotImplemented", http_status_code=501)
    assert transfer.copy(file, known, "old", "k") is None
    store.add_client_error("copy_object", "504", http_status_code=504)
    store.add_response("head_object", {"ContentLength": SIZE}, PLACE)
    assert transfer.copy(file, known, "old", "k") == known


def test_a_store_that_cannot_list_uploads_has_none(store: Stubber, client: "S3Client") -> None:
    store.add_client_error("list_multipart_uploads", "NotImplemented", http_status_code=501)
    assert unfinished(client, "b", "models/") == []
    uploads = [{"Key": "models/k", "UploadId": "u"}, {"Key": "other", "UploadId": "v"}]
    store.add_response("list_multipart_uploads", {"Uploads": uploads, "IsTruncated": False})
    assert unfinished(client, "b", "models/") == [("models/k", "u")]
    store.add_client_error("list_multipart_uploads", "AccessDenied", http_status_code=403)
    with pytest.raises(StoreError, match="AccessDenied"):
        unfinished(client, "b", "models/")


def test_memory_for_parts_is_given_back_whatever_happens(
    store: Stubber, transfer: Transfer, file: SourceFile, tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(b"y" * 100)
    store.add_response("create_multipart_upload", {"UploadId": "u"}, PLACE)
    with pytest.raises(StoreError, match="w has changed since the preview"):
        transfer.put(file, "k")
    free = 0
    while _parts.slots.acquire(blocking=False):
        free += 1
    for _ in range(free):
        _parts.slots.release()
    assert free == _parts.PARTS_IN_MEMORY


@pytest.mark.parametrize("size", [PART_BYTES + 1, 10 * PART_BYTES, 4 * 10**12])
def test_parts_cover_a_file_once_and_are_never_too_many_or_too_large(size: int) -> None:
    ranges = list(part_ranges(size))
    assert len(ranges) <= MOST_PARTS
    assert sum(length for _, length in ranges) == size
    assert all(start + length == following for (start, length), (following, _) in pairwise(ranges))
    assert max(length for _, length in ranges) <= 500_000_000  # what Runpod takes

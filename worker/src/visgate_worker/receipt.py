"""The signed receipt of a job: what made which file, from what, and how long it took, for everyone to check."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from visgate_contract.ed25519 import PrivateKey
from visgate_contract.events import Artifact, RuntimeReport, Timings
from visgate_worker.provenance import Provenance

TYP = "visgate-receipt"


def receipt(
    key: PrivateKey,
    origin: Provenance,
    *,
    job: dict[str, Any],
    artifacts: Sequence[Artifact],
    timings: Timings,
    runtime: RuntimeReport | None,
    mask: Callable[[str], str],
) -> bytes:
    """Return the receipt: a JWS in compact form (RFC 7515), signed with the user's private key (EdDSA).

    Args:
        key: The user's.
        origin: What made the files.
        job: Ids of the job.
        artifacts: The files; their digests tie the receipt to their bytes.
        timings: Seconds of each phase.
        runtime: What executed the model, and on which device.
        mask: Removes secrets.
    """
    files = [
        artifact.model_dump(
            mode="json", exclude_none=True, include={"url", "content_type", "size_bytes", "sha256", "seed", "safety"}
        )
        for artifact in artifacts
    ]
    said = {
        **job,
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **origin.summary(),
        "artifacts": files,
        "timings": timings.model_dump(mode="json", exclude_none=True),
        "runtime": runtime.model_dump(mode="json", exclude_none=True) if runtime is not None else None,
    }
    payload = json.loads(mask(json.dumps(said, ensure_ascii=False)))
    return key.jws(payload, typ=TYP).encode()

"""Weights that callers lay over the model's: from the hub or the web, kept for the next job.

Only safetensors, which cannot run code; their size is bounded before they are fetched, and that of all that are kept.
"""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from visgate_contract.addresses import EgressPolicy
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Lora
from visgate_worker.adapters.base import LoraFile
from visgate_worker.failures import JobFailedError
from visgate_worker.fetch import Fetcher, RefusedError, too_large
from visgate_worker.settings import Settings

SUFFIX = ".safetensors"
KEPT_IN = ".visgate/loras"
DEADLINE_S = 600.0
HUB_TIMEOUT_S = 30.0
RESOLVED_S = 300.0


@dataclass(frozen=True, slots=True)
class LoraPolicy:
    """What an operator allows.

    Args:
        hosts: Hosts that URLs may name; any public one when empty.
        max_bytes: Largest file.
        cache_bytes: What is kept of all files; the least recently used ones go.
    """

    hosts: tuple[str, ...] = ()
    max_bytes: int = 2 * 1024**3
    cache_bytes: int = 20 * 1024**3


class Loras:
    """Brings LoRA weights.

    Args:
        fetcher: Fetches from the web.
        folder: Where they are kept; made when it is first needed.
        policy: What is allowed.
        token: For private repositories of the hub.
        endpoint: Another hub than the one that `HF_ENDPOINT` names.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        folder: Path,
        *,
        policy: LoraPolicy | None = None,
        token: SecretStr | None = None,
        endpoint: str | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._folder = folder
        self._policy = policy or LoraPolicy()
        self._token = token
        self._endpoint = endpoint
        self._known: dict[Lora, tuple[str, float]] = {}  # what the hub said that a reference stands for, and when

    def bring(self, wanted: Sequence[Lora]) -> tuple[LoraFile, ...]:
        """Return the files of what a job asks for, in order.

        Raises:
            JobFailedError: One cannot be had or is not allowed (`invalid_request`); never repeats a URL.
        """
        files = []
        for n, lora in enumerate(wanted):
            try:
                path = self._from_web(lora.path) if lora.is_url else self._from_hub(lora)
            except RefusedError as error:
                detail = f"params.loras.{n}: {error.problem}"
                raise JobFailedError(detail, hint=error.hint, code=ErrorCode.INVALID_REQUEST) from None
            files.append(LoraFile(path, lora.scale))
        return tuple(files)

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()

    def _from_web(self, url: str) -> Path:
        hosts = self._policy.hosts
        if hosts and (urlsplit(url).hostname or "").lower() not in hosts:
            problem = "names a host that this platform takes no weights from."
            raise RefusedError(problem, hint=f"Use a hub id, or a URL of {', '.join(hosts)}.")
        with self._kept(url) as (path, scratch):
            if scratch is not None:
                with scratch.open("wb") as file:
                    most = self._policy.max_bytes
                    self._fetcher.fetch(url, file.write, accept="*/*", max_bytes=most, deadline_s=DEADLINE_S)
        return path

    def _from_hub(self, lora: Lora) -> Path:
        import httpx2  # noqa: PLC0415, what huggingface_hub sends with
        from huggingface_hub import errors  # noqa: PLC0415, slow, and only for jobs with LoRA

        try:
            return self._hub_file(lora)
        except errors.GatedRepoError:
            problem, hint = "is gated on the hub.", "Accept its terms and send a token in X-HF-Token."
        except (errors.RepositoryNotFoundError, errors.EntryNotFoundError):
            problem = "is not on the hub, or is private."
            hint = "Check the id; private repositories need a token in X-HF-Token."
        except (httpx2.HTTPError, OSError) as error:
            problem, hint = f"cannot be had from the hub: {type(error).__name__}.", "Send the request again."
        raise RefusedError(problem, hint=hint)

    def _hub_file(self, lora: Lora) -> Path:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415, as above

        token: str | Literal[False] = self._token.get_secret_value() if self._token else False
        commit, name = self._resolved(lora, token).split("/", 1)
        with self._kept(f"{lora.path}@{commit}/{name}") as (path, scratch):
            if scratch is not None:
                with tempfile.TemporaryDirectory(dir=scratch.parent) as cache:
                    found = hf_hub_download(
                        lora.path, name, revision=commit, cache_dir=cache, token=token, endpoint=self._endpoint
                    )
                    Path(found).resolve().replace(scratch)
        return path

    def _resolved(self, lora: Lora, token: str | Literal[False]) -> str:
        """Return commit and file of a reference, as the hub said just now, or earlier if it cannot be asked."""
        import httpx2  # noqa: PLC0415, as above
        from huggingface_hub import HfApi  # noqa: PLC0415, as above

        key = lora.model_copy(update={"scale": 1.0})
        known, asked = self._known.get(key, ("", -RESOLVED_S))
        if time.monotonic() - asked < RESOLVED_S:
            return known
        try:
            info = HfApi(endpoint=self._endpoint, token=token).model_info(
                lora.path, files_metadata=True, timeout=HUB_TIMEOUT_S
            )
        except httpx2.TransportError:
            if not known:
                raise
            return known
        sizes = {item.rfilename: item.size or 0 for item in info.siblings or ()}
        name = _chosen(lora, sizes)
        if sizes[name] > self._policy.max_bytes:
            raise too_large(self._policy.max_bytes)
        self._known[key] = (f"{info.sha}/{name}", time.monotonic())
        return self._known[key][0]

    @contextmanager
    def _kept(self, key: str) -> Iterator[tuple[Path, Path | None]]:
        """Give the file of a key, and where to put it first if it is not there; it appears when it is whole."""
        path = self._folder / (hashlib.sha256(key.encode()).hexdigest() + SUFFIX)
        if path.is_file():
            os.utime(path)
            yield path, None
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".visgate-lora-")
        os.close(handle)
        scratch = Path(name)
        try:
            yield path, scratch
            _check(scratch)
            self._make_room(scratch.stat().st_size)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # another worker makes room, too
            kept = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
            total = needed + sum(path.stat().st_size for path in kept)
            for path in kept:
                if total <= self._policy.cache_bytes:
                    return
                total -= path.stat().st_size
                path.unlink()


def loras_of(settings: Settings, egress: EgressPolicy) -> Loras:
    """Return what brings LoRA weights for a worker.

    Args:
        settings: The worker's settings.
        egress: Where files may come from.
    """
    policy = LoraPolicy(settings.lora_hosts, settings.lora_max_bytes, settings.lora_cache_bytes)
    return Loras(Fetcher(egress), settings.kept_path / KEPT_IN, policy=policy, token=settings.hf_token)


def _chosen(lora: Lora, sizes: dict[str, int]) -> str:
    """Return the file to take from a repository."""
    safe = sorted(name for name in sizes if name.endswith(SUFFIX))
    if lora.weight_name is not None:
        if lora.weight_name not in safe:
            problem = f"has no {lora.weight_name}."
            raise RefusedError(problem, hint=f"It has {', '.join(safe[:5]) or 'no .safetensors file'}.")
        return lora.weight_name
    if len(safe) != 1:
        problem = f"has {len(safe)} .safetensors files."
        raise RefusedError(problem, hint="Choose one by weight_name." if safe else "Choose another repository.")
    return safe[0]


def _check(path: Path) -> None:
    """Refuse what is not a safetensors file; reads its header only."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415, only for jobs with LoRA

    try:
        with safe_open(path, framework="np") as file:
            is_empty = not file.keys()
    except (SafetensorError, OSError):
        is_empty = True
    if is_empty:
        problem = "is not a safetensors file."
        raise RefusedError(problem, hint="Other formats can run code, so they are not taken.")

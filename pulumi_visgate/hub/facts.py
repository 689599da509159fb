"""What a model is, read from what the hub tells of it: pipeline, parts, sizes, types, and what speaks against it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_visgate.hub.errors import HubError
from pulumi_visgate.hub.protocol import ModelInfo, RepoFile
from visgate_contract.caches import WEIGHTS
from visgate_contract.capabilities import CONFIGURED_PARTS, MODEL_INDEX, Capability, capability_of
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.fit import Part
from visgate_contract.selection import PICKLED, pipeline_files

INDEX_BYTES = 1 << 20
HEAD_BYTES = 64 * 1024
"""How much of a safetensors file is read: enough for the types of its tensors, if not for all of their names."""

_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model at a commit.

    Args:
        info: What the hub tells.
        capability: What its pipeline is for.
        parts: The parts with weights.
        download_bytes: Size of what a worker would download.
        pickled: Parts that have weights only as pickles, which can run code when they are read.
    """

    info: ModelInfo
    capability: Capability
    parts: tuple[Part, ...]
    download_bytes: int
    pickled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read of a model before its facts are known.

    Args:
        info: What the hub tells.
        index: Content of `model_index.json`.
        weights: The weights of each part; of a part without safetensors what else there is.
        heads: For each part with safetensors the file whose head tells its types.
        configs: Configurations by part that say more of the pipeline.
        download_bytes: Size of everything that a worker would download.
    """

    info: ModelInfo
    index: Mapping[str, Any]
    weights: Mapping[str, Sequence[RepoFile]] = field(default_factory=dict[str, Sequence[RepoFile]])
    heads: Mapping[str, RepoFile] = field(default_factory=dict[str, RepoFile])
    configs: Mapping[str, RepoFile] = field(default_factory=dict[str, RepoFile])
    download_bytes: int = 0


def index_of(info: ModelInfo) -> RepoFile:
    """Return the file that says what the pipeline is.

    Raises:
        HubError: There is none (`model_not_supported`).
    """
    found = next((file for file in info.files if file.path == MODEL_INDEX), None)
    if found is None or found.size > INDEX_BYTES:
        detail = f"{info.model_id} has no {MODEL_INDEX}, so it is not in diffusers' format."
        hint = "Choose a model for diffusers; many have a repository whose name ends in -diffusers."
        raise HubError(detail, hint=hint, code=ErrorCode.MODEL_NOT_SUPPORTED)
    return found


def plan(info: ModelInfo, index: bytes) -> Plan:
    """Decide what to read.

    Args:
        info: What the hub tells.
        index: Content of `model_index.json`.

    Raises:
        HubError: It does not describe a pipeline (`model_not_supported`).
    """
    parsed = _parsed(index)
    if parsed is None:
        detail = f"{MODEL_INDEX} of {info.model_id} is not a JSON object."
        raise _no_pipeline(detail)
    taken = set(pipeline_files([file.path for file in info.files], parsed, or_pickled=True))
    chosen = [file for file in info.files if file.path in taken]
    weights: dict[str, list[RepoFile]] = {}
    heads: dict[str, RepoFile] = {}
    configs: dict[str, RepoFile] = {}
    for file in chosen:
        part, _, name = file.path.partition("/")
        if name.endswith(WEIGHTS):
            heads.setdefault(part, file)
        if name.endswith((WEIGHTS, PICKLED)):
            weights.setdefault(part, []).append(file)
        elif name == "config.json" and part in CONFIGURED_PARTS:
            configs[part] = file
    return Plan(info, parsed, weights, heads, configs, sum(file.size for file in chosen))


def facts(planned: Plan, heads: Mapping[str, bytes], configs: Mapping[str, bytes]) -> ModelFacts:
    """Put together what is known of a model.

    Args:
        planned: What `plan` returned.
        heads: The first bytes of the files that it names; a missing one leaves the types of that part unknown.
        configs: Contents of the configurations that it names; a missing one leaves that part's details unknown.

    Raises:
        HubError: The index names no pipeline (`model_not_supported`).
    """
    parts = tuple(
        Part(part, sum(file.size for file in files), shares(heads.get(part, b"")))
        for part, files in planned.weights.items()
    )
    read = {part: found for part, content in configs.items() if (found := _parsed(content)) is not None}
    try:
        capability = capability_of(planned.index, read)
    except ContractError as error:
        raise _no_pipeline(error.detail) from None
    return ModelFacts(
        info=planned.info,
        capability=capability,
        parts=parts,
        download_bytes=planned.download_bytes,
        pickled=tuple(part for part in planned.weights if part not in planned.heads),
    )


def _no_pipeline(detail: str) -> HubError:
    return HubError(detail, hint="Choose a model for diffusers.", code=ErrorCode.MODEL_NOT_SUPPORTED)


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def shares(head: bytes) -> dict[str, float]:
    """Return the share of each type of tensors in a safetensors file, by size.

    The file begins with the length of its header in 8 bytes, and the header, a JSON object. Of a header that was read
    in part, the tensors that were read count.

    Args:
        head: The beginning of the file.
    """
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    text = head[_LENGTH_BYTES : _LENGTH_BYTES + length].decode("utf-8", "replace")
    if len(head) < _LENGTH_BYTES + length:
        text = text[: text.rfind("},") + 1] + "}"
    try:
        tensors = [entry for name, entry in json.loads(text).items() if name != "__metadata__"]
        sizes: dict[str, int] = {}
        for entry in tensors:
            start, end = entry["data_offsets"]
            sizes[entry["dtype"]] = sizes.get(entry["dtype"], 0) + end - start
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    total = sum(sizes.values())
    return {dtype: size / total for dtype, size in sizes.items()} if total else {}

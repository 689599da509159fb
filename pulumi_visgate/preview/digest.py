"""The document of `pulumi preview --json`, and the policy events of the engine's log, which that document lacks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from pulumi_visgate.errors import VisgateError

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET = "[secret]"  # noqa: S105 - what the engine writes instead of a secret
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the engine's mark of a secret
_URN_PARTS = 4


class PreviewError(VisgateError):
    """There is no preview, or it cannot be read."""


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


class State(_Model):
    """A resource before or after the change.

    Args:
        inputs: What the program says.
        outputs: What the provider says.
        custom: It is a resource of a provider, not a component.
        external: It is only read.
        delete: It was replaced already and waits for its end.
        retain_on_delete: Leaving the stack, it stays at its provider.
    """

    type: str = ""
    inputs: dict[str, Any] = Field(default_factory=dict, repr=False)
    outputs: dict[str, Any] = Field(default_factory=dict, repr=False)
    custom: bool = True
    external: bool = False
    delete: bool = False
    retain_on_delete: bool = False


class Step(_Model):
    """One thing that the engine would do.

    Args:
        op: `same`, `create`, `update`, `replace`, `delete`, `refresh`, …
        urn: Of the resource.
        diff_reasons: Properties that cause an update.
        replace_reasons: Properties that cause a replacement.
        detailed_diff: Paths that differ, where the provider tells them.
    """

    op: str
    urn: str
    old_state: State | None = None
    new_state: State | None = None
    diff_reasons: list[str] = Field(default_factory=list)
    replace_reasons: list[str] = Field(default_factory=list)
    detailed_diff: dict[str, Any] | None = None


class Diagnostic(_Model):
    """Something that the program, a provider or the engine said."""

    message: str = ""
    severity: str = "info"
    urn: str = ""


class Violation(_Model):
    """What a policy found.

    Args:
        resource_urn: Of the resource.
        message: The policy's description, then what is wrong.
        policy_name: Of the policy.
        policy_pack_name: Of its pack.
        enforcement_level: `advisory` or `mandatory`.
    """

    resource_urn: str = ""
    message: str = ""
    policy_name: str = ""
    policy_pack_name: str = ""
    enforcement_level: str = "advisory"

    @property
    def mandatory(self) -> bool:
        """It stops the update."""
        return self.enforcement_level != "advisory"


class Digest(_Model):
    """A whole preview.

    Args:
        change_summary: Number of resources by operation.
    """

    steps: list[Step] = Field(default_factory=list)
    diagnostics: list[Diagnostic] = Field(default_factory=list)
    change_summary: dict[str, int] = Field(default_factory=dict)


def parse_digest(text: str) -> Digest:
    """Read what `pulumi preview --json` has printed.

    Raises:
        PreviewError: It is something else.
    """
    detail = "This is no preview: a document of `pulumi preview --json` was expected."
    hint = "Make one with `pulumi preview --json --show-sames > preview.json`."
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PreviewError(detail, hint=hint) from error
    if not isinstance(document, dict) or not {"steps", "diagnostics", "changeSummary"} & document.keys():
        raise PreviewError(detail, hint=hint)
    try:
        return Digest.model_validate(_without_secrets(document))
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        detail = f"The preview has an unexpected form at {where}."
        raise PreviewError(detail, hint="Is it of a Pulumi CLI older than 3.254?") from error


def read_violations(events: Path) -> list[Violation]:
    """Return the policy violations of an engine event log, each once; the log of a broken run may end anywhere."""
    found = dict.fromkeys(_violations(events)) if events.is_file() else {}
    return list(found)


def _violations(events: Path) -> Iterator[Violation]:
    with events.open(encoding="utf-8") as lines:
        for line in lines:
            if '"policyEvent"' not in line:
                continue
            try:
                yield Violation.model_validate(json.loads(line)["policyEvent"])
            except (ValueError, KeyError):
                continue


def _without_secrets(value: Any) -> Any:
    """Replace the secrets of a document whose maker has not blinded them."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET_SIGNATURE:
            return SECRET
        return {name: _without_secrets(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return value


def names_of(urn: str) -> tuple[str, str, str]:
    """Return stack, project and resource name of a URN; empty where it has none."""
    parts = urn.removeprefix("urn:pulumi:").split("::", _URN_PARTS - 1)
    if len(parts) < _URN_PARTS:
        return "", "", urn
    return parts[0], parts[1], parts[3]


def type_of(urn: str) -> str:
    """Return the type of a URN's resource, without those of its parents."""
    parts = urn.split("::")
    return parts[2].rsplit("$", 1)[-1] if len(parts) > 2 else ""  # noqa: PLR2004 - urn:pulumi:stack::project::type::name

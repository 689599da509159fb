"""Bases and shared value types of the wire models; imports pydantic only.

Requests refuse unknown fields, as API v2 does. Answers ignore them, so that a newer API breaks nothing. Attributes are
snake_case, the wire is camelCase. No error text repeats an input, because inputs hold environment values.
"""

from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeAlias, TypeVar, cast, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

EnumT = TypeVar("EnumT", bound=StrEnum)
ItemT = TypeVar("ItemT")

Open: TypeAlias = Annotated[EnumT | str, Field(union_mode="left_to_right")]
"""An enum in an answer, where a value that the API may add later stays plain text."""

Int: TypeAlias = Annotated[int, Strict()]
Bool: TypeAlias = Annotated[bool, Strict()]
Number: TypeAlias = Annotated[float, Strict()]
Name: TypeAlias = Annotated[str, Field(min_length=1)]
CudaVersion: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$")]


def _unique(items: list[ItemT]) -> list[ItemT]:
    if any(item in items[:index] for index, item in enumerate(items)):
        message = "items must be unique"
        raise ValueError(message)
    return items


UniqueList: TypeAlias = Annotated[list[ItemT], AfterValidator(_unique)]


class Wire(BaseModel):
    """What requests and answers have in common."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
        hide_input_in_errors=True,
        ser_json_inf_nan="null",
    )


class Answer(Wire):
    """Anything the API returns; null for a list or mapping that cannot be null is an empty one."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = cast("dict[str, Any]", data)
        nulls = [name for name, value in given.items() if value is None]
        if not nulls:
            return given
        empty = _empty_values(cls)
        return given | {name: empty[name] for name in nulls if name in empty}


@cache
def _empty_values(model: type[BaseModel]) -> dict[str, Any]:
    empty: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = get_origin(field.annotation) or field.annotation
        if isinstance(kind, type) and issubclass(kind, list | dict | Answer):
            empty[name] = empty[field.alias or name] = [] if issubclass(kind, list) else {}
    return empty


class Request(Wire):
    """Anything sent to the API.

    In Python, None for a field that cannot be null means "not set". JSON null for such a field is refused, as the API
    does. Fields in `nullable` keep an explicit None, which clears them.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        given = cast("dict[str, Any]", data)
        keep = cls.nullable | {to_camel(name) for name in cls.nullable}
        nulls = [name for name, value in given.items() if value is None and name not in keep]
        if nulls and info.mode == "json":
            message = f"{', '.join(sorted(nulls))} cannot be null"
            raise ValueError(message)
        return {name: value for name, value in given.items() if name not in nulls}

    def body(self) -> dict[str, Any]:
        """Return the JSON body: only what was set, under the API's names, secrets in clear."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, context=REVEAL)

    def changed(self, **fields: Any) -> Self:
        """Return a validated copy with some fields replaced."""
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate({**kept, **fields})


REVEAL = {"reveal_secrets": True}
"""Serialisation context of a request body; without it write-only secrets stay masked."""


class Query(Request):
    """Query parameters of an operation."""

    def params(self) -> dict[str, str]:
        """Return the parameters as the API wants them: lists joined by commas or absent, booleans in lower case."""
        return {name: _query_value(value) for name, value in self.body().items() if value != []}


def _query_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(str(item) for item in cast("list[object]", value))
    return str(value)


class CudaChoice(Request):
    """CUDA constraints of a new or changed resource.

    Args:
        allowed_cuda_versions: Exact versions as `major.minor`; an explicit empty list means any.
    """

    allowed_cuda_versions: list[CudaVersion] | None = None


class ContainerRequest(Request):
    """Container settings that templates and endpoints share.

    Args:
        args: Arguments of the container's entrypoint.
        disk: Container disk in GB, wiped at restart.
        env: Environment of the container.
        ports: Exposed ports as `port/protocol`.
        registry: Id of a registry credential; None clears it in an update.
    """

    nullable: ClassVar[frozenset[str]] = frozenset({"registry"})

    args: str | None = None
    disk: Annotated[Int, Field(ge=1)] | None = None
    env: dict[str, str] | None = Field(default=None, repr=False)
    ports: list[str] | None = None
    registry: str | None = None


class ContainerAnswer(Answer):
    """Container settings as the API reports them; `disk` is in GB."""

    image: str | None = None
    args: str | None = None
    disk: int | None = None
    env: dict[str, str] = Field(default_factory=dict[str, str], repr=False)
    ports: list[str] = Field(default_factory=list[str])
    registry: str | None = None

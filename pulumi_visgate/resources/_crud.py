"""Create, read, update and delete over plain property mappings; knows Runpod's rules and nothing of Pulumi.

A gRPC provider can use these classes as they are. Subclasses say what a resource looks like at the API; this module
checks inputs, names resources, compares, and finds half-made resources again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from pulumi_visgate.resources._adopt import OneOfAName
from pulumi_visgate.resources._session import Named, Session
from pulumi_visgate.resources._values import (
    UNKNOWN,
    Properties,
    as_text,
    derived_name,
    fingerprints,
    former_name,
    has_unknown,
    keep_order,
    same,
    without_empty,
)
from pulumi_visgate.resources.errors import NameTaken
from pulumi_visgate.runpod.errors import RunpodError


@dataclass(frozen=True, slots=True)
class Problem:
    """An input that cannot be used.

    Args:
        property: Name of the input.
        reason: What is wrong and what is allowed, without the value when it can be secret.
    """

    property: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """How two states differ.

    Args:
        changed: Inputs that differ.
        replaces: Those of them that need a new resource.
        delete_first: The new one would have the old one's name.
    """

    changed: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    delete_first: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What is really there.

    Args:
        outs: Inputs as they are in reality, and outputs.
        inputs: Inputs alone, in the form that `check` returns.
    """

    outs: dict[str, Any]
    inputs: dict[str, Any]


# The bounds of S3, the narrowest store of tags.
TagName = Annotated[str, Field(min_length=1, max_length=128)]
TagValue = Annotated[str, BeforeValidator(as_text), Field(max_length=256)]


class Inputs(BaseModel):
    """Base of the input models: units are in names, and nothing but the inputs is accepted.

    Args:
        tags: What the program says of it; Runpod has no tags, so they are kept in the state alone.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    tags: dict[TagName, TagValue] = Field(default_factory=dict, max_length=50)


class NamedInputs(Inputs):
    """Inputs of a resource that has a name.

    Args:
        name: Name at the API; derived from `owner` when left out.
        owner: `project/stack/name` in the program; set by the resource itself.
        adopt: Take over the one existing resource of this name instead of refusing.
    """

    name: str | None = None
    owner: str | None = None
    adopt: bool = False


class Crud(ABC):
    """One kind of resource.

    Attributes:
        kind: What people call it.
        model: Its inputs.
        fixed: Inputs that cannot change in place.
        secret: Inputs whose values are never shown.
        unordered: Lists whose order says nothing.
        unmanaged: Inputs that are left as they are when not given.
        notes: Inputs that say something about the program, not about the resource.
        costs: Notes of what it costs; they stay as they are while nothing else changes.
        keeps_tags: The resource itself has the tags; everywhere else they are a note.
        outputs: What it tells besides its inputs.
    """

    kind: ClassVar[str]
    model: ClassVar[type[Inputs]]
    fixed: ClassVar[tuple[str, ...]] = ()
    secret: ClassVar[frozenset[str]] = frozenset()
    unordered: ClassVar[frozenset[str]] = frozenset()
    unmanaged: ClassVar[frozenset[str]] = frozenset()
    notes: ClassVar[frozenset[str]] = frozenset({"owner", "adopt"})
    costs: ClassVar[tuple[str, ...]] = ()
    keeps_tags: ClassVar[bool] = False
    outputs: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.notes |= set(cls.costs)
        if not cls.keeps_tags:
            cls.notes |= {"tags"}

    def __init__(self, session: Session) -> None:
        self.session = session

    # --- check ---

    def check(self, olds: Properties, news: Properties) -> tuple[dict[str, Any], list[Problem]]:
        """Validate inputs and fill in what was left out.

        Args:
            olds: Inputs of the last run, empty for a new resource.
            news: Inputs as the program gives them; unknown values are `UNKNOWN`.

        Returns:
            The inputs to use, and what is wrong with them.
        """
        values, problems = self._parse(news)
        if olds.get("owner"):
            values["owner"] = olds["owner"]  # a renamed stack or resource keeps what it has
        if not problems:
            self.complete(values)
            if not news.get("name") and olds.get("name") == self._former_name(values):
                values["name"] = olds["name"]
            problems += self.rules(values)
        one = None if olds or problems else self.one()
        if one is not None:
            with one.listing.asked_meanwhile():
                problems += self._against_catalog(olds, values)
            problems += [] if problems else self._against_names(one, values)
        elif not problems:
            problems += self._against_catalog(olds, values)
        return without_empty(values), problems

    def one(self) -> OneOfAName[Any] | None:
        """Return what keeps to one resource for each name, None where names say nothing or cannot be asked for."""
        return None

    def _against_names(self, one: OneOfAName[Any], values: dict[str, Any]) -> list[Problem]:
        """See who has the name of something new: what a creation would find is known in the preview already."""
        name = values.get("name")
        if not isinstance(name, str):
            return []
        derived = name == self.own_name(values)
        try:
            there = one.foreseen(name, derived=derived, adopt=bool(values.get("adopt")))
        except NameTaken as error:
            return [Problem("name", f"{error.detail.removeprefix('name: ')} {error.hint}")]
        except RunpodError:
            return []  # the creation asks again, and fails where that matters
        if there:
            self.session.report.note(self._takes_over(there[0], values, derived=derived))
        return []

    def _takes_over(self, item: Named, values: Properties, *, derived: bool) -> str:
        found = self.describe(item.id)
        news = without_empty(values)
        changes = (
            [] if found is None else [name for name in self.compared(news) if not self._same(name, found.outs, news)]
        )
        whose = "which an interrupted run made" if derived else "as adopt says"
        what = f"and changes {', '.join(changes)}" if changes else "as it is"
        return f"{self.kind} {values['name']}: `up` takes over {item.id}, {whose}, {what}."

    def _against_catalog(self, olds: Properties, values: dict[str, Any]) -> list[Problem]:
        """Ask the catalog about what is new or changed."""
        values.update({name: olds.get(name) for name in self.costs})
        given = without_empty(values)
        if all(self._same(name, olds, given) for name in self.compared(given)):
            return []
        values.update(dict.fromkeys(self.costs))
        try:
            problems = [*self.remote_rules(values)]
            if not problems:
                values.update(self.prices(values))
        except RunpodError as error:
            self.session.without_catalog(error)
            return []
        return problems

    def _parse(self, news: Properties) -> tuple[dict[str, Any], list[Problem]]:
        fields = self.model.model_fields
        holder = self.model.model_construct()
        values: dict[str, Any] = {}
        problems = [Problem(name, self._not_a_property(name)) for name in news if name not in fields]
        for name, field in fields.items():
            given = news.get(name)
            if given is None:
                if field.is_required():
                    problems.append(Problem(name, "is required."))
                else:
                    values[name] = to_jsonable_python(_default(field))
            elif has_unknown(given):
                values[name] = given
            else:
                try:
                    setattr(holder, name, given)
                except ValidationError as error:
                    problems += _explained(error, name)
                else:
                    values[name] = to_jsonable_python(getattr(holder, name))
        return values, problems

    def _not_a_property(self, name: str) -> str:
        close = get_close_matches(name, self.model.model_fields, n=1)
        return f"is not a property of {self.kind}." + (f" Did you mean {close[0]}?" if close else "")

    def complete(self, values: dict[str, Any]) -> None:
        """Fill in values that follow from others; the base derives the name."""
        if "name" in values and not values["name"]:
            values["name"] = self.own_name(values)

    def own_name(self, values: Properties) -> Any:
        """Return the name derived from the owner, or UNKNOWN while a part of it is."""
        fixed = [values.get(name) for name in self.fixed]
        if has_unknown(fixed) or not values.get("owner"):
            return UNKNOWN
        return derived_name(values["owner"], fixed)

    def _former_name(self, values: Properties) -> str:
        fixed = [None if name == "name" else values.get(name) for name in self.fixed]
        return former_name(str(values.get("owner")), fixed)

    def rules(self, _values: Properties, /) -> Iterable[Problem]:
        """Check what one field cannot know alone, without asking anyone."""
        return ()

    def remote_rules(self, _values: Properties, /) -> Iterable[Problem]:
        """Check what the catalog knows; only asked for new or changed inputs."""
        return ()

    def prices(self, _values: Properties, /) -> dict[str, Any]:
        """Return `costs`; only asked for new or changed inputs."""
        return {}

    # --- diff ---

    def diff(self, olds: Properties, news: Properties) -> Change:
        """Compare the outputs of the last run, or of a refresh, with new inputs."""
        changed = tuple(name for name in self.compared(news) if not self._same(name, olds, news))
        replaces = tuple(self.replaced_by(changed, olds, news))
        return Change(changed, replaces, bool(replaces) and same(olds.get("name"), news.get("name")))

    def compared(self, news: Properties) -> Iterator[str]:
        """Name the inputs that this resource keeps as the program says."""
        for name in self.model.model_fields:
            if name not in self.notes and not (name in self.unmanaged and name not in news):
                yield name

    def _same(self, name: str, olds: Properties, news: Properties) -> bool:
        return same(olds.get(name), news.get(name), ordered=name not in self.unordered)

    def replaced_by(self, changed: Iterable[str], _olds: Properties, _news: Properties, /) -> Iterable[str]:
        """Pick the changes that the API cannot make in place."""
        return (name for name in changed if name in self.fixed)

    # --- create, read, update, delete ---

    @abstractmethod
    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Create it, or find what an interrupted run made. Returns the id and outputs."""

    @abstractmethod
    def read(self, id_: str, props: Properties) -> Found | None:
        """Return what is there, or None when it is gone."""

    def describe(self, id_: str) -> Found | None:
        """Return what is there of something that this library has never seen, with all that it leaves alone elsewhere.

        Args:
            id_: Id at the API.
        """
        return self.read(id_, dict.fromkeys(self.unmanaged, True))

    @abstractmethod
    def update(self, id_: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Change what differs. Returns outputs."""

    @abstractmethod
    def delete(self, id_: str, props: Properties, /) -> None:
        """Remove it; gone is done."""

    def found(self, observed: Properties, outputs: Properties, props: Properties) -> Found:
        """Put together what a read or change returns.

        Args:
            observed: Inputs as the API reports them.
            outputs: Outputs.
            props: What was known before: its order of lists, and what the API does not report.
        """
        noted = {name: props[name] for name in self.notes if name in props}
        inputs = {name: keep_order(value, props.get(name)) for name, value in observed.items()}
        inputs = without_empty(inputs | noted)
        return Found(inputs | without_empty(outputs), inputs)


class WithEnv:
    """Mix-in for resources whose `env` is secret but whose changes shall be readable."""

    session: Session

    def note_env(self, values: dict[str, Any]) -> None:
        """Add fingerprints of the environment, keyed by the account's own key."""
        env = values.get("env")
        if isinstance(env, Mapping) and env and not has_unknown(env):
            values["env_fingerprints"] = fingerprints(env, self.session.settings.require_key().encode())


def _default(field: FieldInfo) -> Any:
    # `get_default` looks at the factory's signature each time, which takes longer than all the rest of a check.
    factory = cast("Callable[[], Any] | None", field.default_factory)
    return factory() if factory else field.default


def _explained(error: ValidationError, name: str) -> Iterator[Problem]:
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        inner = ".".join(str(part) for part in item["loc"][1:])
        reason = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        yield Problem(name, f"{inner}: {reason}" if inner else f"{reason}.")

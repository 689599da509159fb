import ast

import pytest

from tools.reference import families
from tools.reference.changes import changes_of, emptied_of, probed
from tools.reference.fields import CRUDS, TABLE
from tools.reference.pages import EXAMPLES, FOLDER, Resource, described, pages, resources
from tools.reference.sources import Field, fields_of, summary


def test_the_pages_are_those_of_the_code() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    stale = [name for name, text in pages().items() if there.get(name) != text]
    assert stale == [], "run `make docs`"
    assert set(there) == set(pages())


def test_the_page_of_the_families_is_that_of_the_tables() -> None:
    assert families.PAGE.read_text(encoding="utf-8") == families.page(), "run `make docs`"


@pytest.mark.parametrize("resource", resources(), ids=lambda resource: resource.name)
def test_a_page_shows_its_example_as_it_is_and_every_argument(resource: Resource) -> None:
    example = (EXAMPLES / f"{resource.slug}.py").read_text(encoding="utf-8")
    page = (FOLDER / f"{resource.slug}.md").read_text(encoding="utf-8")
    assert f"```python\n{example.rstrip()}\n```" in page
    called = {
        node.func.id
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert resource.name in called
    for name in (*resource.arguments, *resource.outputs):
        assert f"| `{name}` |" in page


def test_every_example_has_a_page() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {resource.slug for resource in resources()}


@pytest.mark.parametrize("resource", resources(), ids=lambda resource: resource.name)
def test_arguments_and_outputs_are_what_the_rules_know(resource: Resource) -> None:
    known = {*resource.crud.model.model_fields, *resource.crud.outputs}
    assert {*resource.arguments, *resource.outputs} <= known


@pytest.mark.parametrize("name", TABLE)
def test_the_table_says_what_the_rules_do(name: str) -> None:
    for row in TABLE[name]:
        assert probed(name, row, row.value, row.other) is row.change, row.input
        assert emptied_of(name, CRUDS[name], row.input) is row.emptied, row.input
        assert changes_of(name, CRUDS[name], row.input)[row.when] is row.change


class Undescribed:
    """A class.

    Args:
        size: Not in the summary.
    """

    size: int


def test_a_field_without_a_description_is_refused() -> None:
    field: Field = fields_of(Undescribed)["size"]
    with pytest.raises(ValueError, match=r"Endpoint\.size has no description"):
        described(Resource("Endpoint"), field)
    assert summary(Undescribed) == "A class."

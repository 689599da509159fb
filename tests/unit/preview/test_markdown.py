"""The comment of a pull request."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_visgate.preview import plain
from pulumi_visgate.preview.digest import Violation, parse_digest
from pulumi_visgate.preview.markdown import MAX_CHARS, marker, render
from pulumi_visgate.preview.plan import make_plan
from tests.unit.preview.conftest import MakePlan, document, step

VOLUME = {"size_gb": 20, "hourly_floor_usd": 0.0019, "hourly_ceiling_usd": 0.0019}
POOL = {"image": "acme/worker:1", "max_workers": 3, "hourly_floor_usd": 0.0, "hourly_ceiling_usd": 3.3}
EVIL = "<script>@everyone`|</summary>\n```\n# hi"


def test_the_whole_of_a_small_change(plan_of: MakePlan) -> None:
    plan = plan_of(
        step("same", "NetworkVolume", "weights", old=VOLUME, new=VOLUME),
        step("delete", "NetworkVolume", "old", old=VOLUME),
        step("update", "Endpoint", "sdxl", old=POOL, new=POOL | {"image": "acme/worker:2", "hourly_floor_usd": 1.1}),
        diagnostics=[{"severity": "warning", "message": "warning: EU-RO-1 has few GPUs\n"}],
    )
    assert (
        render(plan)
        == """<!-- visgate-diff:shop/dev -->

### `shop/dev`: 1 to update, 1 to delete

Idle $0.0038 → **$1.1019** an hour (+$1.0981, +$802 a month) · \
all workers busy $3.3038 → **$3.3019** an hour (-$0.0019, -$1.39 a month)

> [!WARNING]
> **Data is at stake**
> - delete `NetworkVolume` `old`: the volume is deleted with everything on it

| resource | kind | change | idle, an hour | all busy, an hour | a month |
|---|---|---|--:|--:|--:|
| `old` | NetworkVolume | delete | $0.0019 → $0.00 | $0.0019 → $0.00 | -$1.39 |
| `sdxl` | Endpoint | update | $0.00 → $1.10 | $3.30 | +$803 to ±$0 |
| **whole stack** | | | $0.0038 → $1.1019 | $3.3038 → $3.3019 | **+$802 to -$1.39** |

**Warnings**

- EU-RO-1 has few GPUs

<details><summary><code>-</code> delete NetworkVolume <b>old</b></summary>

Everything of it goes.

</details>

<details><summary><code>~</code> update Endpoint <b>sdxl</b></summary>

```diff
- image: acme/worker:1
+ image: acme/worker:2
```

</details>
"""
    )


def test_nothing_to_do_is_two_lines(plan_of: MakePlan) -> None:
    text = render(plan_of(step("same", "NetworkVolume", old=VOLUME, new=VOLUME)))
    assert text == (
        "<!-- visgate-diff:shop/dev -->\n\n### `shop/dev`: no changes\n\n"
        "Idle **$0.0019** an hour · all workers busy **$0.0019** an hour\n"
    )


def test_unknown_prices_are_no_zero(plan_of: MakePlan) -> None:
    text = render(plan_of(step("create", "NetworkVolume", "v", new={"size_gb": 10})))
    assert "Idle $0.00 → **unknown** an hour · all workers busy $0.00 → **unknown** an hour" in text
    assert "Without `v`, whose price is unknown." in text
    assert "| `v` | NetworkVolume | create | $0.00 → unknown | $0.00 → unknown | unknown |" in text
    some = render(
        plan_of(step("create", "NetworkVolume", "v", new={}), step("create", "NetworkVolume", "w", new=VOLUME))
    )
    assert "Idle $0.00 → **at least $0.0019** an hour" in some


def test_sums_of_a_part_say_so(plan_of: MakePlan) -> None:
    text = render(plan_of(step("create", "Endpoint", new=POOL), changeSummary={"same": 9, "create": 1}))
    assert "--show-sames" in text
    assert "| **these** |" in text


def test_a_failed_preview_says_why_and_keeps_its_marker(plan_of: MakePlan) -> None:
    said = [{"severity": "error", "message": "error: size_gb: must be 10 or more\n"}]
    text = render(plan_of(diagnostics=said))
    assert text.startswith("<!-- visgate-diff:shop/dev -->\n\n### `shop/dev`: the preview failed\n")
    assert "```text\nsize_gb: must be 10 or more\n```" in text


def test_violations_are_listed_with_their_level(plan_of: MakePlan) -> None:
    urn = step("same", "Endpoint", "sdxl")["urn"]
    found = Violation(resource_urn=urn, message="Few workers.\nsdxl has 9.", policy_name="max-workers")
    stern = found.model_copy(update={"enforcement_level": "mandatory"})
    text = render(plan_of(step("create", "Endpoint", new=POOL), violations=(found, stern)))
    assert "1 to create, **refused by policy**" in text
    assert "- **mandatory** `max-workers` at `sdxl`: sdxl has 9.\n- advisory `max-workers` at `sdxl`" in text


def test_drift_is_shown(plan_of: MakePlan) -> None:
    steps = (
        step("refresh", "NetworkVolume", "v", old={"size_gb": 20}, new={"size_gb": 20}),
        step("same", "NetworkVolume", "v", old={"size_gb": 35}, new={"size_gb": 20}),
        step("refresh", "NetworkVolume", "w", old={}, new={}),
    )
    text = render(plan_of(*steps))
    assert (
        "**Changed outside of the program**\n\n- NetworkVolume `v`: `size_gb: 20 → 35`\n- NetworkVolume `w`: is gone"
        in text
    )


def test_markers_are_of_one_stack_and_cannot_be_closed_early(plan_of: MakePlan) -> None:
    plan = make_plan(parse_digest(document().replace("urn:pulumi:dev::shop", "urn:pulumi:x--><b>::sh op")))
    assert marker(plan) == "<!-- visgate-diff:sh_op/x-___b_ -->"


def test_nothing_from_a_program_becomes_markup(plan_of: MakePlan) -> None:
    evil: dict[str, Any] = {"image": EVIL, EVIL: "x", "tags": {EVIL: EVIL}}
    urn = step("same", "Endpoint", EVIL)["urn"]
    plan = plan_of(
        step("update", "Endpoint", EVIL, old={}, new=evil),
        step("delete", "NetworkVolume", EVIL, old=VOLUME),
        step("refresh", "Endpoint", EVIL + "2", old={"image": EVIL}, new={}),
        step("same", "Endpoint", EVIL + "2", old={"image": "a"}, new={"image": "a"}),
        diagnostics=[{"severity": s, "message": EVIL, "urn": urn} for s in ("warning", "error")],
        violations=(Violation(resource_urn=urn, message=f"a\n{EVIL}", policy_name=EVIL),),
    )
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", render(plan), flags=re.M | re.S)
    outside = re.sub(r"`[^`\n]*`", "", outside)
    assert "script>" not in outside.replace("&lt;script&gt;", "")
    assert "@everyone" not in outside
    assert "# hi" not in re.sub(r"<summary>.*</summary>", "", outside)


@pytest.mark.parametrize("number", [5, 400, 3000])
def test_a_comment_is_never_too_long_and_says_what_it_lacks(plan_of: MakePlan, number: int) -> None:
    steps = [step("delete", "NetworkVolume", f"volume-{i}", old=VOLUME) for i in range(number)]
    steps += [
        step("update", "Endpoint", f"pool-{i}", old=POOL, new=POOL | {"image": "a:" + "2" * 200}) for i in range(number)
    ]
    said = [{"severity": "warning", "message": f"warning: {i} " + "long " * 50} for i in range(number)]
    text = render(plan_of(*steps, diagnostics=said))
    assert len(text) <= MAX_CHARS
    assert text.count("<details") == text.count("</details>")
    whole = number == 5
    assert ("Cut here: the details of" in text) is not whole
    assert ("more warnings would not fit here" in text) is not whole
    assert (re.search(r"^\| … \d+ more \|", text, re.M) is not None) is not whole
    assert f"{number} to update, {number} to delete" in text
    assert "| **whole stack** |" in text


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.text(max_size=300), st.text(max_size=3000)), max_size=12),
    st.integers(min_value=2000, max_value=8000),
)
def test_any_text_fits_any_room(texts: list[tuple[str, str]], room: int) -> None:
    steps = [step("update", "Endpoint", name, old={"image": "a"}, new={"image": value}) for name, value in texts]
    said = [{"severity": "error", "message": value} for _, value in texts]
    plan = make_plan(parse_digest(document(*steps, diagnostics=said)))
    assert len(render(plan, max_chars=room)) <= room
    assert all("\n" not in line for line in list(plain.lines(plan))[:1])

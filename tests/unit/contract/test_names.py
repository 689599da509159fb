import pytest
from hypothesis import given
from hypothesis import strategies as st

from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.names import EndpointName, model_slug, spec_hash, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

USER = user_hash("rpa_SOMEBODY0000000000")
model_ids = st.text(min_size=1, max_size=120)
specs = st.dictionaries(st.text(max_size=10), st.integers() | st.text(max_size=10) | st.booleans(), max_size=5)
names = st.builds(
    EndpointName.build,
    user_hash=st.binary(min_size=1, max_size=20).map(lambda raw: user_hash(raw.hex())),
    model_id=model_ids,
    task=st.sampled_from(Task),
    policy=st.sampled_from(PoolPolicy),
    spec=specs,
)


@given(names)
def test_every_name_parses_back_to_its_parts(name: EndpointName) -> None:
    assert EndpointName.parse(str(name)) == name


@given(names)
def test_runpods_flashboot_suffix_is_ignored(name: EndpointName) -> None:
    assert EndpointName.parse(f"{name} -fb") == name


@given(names)
def test_names_are_short_plain_and_hold_no_space(name: EndpointName) -> None:
    text = str(name)
    assert len(text) <= 128
    assert text.isascii()
    assert not set(text) & set(" /:@")


@given(st.text(max_size=150))
def test_other_names_are_not_ours(text: str) -> None:
    parsed = EndpointName.parse(text)
    assert parsed is None or str(parsed) in text


@pytest.mark.parametrize(
    "text",
    [
        "visgate-0123456789-model-abcdef-text2img-on_demand-0123456",
        "visgate-0123456789-model-abcdef-text2song-on_demand-01234567",
        "visgate-0123456789-model-abcdef-text2img-whenever-01234567",
        "other-0123456789-model-abcdef-text2img-on_demand-01234567",
        "visgate-0123456789-model-abcdef-text2img-on_demand-01234567 -fb -fb",
    ],
)
def test_a_name_with_one_wrong_part_is_refused(text: str) -> None:
    assert EndpointName.parse(text) is None


def test_an_endpoint_serves_its_user_model_and_task_only() -> None:
    name = EndpointName.build(
        user_hash=USER, model_id="org/model", task=Task.TEXT2IMG, policy=PoolPolicy.ON_DEMAND, spec={}
    )
    assert name.serves(user_hash=USER, model_id="org/model", task=Task.TEXT2IMG)
    assert not name.serves(user_hash=user_hash("another"), model_id="org/model", task=Task.TEXT2IMG)
    assert not name.serves(user_hash=USER, model_id="other/model", task=Task.TEXT2IMG)
    assert not name.serves(user_hash=USER, model_id="org/model", task=Task.TEXT2VIDEO)


@given(model_ids, model_ids)
def test_different_models_have_different_slugs(one: str, other: str) -> None:
    assert (model_slug(one) == model_slug(other)) == (one == other)


@given(specs)
def test_the_order_of_a_specification_does_not_matter(spec: dict[str, object]) -> None:
    assert spec_hash(spec) == spec_hash(dict(reversed(spec.items())))


def test_a_changed_specification_changes_its_hash() -> None:
    assert spec_hash({"image": "a"}) != spec_hash({"image": "b"})


def test_a_key_instead_of_its_hash_is_refused_without_being_shown() -> None:
    with pytest.raises(ContractError) as caught:
        EndpointName.build(
            user_hash="rpa_SECRETSECRET", model_id="m", task=Task.TEXT2IMG, policy=PoolPolicy.ALWAYS_ON, spec={}
        )
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert "SECRET" not in str(caught.value)


def test_an_empty_model_id_is_refused() -> None:
    with pytest.raises(ContractError, match="model_id"):
        EndpointName.build(user_hash=USER, model_id="", task=Task.TEXT2IMG, policy=PoolPolicy.ALWAYS_ON, spec={})

import pytest

from visgate_contract.fit import GB, GIB, Fit, Need, Part, disk_gb, memory_of_pool, need, working_gib

# Sizes of the published weights, in bytes.
FLUX = (
    Part("transformer", 23_800_000_000, {"BF16": 1.0}),
    Part("text_encoder_2", 9_520_000_000, {"BF16": 1.0}),
    Part("text_encoder", 246_000_000, {"BF16": 1.0}),
    Part("vae", 168_000_000, {"BF16": 1.0}),
)
PICTURE = working_gib(width=1024, height=1024, num_frames=None, is_clip=False)


def test_flux_needs_what_its_authors_measured() -> None:
    """Published for bfloat16 at 1024 x 1024: 31.4 GiB loaded, 36.2 GiB at the peak."""
    found = need(FLUX, PICTURE)
    assert sum(part.loaded_bytes for part in FLUX) / GIB == pytest.approx(31.4, abs=0.1)
    assert found.whole == pytest.approx(36.2, abs=0.6)


@pytest.mark.parametrize(("memory_gb", "fit"), [(24, Fit.NO), (32, Fit.BY_PARTS), (48, Fit.WHOLE), (80, Fit.WHOLE)])
def test_flux_on_the_gpus_of_the_catalog(memory_gb: int, fit: Fit) -> None:
    assert need(FLUX, PICTURE).on(memory_gb) is fit


@pytest.mark.parametrize(
    ("dtypes", "factor"),
    [({"F32": 1.0}, 0.5), ({"F16": 1.0}, 1), ({"F8_E4M3": 1.0}, 2), ({"U8": 1.0}, 1), ({}, 1), ({"F64": 1.0}, 0.25)],
)
def test_weights_are_loaded_as_bfloat16(dtypes: dict[str, float], factor: float) -> None:
    assert Part("unet", 1_000, dtypes).loaded_bytes == 1_000 * factor


def test_mixed_types_count_by_their_share() -> None:
    assert Part("unet", 1_000, {"F32": 0.5, "BF16": 0.5}).loaded_bytes == 750


def test_larger_pictures_and_longer_clips_need_more() -> None:
    large = working_gib(width=2048, height=2048, num_frames=None, is_clip=False)
    short = working_gib(width=720, height=480, num_frames=49, is_clip=True)
    longer = working_gib(width=720, height=480, num_frames=97, is_clip=True)
    assert large > 3 * PICTURE
    assert short < longer
    assert short == pytest.approx(5, abs=1)  # published for CogVideoX-5b


def test_a_gpu_is_not_filled_to_the_brim() -> None:
    assert Need(24.0, 1.0).on(24) is Fit.BY_PARTS
    assert Need(22.5, 1.0).on(24) is Fit.WHOLE
    assert Need(30.0, 24.0).on(24) is Fit.NO


@pytest.mark.parametrize(
    ("pool", "memory_gb"),
    [("ADA_24", 24), ("ADA_80_PRO", 80), ("HOPPER_141", 141), ("BLACKWELL_180", 180), ("CUSTOM", None)],
)
def test_pools_name_their_memory(pool: str, memory_gb: int | None) -> None:
    assert memory_of_pool(pool) == memory_gb


def test_a_disk_holds_the_model_and_more() -> None:
    assert disk_gb(30 * GB) == 35

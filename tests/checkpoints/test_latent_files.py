"""Latent files: what they keep, who may read them, and what is not one."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.checkpoints.latent_files import (
    LatentFile,
    LatentOrigin,
    check_readable,
    load_latent,
    origin_of,
    save_latent,
)
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.distributions import Choices, DiagonalGaussian, Point, Quantized
from vaekit.errors import BadLatent, LatentMismatch, NotFound
from vaekit.geometry import Geometry
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

SCALAR = LatentNormalization((0.0,), (0.18215,))
GEOMETRY = Geometry(3, 4, (8, 8))
SPACE = LatentOrigin("a" * 64, "kl", GEOMETRY, SCALAR)
METADATA = {
    "vaekit.latent": "2",
    "vaekit.fingerprint": "a" * 64,
    "vaekit.family": "kl",
    "vaekit.geometry": json.dumps(GEOMETRY.as_json()),
    "vaekit.size": "[20, 31]",
    "vaekit.normalization": "null",
}
METADATA_1 = {key: value for key, value in METADATA.items() if key not in ("vaekit.geometry", "vaekit.normalization")}
METADATA_1 |= {"vaekit.latent": "1", "vaekit.factor": "8", "vaekit.frame": "null"}


def mean() -> Tensor:
    return torch.randn(1, 4, 3, 4, generator=torch.Generator().manual_seed(0))


def test_a_gaussian_and_a_point_come_back(tmp_path: Path) -> None:
    for posterior in (DiagonalGaussian(mean(), -mean()), Point(mean())):
        save_latent(tmp_path / "x.safetensors", LatentFile(posterior, SPACE, (20, 31)))
        back = load_latent(tmp_path / "x.safetensors")
        assert (type(back.posterior), back.space, back.size) == (type(posterior), SPACE, (20, 31))
        assert torch.equal(back.posterior.mean, mean())
    assert set(load_file(tmp_path / "x.safetensors")) == {"mean"}


@pytest.mark.parametrize(
    "normalization", [None, LatentNormalization((0.1,) * 4, (0.5, 0.25, 1.0, 2.0)), LatentNormalization(patch=2)]
)
def test_normalizations_come_back(tmp_path: Path, normalization: LatentNormalization | None) -> None:
    space = dataclasses.replace(SPACE, normalization=normalization)
    save_latent(tmp_path / "x", LatentFile(Point(mean()), space, (20, 31)))
    assert load_latent(tmp_path / "x").space == space


@pytest.mark.parametrize(
    ("geometry", "shape", "size"),
    [
        (Geometry(12, 2), (1, 2), ()),
        (Geometry(2, 5, (2048,)), (1, 5, 3), (4100,)),
        (Geometry(3, 5, (4, 8, 8), causal=True), (1, 5, 2, 3, 4), (5, 20, 31)),
        (Geometry(1, 5, (28, 28), (28, 28)), (1, 5, 1, 1), (28, 28)),
    ],
)
def test_items_of_any_number_of_axes(
    tmp_path: Path, geometry: Geometry, shape: tuple[int, ...], size: tuple[int, ...]
) -> None:
    space = dataclasses.replace(SPACE, geometry=geometry, normalization=None)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    save_latent(tmp_path / "x", LatentFile(DiagonalGaussian(z, -z), space, size))
    back = load_latent(tmp_path / "x")
    assert (back.space, back.size) == (space, size)
    assert torch.equal(back.posterior.mean, z)


def quantized(*codes: int) -> Quantized:
    vectors = mean()
    return Quantized(vectors + 0.1, torch.arange(12).expand(1, *codes, 12).unflatten(-1, (3, 4)), vectors)


@pytest.mark.parametrize("posterior", [quantized(), quantized(3), Choices(mean())])
def test_codes_come_back_beside_what_they_stand_for(tmp_path: Path, posterior: Quantized | Choices) -> None:
    save_latent(tmp_path / "x", LatentFile(posterior, SPACE, (20, 31)))
    back = load_latent(tmp_path / "x").posterior
    assert isinstance(back, Quantized)
    assert torch.equal(back.codes, posterior.codes)
    assert torch.equal(back.mode, posterior.mode)


def test_vectors_without_codes_are_read(tmp_path: Path) -> None:
    """As version 1 kept them."""
    save_file({"mean": mean()}, tmp_path / "x", METADATA)
    assert isinstance(load_latent(tmp_path / "x").posterior, Point)


@pytest.mark.parametrize(
    "codes",
    [
        torch.full((1, 3, 4), -1),
        torch.zeros(1, 3, 4),
        torch.zeros(1, 4, 3, dtype=torch.int32),
        torch.zeros(3, 4, dtype=torch.int32),
        torch.zeros(1, 0, 3, 4, dtype=torch.int32),
        torch.zeros(2, 3, 4, dtype=torch.int32),
        torch.zeros((), dtype=torch.int32),
    ],
)
def test_values_that_are_no_codes(tmp_path: Path, codes: Tensor) -> None:
    save_file({"mean": mean(), "codes": codes}, tmp_path / "x", METADATA)
    with pytest.raises(BadLatent):
        load_latent(tmp_path / "x")


@pytest.mark.parametrize("normalization", [SCALAR, None])
def test_files_of_version_1_are_read(tmp_path: Path, normalization: LatentNormalization | None) -> None:
    """They call the normalization "vaekit.frame"."""
    text = "null" if normalization is None else '{"shift": [0.0], "scale": [0.18215], "patch": 1}'
    save_file({"mean": mean()}, tmp_path / "x", METADATA_1 | {"vaekit.frame": text})
    assert load_latent(tmp_path / "x").space == dataclasses.replace(SPACE, normalization=normalization)


def test_the_space_of_a_vae(kl_vae: VAE, tiny_vae: VAE) -> None:
    space = origin_of(kl_vae)
    assert (space.family, space.geometry, space.normalization) == ("kl", Geometry(3, 4, (2, 2)), kl_vae.normalization)
    assert space.fingerprint != origin_of(tiny_vae).fingerprint
    assert space.fingerprint[:10] in str(space)


OTHER = dataclasses.replace(SPACE, fingerprint="b" * 64)
PER_CHANNEL = LatentNormalization((0.0,) * 4, (1.0, 2.0, 3.0, 4.0))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"geometry": Geometry(3, 16, (8, 8))}, ["channels", "4", "16"]),
        ({"geometry": Geometry(3, 4, (16, 16))}, ["factor", "8", "16"]),
        ({"normalization": LatentNormalization((0.0,), (0.13025,))}, ["0.18215", "0.13025"]),
        ({"normalization": LatentNormalization((0.1,), (0.18215,))}, ["0.1"]),
        ({"normalization": PER_CHANNEL}, ["4"]),
        ({"geometry": Geometry(3, 16, (16, 16))}, ["channels", "4", "16", "factor", "8"]),
    ],
)
def test_a_mismatch_tells_both_sides(change: dict[str, object], facts: list[str]) -> None:
    with refuses(LatentMismatch, *facts) as caught:
        check_readable(Path("x.safetensors"), SPACE, dataclasses.replace(OTHER, **change))
    assert all(part in str(caught.value) for part in ("aaaaaaaaaa", "bbbbbbbbbb", "x.safetensors"))


def test_a_mismatch_names_whose_latents_both_are() -> None:
    """FLUX.1's latents and SD1's VAE; the normalization tells SDXL from SD1 and FLUX.1 from SD3."""
    flux = dataclasses.replace(
        OTHER, geometry=Geometry(3, 16, (8, 8)), normalization=LatentNormalization((0.1159,), (0.3611,))
    )
    with refuses(LatentMismatch, "kl", "FLUX.1", "SD1 / SD2") as caught:
        check_readable(Path("x.safetensors"), flux, SPACE)
    assert "FLUX.1" in caught.value.remedy
    for stranger in ("SD3", "SDXL"):
        assert stranger not in str(caught.value)


def test_two_normalizations_of_as_many_channels_are_not_the_same() -> None:
    theirs = dataclasses.replace(SPACE, normalization=PER_CHANNEL)
    ours = dataclasses.replace(OTHER, normalization=dataclasses.replace(PER_CHANNEL, scale=(1.0, 2.0, 3.0, 5.0)))
    with refuses(LatentMismatch, "aaaaaaaaaa", "bbbbbbbbbb"):
        check_readable(Path("x"), theirs, ours)


def test_normalizations_that_differ_by_rounding_are_the_same() -> None:
    rounded = LatentNormalization((0.0,), (1 / (1 / 0.18215) + 1e-15,))
    assert check_readable(Path("x"), SPACE, dataclasses.replace(OTHER, normalization=rounded)) is None


@pytest.fixture(params=["exact first", "bf16 first"])
def exact_and_bf16(flux2_vae: VAE, tmp_path: Path, request: pytest.FixtureRequest) -> list[VAE]:
    """One VAE as its file says it, and loaded from a copy whose weights and batch-norm statistics are in bf16."""
    save(flux2_vae, tmp_path / "exact.safetensors")
    half = {name: tensor.bfloat16() for name, tensor in load_file(tmp_path / "exact.safetensors").items()}
    save_file(half, tmp_path / "half.safetensors")  # without vaekit's metadata, which holds every digit
    vaes = [load(tmp_path / "exact.safetensors"), load(tmp_path / "half.safetensors")]
    assert vaes[0].normalization != vaes[1].normalization is not None
    return vaes if request.param == "exact first" else vaes[::-1]


def test_statistics_in_bf16_are_those_of_the_same_space(exact_and_bf16: list[VAE], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    encoder, decoder = exact_and_bf16
    save_latent(path, LatentFile(Point(mean()), origin_of(encoder), (6, 8)))
    made_by, given = load_latent(path).space, origin_of(decoder)
    assert made_by.fingerprint != given.fingerprint
    assert check_readable(path, made_by, given) is None


def test_one_value_for_all_channels_equals_one_for_each() -> None:
    spread = dataclasses.replace(OTHER, normalization=LatentNormalization((0.0,) * 4, (0.18215,) * 4))
    assert check_readable(Path("x"), SPACE, spread) is None
    assert check_readable(Path("x"), spread, SPACE) is None
    assert spread.owners == SPACE.owners == "SD1 / SD2"


def test_other_weights_in_the_same_space_may_read() -> None:
    assert check_readable(Path("x"), SPACE, OTHER) is None


def test_the_same_weights_may_always_read() -> None:
    for normalization in (None, PER_CHANNEL):
        assert check_readable(Path("x"), SPACE, dataclasses.replace(SPACE, normalization=normalization)) is None


@pytest.mark.parametrize("normalizations", [(None, SCALAR), (SCALAR, None), (None, None)])
def test_unknown_normalizations_give_a_caution(
    normalizations: tuple[LatentNormalization | None, LatentNormalization | None],
) -> None:
    made_by, given = (
        dataclasses.replace(s, normalization=f) for s, f in zip((SPACE, OTHER), normalizations, strict=True)
    )
    caution = check_readable(Path("x"), made_by, given)
    assert caution


@pytest.mark.parametrize(
    "change",
    [
        {"vaekit.latent": "3"},
        {"vaekit.latent": ""},
        {"vaekit.geometry": "8"},
        {"vaekit.geometry": "{}"},
        {"vaekit.geometry": "[" * 100_000},
        {"vaekit.geometry": '{"channels": 3, "latent_channels": 5, "factors": [8, 8]}'},
        {"vaekit.geometry": '{"channels": 3, "latent_channels": 4, "factors": [8]}'},
        {"vaekit.geometry": '{"channels": 3, "latent_channels": 4, "factors": [8, -8]}'},
        {"vaekit.geometry": "\x1b[2J" * 1000},
        {"vaekit.size": "20"},
        {"vaekit.size": "[20, 31, 1]"},
        {"vaekit.size": "20, 31"},
        {"vaekit.size": "[20]"},
        {"vaekit.size": "[0, 31]"},
        {"vaekit.size": "[25, 31]"},
        {"vaekit.size": "[20, 33]"},
        {"vaekit.size": "[-20, -31]"},
        {"vaekit.size": "[1e999, 31]"},
        {"vaekit.size": "[20.5, 31]"},
        {"vaekit.size": '["20", "31"]'},
        {"vaekit.size": "[" * 100_000},
        {"vaekit.fingerprint": "../../etc/passwd"},
        {"vaekit.fingerprint": "\x1b[2J"},
    ],
)
def test_lying_metadata(tmp_path: Path, change: dict[str, str]) -> None:
    save_file({"mean": mean()}, tmp_path / "x", METADATA)
    assert load_latent(tmp_path / "x").size == (20, 31)
    save_file({"mean": mean()}, tmp_path / "x", METADATA | change)
    with pytest.raises(BadLatent) as caught:
        load_latent(tmp_path / "x")
    assert caught.value.remedy
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("factor", ["eight", "0", "-8", "9" * 5000])
def test_lying_metadata_of_version_1(tmp_path: Path, factor: str) -> None:
    save_file({"mean": mean()}, tmp_path / "x", METADATA_1 | {"vaekit.factor": factor})
    with pytest.raises(BadLatent):
        load_latent(tmp_path / "x")


@pytest.mark.parametrize("absent", [key for key in METADATA if key != "vaekit.normalization"])
def test_missing_metadata(tmp_path: Path, absent: str) -> None:
    save_file({"mean": mean()}, tmp_path / "x", {key: value for key, value in METADATA.items() if key != absent})
    with pytest.raises(BadLatent):
        load_latent(tmp_path / "x")


@pytest.mark.parametrize(
    "tensors",
    [
        {"mean": torch.full((1, 4, 3, 4), float("nan"))},
        {"mean": torch.full((1, 4, 3, 4), float("inf"))},
        {"mean": torch.zeros(1, 4, 3, 4), "log_variance": torch.full((1, 4, 3, 4), float("nan"))},
        {"mean": torch.zeros(1, 4, 3, 4), "log_variance": torch.zeros(1, 4, 3, 5)},
        {"mean": torch.zeros(1, 4, 3, 4), "log_variance": torch.zeros(1, 4, 3, 4, dtype=torch.int64)},
        {"mean": torch.zeros(1, 4, 3, 4, dtype=torch.uint8)},
        {"mean": torch.zeros(2, 4, 3, 4)},
        {"mean": torch.zeros(4, 3, 4)},
        {"mean": torch.zeros(1, 4, 3, 4, 1)},
        {"mean": torch.zeros(())},
        {"mean": torch.zeros(0, 4, 3, 4)},
        {"mean": torch.zeros(1, 4, 0, 4)},
        {"mean": torch.zeros(1, 2**40, 0, 4)},
        {"latent_tensor": torch.zeros(1, 4, 3, 4)},
    ],
)
def test_numbers_that_are_no_latents(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "x", METADATA)
    with pytest.raises(BadLatent):
        load_latent(tmp_path / "x")


def test_other_files_are_no_latents(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "weights.safetensors")
    torch.save({"mean": mean()}, tmp_path / "pickle.pt")
    (tmp_path / "text.safetensors").write_text(json.dumps(METADATA))
    (tmp_path / "empty.safetensors").touch()
    for name in ("weights.safetensors", "pickle.pt", "text.safetensors", "empty.safetensors", "."):
        with pytest.raises(BadLatent):
            load_latent(tmp_path / name)
    with pytest.raises(NotFound):
        load_latent(tmp_path / "absent.safetensors")


def test_a_normalization_that_does_not_fit_is_unknown(tmp_path: Path) -> None:
    for normalization in (
        '{"shift": [0], "scale": [1, 2], "patch": 1}',
        "x",
        '{"shift": [0], "scale": [0], "patch": 1}',
    ):
        save_file({"mean": mean()}, tmp_path / "x", METADATA | {"vaekit.normalization": normalization})
        assert load_latent(tmp_path / "x").space.normalization is None


def test_rows_share_a_file(tmp_path: Path) -> None:
    posterior = DiagonalGaussian(torch.randn(5, 2), torch.randn(5, 2))
    space = LatentOrigin("0" * 64, "parts", Geometry(7, 2), None)
    save_latent(tmp_path / "rows", LatentFile(posterior, space, ()))
    latent = load_latent(tmp_path / "rows")
    assert isinstance(latent.posterior, DiagonalGaussian) and latent.size == () and latent.space == space
    assert torch.equal(latent.posterior.mean, posterior.mean)
    assert torch.equal(latent.posterior.log_variance, posterior.log_variance)


def test_latents_of_other_image_channels_have_other_owners() -> None:
    owners = [dataclasses.replace(SPACE, geometry=Geometry(channels, 4, (8, 8))).owners for channels in (1, 3, 4)]
    assert ["SD1" in names for names in owners] == [False, True, False]


@pytest.mark.parametrize("name", ["image.png", "model.onnx"])
def test_the_advice_for_other_files_is_about_latents(tmp_path: Path, name: str) -> None:
    content = b"\x89PNG\r\n\x1a\n" + bytes(50) if name == "image.png" else b"\x08\x08\x12\x07pytorch" + bytes(50)
    (tmp_path / name).write_bytes(content)
    with refuses(BadLatent, "PNG" if name == "image.png" else "ONNX") as refused:
        load_latent(tmp_path / name)
    assert "vaekit encode" in refused.value.remedy
    assert "weights" not in refused.value.remedy

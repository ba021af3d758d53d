"""The normalization of a file: in batch-norm statistics (FLUX.2), in two tensors of a whole checkpoint (Playground
2.5), in metadata, in a config.json, or implied by shapes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from published_configs import PUBLISHED
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.catalog.entries import latent_space_named, latent_spaces
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import WrongTensors
from vaekit.families import Config, family_of, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.families.normalization import COUNT, MEAN, VARIANCE, normalization_of_settings
from vaekit.identification.identify import identify
from vaekit.identification.metadata import normalization_text
from vaekit.identification.normalization import find_normalization
from vaekit.library.inspect import inspect
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE, normalize

PLACES = {"native": "x.safetensors", "ldm": "x.safetensors", "diffusers": "folder"}


def theirs(statistics: bool = True) -> diffusers.AutoencoderKLFlux2:
    """diffusers' class, small, with a narrower decoder and random statistics, its images near unit size."""
    torch.manual_seed(0)
    model = diffusers.AutoencoderKLFlux2(
        block_out_channels=(32, 64, 64),
        decoder_block_out_channels=(32, 32, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=8,
    ).eval()
    if statistics:
        model.bn.running_mean.normal_()
        model.bn.running_var.uniform_(0.01, 4)
        model.bn.num_batches_tracked.fill_(1234)
    return model


def packed(z: Tensor) -> Tensor:
    """Flux2Pipeline's 2x2 rearrangement: four channels out of each one, rows before columns."""
    b, c, rows, columns = z.shape
    windows = z.view(b, c, rows // 2, 2, columns // 2, 2)
    return windows.permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, rows // 2, columns // 2)


def unpacked(z: Tensor) -> Tensor:
    b, c, rows, columns = z.shape
    return z.view(b, c // 4, 2, 2, rows, columns).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * rows, 2 * columns)


@torch.no_grad()
def test_agrees_with_diffusers_and_its_pipeline(tmp_path: Path) -> None:
    model = theirs()
    model.save_pretrained(tmp_path)
    vae = load(tmp_path)
    assert identify(tmp_path).normalization_source == "the file's batch-norm statistics"
    x = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean = model.encode(x).latent_dist.mode()
    torch.testing.assert_close(vae.encode(x).mean, mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(vae.decode(mean), model.decode(mean).sample, atol=1e-5, rtol=0)
    # What Flux2Pipeline does after encoding an image and before decoding one.
    bn_mean = model.bn.running_mean.view(1, -1, 1, 1)
    bn_std = torch.sqrt(model.bn.running_var.view(1, -1, 1, 1) + model.config.batch_norm_eps)
    latents = (packed(mean) - bn_mean) / bn_std
    raw = unpacked(latents * bn_std + bn_mean)
    assert vae.normalization is not None
    torch.testing.assert_close(vae.normalize(mean), latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vae.denormalize(latents), raw, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", PLACES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_normalization_survives_every_layout(
    flux2_vae: VAE, tmp_path: Path, layout: str, dtype: torch.dtype
) -> None:
    save(flux2_vae.to(dtype), tmp_path / PLACES[layout], layout)
    again = load(tmp_path / PLACES[layout])
    assert again.normalization == flux2_vae.normalization
    assert all(torch.equal(again.state_dict()[key], tensor) for key, tensor in flux2_vae.state_dict().items())
    seen = inspect(tmp_path / PLACES[layout])
    assert (seen.layout, seen.dtypes) == (layout, (str(dtype).removeprefix("torch."),))
    assert not any("other tensors" in problem for problem in seen.problems)


@pytest.mark.parametrize("layout", PLACES)
def test_the_statistics_are_written_to_the_last_bit(tmp_path: Path, layout: str) -> None:
    model = theirs()
    model.save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path / "a" / PLACES[layout], layout)
    save(load(tmp_path / "a" / PLACES[layout]), tmp_path / "b", "diffusers")
    again = diffusers.AutoencoderKLFlux2.from_pretrained(tmp_path / "b")
    written = again.state_dict()
    assert written.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(written[name], torch.zeros_like(tensor) if name == COUNT else tensor), name
    assert again.config.decoder_block_out_channels == [32, 32, 96]


def altered(vae: VAE, path: Path, change: Callable[[dict[str, Tensor]], object], prefix: str = "") -> Path:
    """A file in BFL's own names, without vaekit's metadata, after a change to its tensors."""
    save(vae, path)
    tensors = load_file(path)
    change(tensors)
    save_file({prefix + name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def test_a_bare_file_tells_its_normalization_behind_any_prefix(flux2_vae: VAE, tmp_path: Path) -> None:
    path = altered(flux2_vae, tmp_path / "x.safetensors", lambda tensors: tensors.pop(COUNT), "vae.")
    assert load(path).normalization == flux2_vae.normalization
    assert "encoder.quant_conv.weight" in load(path).state_dict()


def test_without_statistics_the_normalization_is_unknown(flux2_vae: VAE, tmp_path: Path) -> None:
    path = altered(
        flux2_vae, tmp_path / "x.safetensors", lambda tensors: [tensors.pop(key) for key in (MEAN, VARIANCE, COUNT)]
    )
    assert load(path).normalization is None


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda tensors: tensors.pop(MEAN), ["bn.running_mean"]),
        (lambda tensors: tensors.pop(VARIANCE), ["bn.running_var"]),
        (lambda tensors: tensors.update({MEAN: torch.zeros(15)}), ["bn.running_mean [15]"]),
        (lambda tensors: tensors.update({VARIANCE: torch.ones(16, dtype=torch.int32)}), ["int32"]),
        (lambda tensors: tensors.update({COUNT: torch.ones(2)}), []),
        (lambda tensors: tensors[VARIANCE].fill_(-1), []),
        (lambda tensors: tensors[MEAN].fill_(torch.nan), []),
        (lambda tensors: tensors[VARIANCE].fill_(torch.inf), []),
    ],
)
def test_statistics_that_tell_no_normalization_are_refused(
    flux2_vae: VAE, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], facts: list[str]
) -> None:
    path = altered(flux2_vae, tmp_path / "x.safetensors", change)
    with refuses(WrongTensors, *facts):
        identify(path)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("bare", [False, True])
def test_half_a_file_tells_the_normalization(flux2_vae: VAE, tmp_path: Path, half: str, bare: bool) -> None:
    setattr(flux2_vae, "decoder" if half == "encoder" else "encoder", None)
    save(flux2_vae, tmp_path / "x.safetensors")
    if bare:
        tensors = load_file(tmp_path / "x.safetensors")
        save_file(
            {name.removeprefix(f"{half}."): tensor for name, tensor in tensors.items()}, tmp_path / "x.safetensors"
        )
    loaded = load(tmp_path / "x.safetensors")
    assert loaded.normalization == flux2_vae.normalization
    assert loaded.state_dict().keys() == flux2_vae.state_dict().keys()


def test_two_halves_with_different_statistics_are_refused(flux2_vae: VAE, tmp_path: Path) -> None:
    encoder, decoder = flux2_vae.encoder, flux2_vae.decoder
    for half, factor in (("encoder", 1.0), ("decoder", 2.0)):
        flux2_vae.encoder = encoder if half == "encoder" else None
        flux2_vae.decoder = decoder if half == "decoder" else None
        altered(
            flux2_vae,
            tmp_path / f"{half}.safetensors",
            lambda tensors, factor=factor: tensors[MEAN].mul_(factor),
        )
    with refuses(WrongTensors, "encoder", "decoder"):
        identify(tmp_path)


def test_a_half_in_bf16_has_the_same_statistics(flux2_vae: VAE, tmp_path: Path) -> None:
    """Those of the wider dtype count."""
    encoder, decoder = flux2_vae.encoder, flux2_vae.decoder
    for half, dtype in (("encoder", torch.bfloat16), ("decoder", torch.float32)):
        flux2_vae.encoder = encoder if half == "encoder" else None
        flux2_vae.decoder = decoder if half == "decoder" else None
        altered(
            flux2_vae,
            tmp_path / f"{half}.safetensors",
            lambda tensors, dtype=dtype: tensors.update({key: tensors[key].to(dtype) for key in (MEAN, VARIANCE)}),
        )
    assert identify(tmp_path).normalization == flux2_vae.normalization


def test_statistics_of_an_absurd_size_are_never_read(flux2_vae: VAE, tmp_path: Path) -> None:
    path = altered(flux2_vae, tmp_path / "x.safetensors", lambda tensors: tensors.update({MEAN: torch.zeros(100_000)}))
    with refuses(WrongTensors, "100000"):
        identify(path)


# ------------------------------------------------------------ Playground 2.5

EDM_MEAN = torch.tensor([-1.6574, 1.886, -1.383, 2.5155]).view(1, 4, 1, 1)
EDM_STD = torch.tensor([8.4927, 5.9022, 6.5498, 5.2299]).view(1, 4, 1, 1)


def checkpoint(vae: VAE, folder: Path, beside: dict[str, Tensor], prefix: str = "first_stage_model.") -> Path:
    """A whole checkpoint: the VAE behind its prefix, a denoiser, and tensors beside them."""
    save(vae, folder / "vae.safetensors", "ldm")
    weights = {prefix + key: tensor for key, tensor in load_file(folder / "vae.safetensors").items()}
    other = {"model.diffusion_model.out.weight": torch.zeros(1)} if prefix else {}
    save_file(weights | other | beside, folder / "checkpoint.safetensors")
    return folder / "checkpoint.safetensors"


def normalization_in(path: Path) -> LatentNormalization:
    seen = identify(path)
    assert seen.normalization_source == "the file's edm_mean and edm_std"
    assert seen.normalization is not None
    return seen.normalization


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("prefix", ["first_stage_model.", ""])
def test_a_checkpoint_tells_it_in_two_tensors(kl_vae: VAE, tmp_path: Path, dtype: torch.dtype, prefix: str) -> None:
    path = checkpoint(kl_vae, tmp_path, {"edm_mean": EDM_MEAN.to(dtype), "edm_std": EDM_STD.to(dtype)}, prefix)
    z = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = (z - EDM_MEAN.to(dtype).float()) * 0.5 / EDM_STD.to(dtype).float()
    torch.testing.assert_close(normalize(z, normalization_in(path)), expected)
    assert load(path).normalization == normalization_in(path)


def test_the_kind_is_known_by_its_normalization_even_in_half_precision() -> None:
    stated = LatentNormalization(
        tuple(EDM_MEAN.half().flatten().tolist()), tuple((0.5 / EDM_STD.half().double()).flatten().tolist())
    )
    found, normalization, _ = find_normalization(family_of("kl"), SD1, {}, {}, [(stated, "its tensors")])
    assert ([kind.name for kind in found], normalization) == (["Playground 2.5"], stated)


def test_its_config_json_tells_the_same_normalization() -> None:
    settings = {
        "latents_mean": EDM_MEAN.double().flatten().tolist(),
        "latents_std": EDM_STD.double().flatten().tolist(),
        "scaling_factor": 0.5,
    }
    found, _, source = find_normalization(family_of("kl"), SD1, {}, settings)
    assert ([kind.name for kind in found], source) == (["Playground 2.5"], "config.json")
    (playground,) = (kind for kind in latent_spaces() if kind.name == "Playground 2.5")
    exact = {"latents_mean": [-1.6574, 1.886, -1.383, 2.5155], "latents_std": [8.4927, 5.9022, 6.5498, 5.2299]}
    assert normalization_of_settings(exact | {"scaling_factor": 0.5}) == playground.normalization


@pytest.mark.parametrize(
    "beside",
    [
        {"edm_mean": EDM_MEAN},
        {"edm_std": EDM_STD},
        {"edm_mean": EDM_MEAN, "edm_std": EDM_STD[:, :3]},
        {"edm_mean": EDM_MEAN, "edm_std": torch.zeros(1, 4, 1, 1)},
        {"edm_mean": EDM_MEAN, "edm_std": -EDM_STD},
        {"edm_mean": EDM_MEAN * torch.inf, "edm_std": EDM_STD},
        {"edm_mean": EDM_MEAN.int(), "edm_std": EDM_STD},
    ],
)
def test_what_cannot_be_used_is_refused(kl_vae: VAE, tmp_path: Path, beside: dict[str, Tensor]) -> None:
    with pytest.raises(WrongTensors):
        identify(checkpoint(kl_vae, tmp_path, beside))


# ------------------------------------------------------------ metadata, a config.json, or shapes

SD = (128, 256, 512, 512)


def sd_shaped(channels: int, quant: bool, widths: tuple[int, ...] = SD, blocks: int = 2, mid: bool = True) -> KLConfig:
    return KLConfig(3, channels, channels, widths, widths, blocks, blocks + 1, (), (), mid, quant, quant, 32)


SD1, FLUX = sd_shaped(4, True), sd_shaped(16, False)
COGVIEW = sd_shaped(16, False, (128, 512, 1024, 1024), 3, False)
VA_VAE = sd_shaped(32, True, (128, 128, 256, 256, 512))
UPSCALER = sd_shaped(4, True, (128, 256, 512))


def normalization_from(
    config: Config, metadata: dict[str, str] | None = None, settings: dict[str, Any] | None = None
) -> tuple[list[str], LatentNormalization | None, str]:
    family = family_with(config)
    assert family is not None
    found, normalization, source = find_normalization(family, config, metadata or {}, settings or {})
    return [kind.name for kind in found], normalization, source


@pytest.mark.parametrize(
    ("config", "twins"),
    [(SD1, ["SD1 / SD2", "SDXL", "Playground 2.5"]), (FLUX, ["SD3 / SD3.5", "FLUX.1"])],
    ids=["SD", "FLUX"],
)
def test_shapes_that_two_models_share_leave_the_normalization_unknown(config: Config, twins: list[str]) -> None:
    names, normalization, source = normalization_from(config)
    assert (names, normalization) == (twins, None)
    assert all(name in source for name in twins)


def test_shapes_of_one_model_tell_the_normalization() -> None:
    names, normalization, source = normalization_from(UPSCALER)
    assert (names, normalization) == (["SD x4 upscaler"], LatentNormalization((0.0,), (0.08333,)))
    assert source == "the shapes, which only this latent space has"


def test_glm_image_and_cogview_are_told_apart_by_config_json_only() -> None:
    names, normalization, source = normalization_from(COGVIEW)
    assert (names, normalization) == (["CogView3+ / CogView4", "GLM-Image"], None)
    assert "CogView4 or GLM-Image" in source
    own = latent_space_named("GLM-Image")
    assert own is not None
    assert own.normalization is not None
    shift, scale = own.normalization.per_channel(16)
    theirs = {"latents_mean": list(shift), "latents_std": [1 / value for value in scale], "scaling_factor": 1.0}
    assert normalization_from(COGVIEW, settings=theirs) == (["GLM-Image"], own.normalization, "config.json")
    assert normalization_from(COGVIEW, settings={"scaling_factor": 1.0})[0] == ["CogView3+ / CogView4"]


@pytest.mark.parametrize(
    ("config", "fine_tuned"),
    [
        (SD1, ["REPA-E e2e-sdvae", "EQ-VAE", "eq-sdxl-vae", "eqb7"]),
        (FLUX, ["REPA-E e2e-sd3.5-vae", "REPA-E e2e-flux-vae"]),
        (VA_VAE, ["REPA-E e2e-vavae", "REPA-E e2e-invae"]),
    ],
    ids=["SD", "FLUX", "VA"],
)
def test_fine_tuned_vaes_are_among_those_that_shapes_do_not_tell_apart(config: Config, fine_tuned: list[str]) -> None:
    _, normalization, source = normalization_from(config)
    assert normalization is None and all(name in source for name in fine_tuned)


def test_a_fine_tuned_vae_is_named_where_the_shapes_of_published_models_decide() -> None:
    names, normalization, source = normalization_from(PUBLISHED["Wan 2.1 and Qwen-Image"])
    assert names == ["Wan 2.1", "Qwen-Image"] and normalization is not None
    assert source == "the shapes, which REPA-E e2e-qwenimage-vae has too, with other latents"


def test_the_file_tells_the_normalization_and_which_twin_it_is() -> None:
    stated = LatentNormalization((0.1159,), (0.3611,))
    assert normalization_from(FLUX, {"vaekit.normalization": normalization_text(stated)}) == (
        ["FLUX.1"],
        stated,
        "the file's metadata",
    )
    settings = {"scaling_factor": 0.3611, "shift_factor": 0.1159}
    assert normalization_from(FLUX, settings=settings) == (["FLUX.1"], stated, "config.json")
    assert normalization_from(SD1, settings={"scaling_factor": 0.13025})[0] == ["SDXL"]


def test_metadata_of_version_1_is_read() -> None:
    """It calls the normalization "vaekit.frame"."""
    stated = LatentNormalization((0.1159,), (0.3611,))
    assert normalization_from(FLUX, {"vaekit.frame": normalization_text(stated)})[1:] == (stated, "the file's metadata")
    assert normalization_from(COGVIEW, {"vaekit.frame": "null"})[1:] == (None, "the file states that it is")


def test_mean_and_deviation_per_channel() -> None:
    settings = {"scaling_factor": 0.5, "latents_mean": [1, 2, 3, 4], "latents_std": [1, 2, 4, 8]}
    assert normalization_from(SD1, settings=settings)[1] == LatentNormalization(
        (1.0, 2.0, 3.0, 4.0), (0.5, 0.25, 0.125, 0.0625)
    )


def test_what_the_file_calls_unknown_stays_unknown() -> None:
    assert normalization_from(COGVIEW, {"vaekit.normalization": "null"})[1:] == (None, "the file states that it is")
    assert normalization_from(COGVIEW, settings={"scaling_factor": None})[1:] == (None, "the file states that it is")


@pytest.mark.parametrize(
    "entry",
    [
        *("", "5", "[]", '"x"', "{}", "nul", "[" * 100_000),
        '{"shift": [0], "scale": [0], "patch": 1}',
        '{"shift": [0], "scale": [1e999], "patch": 1}',
        '{"shift": [NaN], "scale": [1], "patch": 1}',
        '{"shift": "0", "scale": "1", "patch": 1}',
        '{"shift": [], "scale": [], "patch": 1}',
        '{"shift": [0, 0, 0], "scale": [1], "patch": 1}',
        '{"shift": [0], "scale": [true], "patch": 1}',
        '{"shift": [0], "scale": [1], "patch": 0}',
        '{"shift": [0], "scale": [1], "patch": 1e999}',
        '{"shift": [0], "scale": [1], "patch": 99999999}',
    ],
)
def test_a_normalization_that_makes_no_sense_is_not_believed(entry: str) -> None:
    assert normalization_from(SD1, {"vaekit.normalization": entry})[1] is None


@pytest.mark.parametrize(
    "settings",
    [
        {"scaling_factor": "0.18215"},
        {"scaling_factor": True},
        {"scaling_factor": 0},
        {"scaling_factor": float("nan")},
        {"scaling_factor": 10**400},
        {"scaling_factor": 1, "shift_factor": "x"},
        {"scaling_factor": 1, "latents_mean": [0] * 4, "latents_std": [1, 1, 1, 0]},
        {"scaling_factor": 1, "latents_mean": ["a"] * 4, "latents_std": [1] * 4},
        {"scaling_factor": 1, "latents_mean": [0] * 7, "latents_std": [1] * 7},
        {"scaling_factor": None, "latents_mean": [0] * 4, "latents_std": [1] * 4},
        {"scaling_factor": [1]},
    ],
)
def test_a_config_that_makes_no_sense_is_not_believed(settings: dict[str, Any]) -> None:
    assert normalization_from(SD1, settings=settings)[1] is None

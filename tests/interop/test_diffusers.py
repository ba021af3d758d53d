"""A vaekit VAE in a diffusers pipeline gives what diffusers' own class gives with the same weights."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from refusals import refuses
from torch import Tensor, nn

import vaekit
from vaekit.checkpoints.save import save
from vaekit.errors import BadItem, HalfMissing, LatentMismatch, UnknownNormalization
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.families.normalization import EPSILON, normalization_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.interop.records import Record
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

TOLERANCE = 1e-5
EMBEDDINGS = {"prompt_embeds": torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32)}
"""A prompt of eight tokens, for pipelines without a text encoder."""


def theirs(vae: VAE, folder: Path, name: str = "AutoencoderKL") -> nn.Module:
    """diffusers' own class with the same weights."""
    save(vae, folder, "diffusers")
    return getattr(diffusers, name).from_pretrained(folder).eval()


def to_pil_image(pixels: Tensor) -> Image.Image:
    """Pixels (3, h, w) in [0, 1] -> an image."""
    return Image.fromarray((255 * pixels.movedim(0, -1)).byte().numpy())


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def run(pipeline: Any, vae: Any, **arguments: Any) -> Tensor:
    """The image of a pipeline after its VAE was swapped, (1, 3, h, w) in [0, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae = vae
    with torch.no_grad():
        return pipeline(num_inference_steps=2, generator=seed(), output_type="pt", **arguments).images


def assert_same(pipeline: Any, vae: VAE, own: nn.Module, **arguments: Any) -> Tensor:
    with_ours, with_theirs = (run(pipeline, each, **arguments) for each in (vaekit.as_diffusers(vae), own))
    assert with_ours.std() > 0.001
    assert (with_ours - with_theirs).abs().max() <= TOLERANCE
    return with_ours


def test_stable_diffusion(sd_vae: VAE, sd_parts: dict[str, Any], folder: Path) -> None:
    own = theirs(sd_vae, folder)
    pipeline = diffusers.StableDiffusionPipeline(vae=own, **sd_parts)
    image = assert_same(pipeline, sd_vae, own, prompt="a cat", height=64, width=64)
    assert image.shape == (1, 3, 64, 64)


def test_stable_diffusion_from_a_image(sd_vae: VAE, sd_parts: dict[str, Any], folder: Path, photograph: Tensor) -> None:
    own = theirs(sd_vae, folder)
    pipeline = diffusers.StableDiffusionImg2ImgPipeline(vae=own, **sd_parts)
    assert_same(pipeline, sd_vae, own, prompt="a cat", image=photograph, strength=1.0)


def test_a_batch_with_a_generator_for_each(
    sd_vae: VAE, sd_parts: dict[str, Any], folder: Path, photograph: Tensor
) -> None:
    own = theirs(sd_vae, folder)
    pipeline = diffusers.StableDiffusionImg2ImgPipeline(vae=own, **sd_parts)
    pipeline.set_progress_bar_config(disable=True)
    images = []
    for vae in (own, vaekit.as_diffusers(sd_vae)):
        pipeline.vae = vae
        generators = [torch.Generator().manual_seed(i) for i in range(2)]
        arguments = {"image": photograph.repeat(2, 1, 1, 1), "strength": 1.0, "num_inference_steps": 2}
        with torch.no_grad():
            done = pipeline(prompt=["a", "b"], generator=generators, output_type="pt", **arguments)
        images.append(done.images)
    assert (images[0] - images[1]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("from_a_image", [False, True])
def test_flux(flux_vae: VAE, flux_parts: dict[str, Any], folder: Path, photograph: Tensor, from_a_image: bool) -> None:
    own = theirs(flux_vae, folder)
    pipeline_class = diffusers.FluxImg2ImgPipeline if from_a_image else diffusers.FluxPipeline
    pipeline = pipeline_class(vae=own, **flux_parts)
    told = {"image": photograph, "strength": 1.0} if from_a_image else {}
    prompts = EMBEDDINGS | {"pooled_prompt_embeds": torch.linspace(-1, 1, 32)[None]}
    assert_same(pipeline, flux_vae, own, height=64, width=64, **prompts, **told)


@pytest.mark.parametrize("from_a_image", [False, True])
def test_sd3(flux_vae: VAE, sd3_parts: dict[str, Any], folder: Path, photograph: Tensor, from_a_image: bool) -> None:
    flux_vae.normalization = LatentNormalization((0.0609,), (1.5305,))
    own = theirs(flux_vae, folder)
    pipeline_class = diffusers.StableDiffusion3Img2ImgPipeline if from_a_image else diffusers.StableDiffusion3Pipeline
    pipeline = pipeline_class(vae=own, **sd3_parts)
    told = {"image": photograph, "strength": 1.0} if from_a_image else {}
    prompts = EMBEDDINGS | {"pooled_prompt_embeds": torch.linspace(-1, 1, 64)[None]}
    assert_same(pipeline, flux_vae, own, height=64, width=64, guidance_scale=1.0, **prompts, **told)


@pytest.mark.parametrize("from_a_image", [False, True])
def test_flux2(kl_32: VAE, flux2_parts: dict[str, Any], folder: Path, photograph: Tensor, from_a_image: bool) -> None:
    """Its pipeline takes the normalization from `vae.bn`, encoding and decoding."""
    own = theirs(kl_32, folder, "AutoencoderKLFlux2")
    pipeline = diffusers.Flux2Pipeline(vae=own, **flux2_parts)
    told = {"image": to_pil_image(photograph[0])} if from_a_image else {}
    assert_same(pipeline, kl_32, own, height=64, width=64, **EMBEDDINGS, **told)


@pytest.mark.parametrize("per_channel", [False, True])
def test_sdxl(sd_vae: VAE, sdxl_parts: dict[str, Any], folder: Path, per_channel: bool) -> None:
    """With one scale, and with a mean and deviation for each channel, as Playground 2.5 has them."""
    if per_channel:
        sd_vae.normalization = LatentNormalization((-1.6574, 1.886, -1.383, 2.5155), (0.06, 0.08, 0.076, 0.095))
    own = theirs(sd_vae, folder)
    pipeline = diffusers.StableDiffusionXLPipeline(vae=own, **sdxl_parts)
    prompts = EMBEDDINGS | {"pooled_prompt_embeds": torch.linspace(-1, 1, 32)[None]}
    assert_same(pipeline, sd_vae, own, height=64, width=64, guidance_scale=1.0, **prompts)


def test_a_tiny_vae_in_a_pipeline(sd_parts: dict[str, Any], folder: Path, photograph: Tensor) -> None:
    """TAESD is in model space: scale 1, so that the pipeline hands over what the UNet made."""
    vae = tiny_vae(4)
    own = theirs(vae, folder, "AutoencoderTiny")
    for name, told in (
        ("StableDiffusionPipeline", {"height": 64, "width": 64}),
        ("StableDiffusionImg2ImgPipeline", {}),
    ):
        if not told:
            told = {"image": photograph, "strength": 1.0}
        pipeline = getattr(diffusers, name)(vae=own, **sd_parts)
        assert_same(pipeline, vae, own, prompt="a cat", **told)


def test_a_tiny_vae_in_sd3(sd3_parts: dict[str, Any], folder: Path) -> None:
    vae = tiny_vae(16)
    own = theirs(vae, folder, "AutoencoderTiny")
    pipeline = diffusers.StableDiffusion3Pipeline(vae=own, **sd3_parts)
    prompts = EMBEDDINGS | {"pooled_prompt_embeds": torch.linspace(-1, 1, 64)[None]}
    assert_same(pipeline, vae, own, height=64, width=64, guidance_scale=1.0, **prompts)


def tiny_vae(channels: int) -> VAE:
    torch.manual_seed(0)
    config = TinyConfig(3, channels, (), (64,) * 4, (64,) * 4, (1, 1, 1, 1), (1, 1, 1, 1), False)
    return assemble(family_of("tiny"), config, normalization=LatentNormalization()).eval()


def test_another_vae_than_the_pipelines_own_is_refused_by_name(
    flux_vae: VAE, sd_parts: dict[str, Any], sd_vae: VAE, tmp_path: Path
) -> None:
    save(flux_vae, tmp_path / "flux.safetensors")
    other = vaekit.as_diffusers(vaekit.load(tmp_path / "flux.safetensors"))
    pipeline = diffusers.StableDiffusionPipeline(vae=vaekit.as_diffusers(sd_vae), **sd_parts)
    with refuses(LatentMismatch, "4", "SD1 / SD2", "kl", "16"):
        run(pipeline, other, prompt="a cat", height=64, width=64)


# What pipelines and people ask of `vae`, one thing at a time.


def encode_both(vae: VAE, folder: Path, x: Tensor) -> tuple[Any, Any]:
    return vaekit.as_diffusers(vae).encode(x).latent_dist, theirs(vae, folder).encode(x).latent_dist


@torch.no_grad()
def test_the_distribution_is_diffusers_own(sd_vae: VAE, folder: Path) -> None:
    ours, own = encode_both(sd_vae, folder, torch.rand(2, 3, 32, 48) * 2 - 1)
    for name in ("mean", "logvar", "std", "var"):
        torch.testing.assert_close(getattr(ours, name), getattr(own, name), rtol=1e-5, atol=TOLERANCE)
    torch.testing.assert_close(ours.mode(), own.mode(), rtol=1e-5, atol=TOLERANCE)
    torch.testing.assert_close(ours.kl(), own.kl(), rtol=1e-5, atol=1e-3)
    assert torch.equal(ours.sample(seed()) - ours.mean == 0, own.sample(seed()) - own.mean == 0)
    torch.testing.assert_close(ours.sample(seed()), own.sample(seed()), rtol=1e-5, atol=TOLERANCE)
    torch.testing.assert_close(ours.sample([seed(), seed()]), own.sample([seed(), seed()]), rtol=1e-5, atol=TOLERANCE)


@torch.no_grad()
def test_the_call_is_the_round_trip(sd_vae: VAE, folder: Path) -> None:
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    ours, own = vaekit.as_diffusers(sd_vae), theirs(sd_vae, folder)
    for told in ({}, {"sample_posterior": True}):
        first, second = (vae(x, generator=seed(), **told).sample for vae in (ours, own))
        torch.testing.assert_close(first, second, rtol=1e-5, atol=TOLERANCE)


@torch.no_grad()
def test_tuples_and_objects(sd_vae: VAE) -> None:
    vae, x = vaekit.as_diffusers(sd_vae), torch.zeros(1, 3, 16, 16)
    (dist,) = vae.encode(x, return_dict=False)
    told = vae.decode(dist.mode(), generator=seed())
    (sample,) = vae.decode(dist.mode(), return_dict=False)
    assert torch.equal(told.sample, sample)
    assert told[0] is told["sample"] is told.sample
    assert not hasattr(vae.encode(x), "latents")


@torch.no_grad()
def test_a_vector_quantizer_is_diffusers_vqmodel(folder: Path, sd_vae: VAE) -> None:
    torch.manual_seed(0)
    config = VQConfig(**dataclasses.asdict(sd_vae.config), codes=20)
    vae = assemble(family_of("vq"), config, normalization=LatentNormalization()).eval()
    nn.init.normal_(vae.get_parameter("to_posterior.codebook"))
    own, ours = theirs(vae, folder, "VQModel"), vaekit.as_diffusers(vae)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(ours.encode(x).latents, own.encode(x).latents, rtol=1e-5, atol=TOLERANCE)
    z = own.encode(x).latents
    torch.testing.assert_close(ours.decode(z).sample, own.decode(z).sample, rtol=1e-5, atol=TOLERANCE)


def test_the_config_is_read_as_diffusers_reads_it(sd_vae: VAE, folder: Path) -> None:
    ours, own = vaekit.as_diffusers(sd_vae), theirs(sd_vae, folder)
    for name, value in own.config.items():
        if name not in ("_diffusers_version", "_name_or_path", "shift_factor", "sample_size"):
            shown = ours.config.get(name, value)  # what is not told is diffusers' default
            assert list(shown) == list(value) if isinstance(value, list | tuple) else shown == value, name
    assert ours.config.scaling_factor == ours.config["scaling_factor"] == 0.18215
    assert "latents_mean" in ours.config and ours.config.latents_mean is None
    assert ours.config.get("absent", 3) == 3
    assert not hasattr(ours.config, "absent")
    assert ours.config.shift_factor == 0.0
    assert ours.config.force_upcast is True
    assert vaekit.as_diffusers(sd_vae, force_upcast=False).config.force_upcast is False
    assert ours.latent_channels == 4
    with pytest.raises(AttributeError):
        ours.config.scaling_factor = 1.0
    with pytest.raises(AttributeError):
        ours.absent  # noqa: B018
    json.dumps(dict(ours.config))
    assert copy.deepcopy(ours).config == ours.config


def test_a_mean_for_each_channel(sd_vae: VAE) -> None:
    normalization = LatentNormalization((1.0, 2.0, 3.0, 4.0), (0.5, 0.25, 2.0, 4.0))
    config = vaekit.as_diffusers(sd_vae, normalization=normalization).config
    assert (config.latents_mean, config.latents_std, config.scaling_factor) == ([1, 2, 3, 4], [2, 4, 0.5, 0.25], 1.0)


def test_dtype_and_device_follow_the_weights(sd_vae: VAE) -> None:
    vae = vaekit.as_diffusers(sd_vae)
    assert (vae.dtype, vae.device) == (torch.float32, torch.device("cpu"))
    assert vae.to(torch.bfloat16) is vae
    assert (vae.dtype, next(vae.post_quant_conv.parameters()).dtype) == (torch.bfloat16, torch.bfloat16)
    dist = vae.encode(torch.zeros(1, 3, 16, 16)).latent_dist
    assert dist.mean.dtype == dist.sample().dtype == torch.bfloat16
    assert vae.decode(dist.mean).sample.dtype == torch.bfloat16
    assert vae.to(device="meta").device.type == "meta"


def test_a_pipeline_moves_it_and_counts_its_levels(sd_vae: VAE, sd_parts: dict[str, Any]) -> None:
    vae = vaekit.as_diffusers(sd_vae)
    parts = {name: copy.deepcopy(part) if isinstance(part, nn.Module) else part for name, part in sd_parts.items()}
    pipeline = diffusers.StableDiffusionPipeline(vae=vae, **parts)
    assert pipeline.vae_scale_factor == 8
    assert pipeline.components["vae"] is vae
    pipeline.to(torch.bfloat16)
    assert vae.dtype == torch.bfloat16
    processor = VaeImageProcessor(vae_scale_factor=pipeline.vae_scale_factor)
    x = processor.preprocess(torch.rand(1, 3, 70, 70))
    assert processor.postprocess(vae.decode(vae.encode(x).latent_dist.mode()).sample.detach().float())[0].size == (
        64,
        64,
    )


@torch.no_grad()
def test_slicing_changes_nothing(sd_vae: VAE) -> None:
    vae, x = vaekit.as_diffusers(sd_vae), torch.rand(3, 3, 16, 16)
    whole = vae.encode(x).latent_dist.mean
    vae.enable_slicing()
    torch.testing.assert_close(vae.encode(x).latent_dist.mean, whole)
    torch.testing.assert_close(vae.decode(whole).sample, vae.vae.decode(whole))
    vae.disable_slicing()
    assert not vae.use_slicing


@torch.no_grad()
def test_tiling_changes_nothing(sd_vae: VAE, sd_parts: dict[str, Any], folder: Path) -> None:
    """Where diffusers cuts images into tiles, which changes them."""
    ours, own = vaekit.as_diffusers(sd_vae), theirs(sd_vae, folder)
    x = torch.rand(1, 3, 96, 64, generator=seed()) * 2 - 1
    latents = ours.encode(x).latent_dist.mean
    images = ours.decode(latents).sample
    ours.enable_tiling(tile_sample_min_height=32, tile_sample_min_width=32, tile_overlap_factor=0.25)
    assert ours.use_tiling
    torch.testing.assert_close(ours.encode(x).latent_dist.mean, latents, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.decode(latents).sample, images, rtol=1e-4, atol=1e-4)
    own.enable_tiling()
    own.tile_sample_min_size, own.tile_latent_min_size = 32, 4
    assert (own.decode(latents).sample - images).abs().max() > 0.01
    ours.disable_tiling()
    torch.testing.assert_close(ours.decode(latents).sample, images)
    ours.use_tiling = True  # as some pipelines set it
    ours.to(torch.bfloat16)
    assert ours.decode(latents.bfloat16()).sample.dtype == torch.bfloat16
    pipeline = diffusers.StableDiffusionPipeline(vae=ours.float(), **sd_parts)
    pipeline.vae.enable_tiling()


def test_offloading_is_asked_for_the_weights(sd_vae: VAE) -> None:
    """What `pipe.enable_model_cpu_offload()` relies on: accelerate's hook runs before encode and decode."""
    woken = []

    class Hook:
        def pre_forward(self, module: nn.Module) -> None:
            woken.append(module)

    vae = vaekit.as_diffusers(sd_vae)
    vae._hf_hook = Hook()  # type: ignore[assignment]
    z = vae.encode(torch.zeros(1, 3, 8, 8)).latent_dist.mode()
    vae.decode(z)
    assert woken == [vae, vae]


@torch.no_grad()
def test_a_film_of_one_image(sd_vae: VAE) -> None:
    vae, x = vaekit.as_diffusers(sd_vae), torch.rand(1, 3, 1, 16, 16)
    dist = vae.encode(x).latent_dist
    assert dist.sample(seed()).shape == (1, 4, 1, 2, 2)
    assert vae.decode(dist.mode()).sample.shape == (1, 3, 1, 16, 16)
    with refuses(BadItem, "2"):
        vae.encode(x.repeat(1, 1, 2, 1, 1))


def test_flux2_keeps_its_statistics_where_its_pipeline_looks(kl_32: VAE, folder: Path) -> None:
    ours, own = vaekit.as_diffusers(kl_32), theirs(kl_32, folder, "AutoencoderKLFlux2")
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours.bn, name), getattr(own.bn, name), rtol=1e-5, atol=1e-5)
    assert ours.config.batch_norm_eps == own.config.batch_norm_eps == EPSILON
    z = torch.rand(1, 32, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(ours.decode(z).sample, own.decode(z).sample, rtol=1e-5, atol=TOLERANCE)
    assert not hasattr(ours.config, "scaling_factor")


@pytest.fixture
def kl_32() -> VAE:
    generator = torch.Generator().manual_seed(1)
    mean, variance = torch.randn(128, generator=generator), torch.rand(128, generator=generator)
    widths = (32, 32, 64, 64)
    config = KLConfig(3, 32, 32, widths, widths, 1, 2, (), (), True, True, True, 32)
    return assemble(family_of("kl"), config, normalization=normalization_of(mean, variance, EPSILON)).eval()


def test_a_tiny_decoder_of_flux2_takes_its_normalization() -> None:
    config = TinyConfig(3, 32, (), (64,) * 4, (64,) * 4, (1, 1, 1, 1), (1, 1, 1, 1), True)
    vae = assemble(family_of("tiny"), config).eval()
    normalization = normalization_of(torch.zeros(128), torch.ones(128), EPSILON)
    with pytest.raises(UnknownNormalization):
        vaekit.as_diffusers(vae)
    ours = vaekit.as_diffusers(vae, normalization=normalization)
    assert ours.bn.running_var.shape == (128,)
    assert len(ours.config.block_out_channels) == 4


# A normalization that nobody knows is asked for, never guessed.


@pytest.fixture
def unknown() -> VAE:
    """SD1's or SDXL's shapes, without a word on which; on the meta device, for they are large."""
    widths = (128, 256, 512, 512)
    with torch.device("meta"):
        config = KLConfig(3, 4, 4, widths, widths, 2, 3, (), (), True, True, True, 32)
        return assemble(family_of("kl"), config)


def test_an_unknown_normalization_is_refused_with_what_to_do(unknown: VAE) -> None:
    with refuses(UnknownNormalization, 'latent_space="SD1 / SD2"', 'latent_space="SDXL"') as caught:
        vaekit.as_diffusers(unknown)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("space", "scale"), [("SD1", 0.18215), ("SD1 / SD2", 0.18215), ("sdxl", 0.13025)])
def test_a_latent_space_may_be_named(unknown: VAE, space: str, scale: float) -> None:
    assert vaekit.as_diffusers(unknown, latent_space=space).config.scaling_factor == scale
    assert unknown.normalization is None


@pytest.mark.parametrize("space", ["FLUX.1", "FLUX.2", "nobody's"])
def test_a_latent_space_of_other_shapes_is_refused_and_both_are_named(unknown: VAE, space: str) -> None:
    with refuses(UnknownNormalization, "SD1 / SD2", "SDXL", space):
        vaekit.as_diffusers(unknown, latent_space=space)


def test_half_a_vae_does_its_half(sd_vae: VAE) -> None:
    sd_vae.encoder = None
    vae = vaekit.as_diffusers(sd_vae)
    assert vae.decode(torch.zeros(1, 4, 2, 2)).sample.shape == (1, 3, 16, 16)
    with pytest.raises(HalfMissing):
        vae.encode(torch.zeros(1, 3, 16, 16))


def test_what_is_saved_opens_in_diffusers(sd_vae: VAE, folder: Path) -> None:
    vaekit.as_diffusers(sd_vae, normalization=LatentNormalization((0.5,), (0.25,))).save_pretrained(folder)
    own = diffusers.AutoencoderKL.from_pretrained(folder)
    assert (own.config.scaling_factor, own.config.shift_factor) == (0.25, 0.5)
    assert sd_vae.normalization == LatentNormalization((0.0,), (0.18215,))


def test_a_pipeline_is_saved_in_two_steps(sd_vae: VAE, sd_parts: dict[str, Any], tmp_path: Path) -> None:
    """diffusers saves classes that it knows and leaves out the others, with a warning."""
    pipeline = diffusers.StableDiffusionPipeline(vae=vaekit.as_diffusers(sd_vae), **sd_parts)
    pipeline.save_pretrained(tmp_path)
    pipeline.vae.save_pretrained(tmp_path / "vae")
    vae = diffusers.AutoencoderKL.from_pretrained(tmp_path / "vae")
    again = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path, vae=vae)
    arguments = {"prompt": "a cat", "height": 64, "width": 64}
    torch.testing.assert_close(run(again, again.vae, **arguments), run(pipeline, pipeline.vae, **arguments))


def test_records_are_read_only_mappings() -> None:
    record = Record(a=1, b=2)
    assert (record.a, record["b"], record[1], record.to_tuple(), dict(record)) == (1, 2, 2, (1, 2), {"a": 1, "b": 2})
    assert list(record) == ["a", "b"] and len(record) == 2 and repr(record) == "Record(a=1, b=2)"
    with pytest.raises(KeyError):
        record["c"]


def test_only_the_pipeline_imports_diffusers(monkeypatch: pytest.MonkeyPatch, sd_vae: VAE) -> None:
    import builtins

    real: Callable[..., Any] = builtins.__import__

    def guarded(name: str, *rest: Any) -> Any:
        assert name.split(".")[0] != "diffusers"
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", guarded)
    vaekit.as_diffusers(sd_vae).decode(torch.zeros(1, 4, 1, 1))

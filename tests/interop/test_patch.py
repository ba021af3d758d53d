"""Pipelines whose VAE an engine runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from refusals import refuses
from torch import Tensor, nn

import vaekit
from vaekit.checkpoints.save import save
from vaekit.errors import BadItem, BadPlan, NotRunnable, TooLittleMemory
from vaekit.vae import VAE

PROMPT = {"prompt_embeds": torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32)}


def theirs(vae: VAE, folder: Path) -> Any:
    """diffusers' own class with the same weights."""
    save(vae, folder, "diffusers")
    return diffusers.AutoencoderKL.from_pretrained(folder).eval()


def image_of(pipe: Any, **arguments: Any) -> Tensor:
    """What a pipeline makes of a seed, (1, 3, h, w)."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        images: Tensor = pipe(num_inference_steps=2, generator=generator, output_type="pt", **arguments).images
    return images


def test_images_are_those_of_before_within_the_memory(sd_vae: VAE, sd_parts: dict[str, Any], tmp_path: Path) -> None:
    own = theirs(sd_vae, tmp_path / "vae")
    pipe: Any = diffusers.StableDiffusionPipeline(vae=own, **sd_parts)
    asked = {"prompt": "a cat", "height": 256, "width": 128}
    before = image_of(pipe, **asked)
    vaekit.patch(pipe, memory="64MiB")
    assert pipe.vae is own
    assert pipe.vae.decode.__self__.adapter().engine.plan.budget == 2**26
    patched = image_of(pipe, **asked)
    assert (patched - before).abs().max() < 1e-4
    vaekit.patch(pipe, memory="1MiB")
    with pytest.raises(TooLittleMemory):
        image_of(pipe, **asked)
    vaekit.unpatch(pipe)
    assert "decode" not in vars(own) and torch.equal(image_of(pipe, **asked), before)
    vaekit.unpatch(pipe)


def test_images_to_images_and_what_a_pipeline_saves(
    sd_vae: VAE, sd_parts: dict[str, Any], photograph: Tensor, tmp_path: Path
) -> None:
    pipe: Any = diffusers.StableDiffusionImg2ImgPipeline(vae=theirs(sd_vae, tmp_path / "vae"), **sd_parts)
    asked = {"prompt": "a cat", "image": photograph, "strength": 1.0}
    before = image_of(pipe, **asked)
    vaekit.patch(pipe)
    assert (image_of(pipe, **asked) - before).abs().max() < 1e-4
    pipe.save_pretrained(tmp_path / "saved")
    saved: Any = diffusers.AutoencoderKL
    assert saved.from_pretrained(tmp_path / "saved" / "vae").config.scaling_factor == 0.18215
    pipe.vae.to(torch.bfloat16)
    assert pipe.vae.encode(photograph.bfloat16()).latent_dist.mode().dtype == torch.bfloat16


def test_offloading_is_asked_for_the_weights(sd_vae: VAE, tmp_path: Path) -> None:
    """As by `pipe.enable_model_cpu_offload()`."""
    own, woken = theirs(sd_vae, tmp_path / "vae"), list[nn.Module]()
    pipe = type("Pipe", (SimpleNamespace,), {"__call__": call})(vae=own)
    vaekit.patch(pipe)
    own._hf_hook = SimpleNamespace(pre_forward=woken.append)
    pipe.vae.decode(torch.zeros(1, 4, 2, 2))
    assert woken == [own]


def test_flux(flux_vae: VAE, flux_parts: dict[str, Any], tmp_path: Path) -> None:
    pipe: Any = diffusers.FluxPipeline(vae=theirs(flux_vae, tmp_path / "vae"), **flux_parts)
    asked = {**PROMPT, "pooled_prompt_embeds": torch.linspace(-1, 1, 32)[None], "height": 64, "width": 64}
    before = image_of(pipe, **asked)
    vaekit.patch(pipe, memory=2**26)
    assert (image_of(pipe, **asked) - before).abs().max() < 1e-4


def call(self: object) -> None:
    """A pipeline of images."""


def call_for_videos(self: object, num_frames: int = 16) -> None:
    """A pipeline of videos."""


def test_what_is_no_pipeline_with_a_vae_of_images() -> None:
    def pipe(vae: Any, run: Any = call) -> Any:
        return type("Pipe", (SimpleNamespace,), {"__call__": run})(vae=vae)

    with refuses(BadItem, "no VAE"):
        vaekit.patch(pipe(None))
    with refuses(BadItem, "no VAE"):
        vaekit.patch(pipe(nn.Linear(1, 1)))
    with refuses(BadPlan, "videos"):
        vaekit.patch(pipe(None, call_for_videos))
    small = {"block_out_channels": (32,), "layers_per_block": 1, "norm_num_groups": 32}
    with torch.device("meta"), refuses(BadItem, "not loaded"):
        vaekit.patch(pipe(diffusers.AutoencoderKL(**small)))
    other: Any = diffusers.AutoencoderKLTemporalDecoder(block_out_channels=(32,), layers_per_block=1)
    with refuses(NotRunnable, "AutoencoderKLTemporalDecoder"):
        vaekit.patch(pipe(other))
    kl: Any = diffusers.AutoencoderKL
    vae = kl(**small).to(torch.float64)
    with refuses(BadPlan, "float64"):
        vaekit.patch(pipe(vae))

"""An engine behind diffusers' interface of a VAE."""

import torch
from refusals import refuses

import vaekit
from vaekit.errors import BadItem
from vaekit.interop.diffusers_engine import EngineVAE
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

CPU = Plan(device="cpu")


def test_it_equals_the_adapter_of_a_vae(sd_vae: VAE) -> None:
    ours, plain = EngineVAE(Engine(sd_vae, CPU), torch.float32), vaekit.as_diffusers(sd_vae)
    x = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents, expected = (vae.encode(x).latent_dist.mode() for vae in (ours, plain))
        images, decoded = (vae.decode(expected, return_dict=False)[0] for vae in (ours, plain))
    assert (latents - expected).abs().max() < 1e-4
    assert (images - decoded).abs().max() < 1e-4
    assert {**ours.config, "force_upcast": True} == dict(plain.config)


def test_pipelines_move_and_cast_nothing(sd_vae: VAE) -> None:
    adapter = EngineVAE(Engine(sd_vae, CPU), torch.bfloat16)
    moved = adapter.to("meta", torch.float64)
    assert moved is adapter
    assert next(moved.parameters()).device.type == "cpu"
    assert (adapter.dtype, adapter.device) == (torch.bfloat16, torch.device("cpu"))
    latents = adapter.encode(torch.zeros(1, 3, 16, 16)).latent_dist.sample(torch.Generator().manual_seed(0))
    assert latents.dtype == torch.bfloat16
    assert adapter.decode(latents).sample.dtype == torch.float32


def test_latents_that_are_not_finite_are_refused(sd_vae: VAE) -> None:
    adapter = EngineVAE(Engine(sd_vae, CPU), torch.float32)
    latents = torch.zeros(1, 4, 2, 2)
    latents[0, 0, 0, 0] = float("nan")
    with refuses(BadItem, 1, 16):
        adapter.decode(latents)

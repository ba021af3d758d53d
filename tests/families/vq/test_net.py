"""Vector-quantized autoencoders: the same numbers and codes as diffusers', and the nearest code by definition."""

from pathlib import Path

import diffusers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vaekit.checkpoints.load import load
from vaekit.distributions import Quantized
from vaekit.families.vq.net import VQConfig
from vaekit.nets import codebooks
from vaekit.nets.vector_quantizer import VectorQuantizer

TOLERANCE = 1e-4
F4, F8, F16 = (32, 64, 64), (32, 32, 64, 64), (32, 32, 64, 64, 64)


def theirs(widths: tuple[int, ...], codes: int, z: int, inside: bool, mid: bool) -> diffusers.VQModel:
    """diffusers' model with random weights, its codes spread as wide as what the encoder says."""
    torch.manual_seed(0)
    last = "Attn" if inside else ""
    model = diffusers.VQModel(
        block_out_channels=widths,
        down_block_types=(*["DownEncoderBlock2D"] * (len(widths) - 1), f"{last}DownEncoderBlock2D"),
        up_block_types=(f"{last}UpDecoderBlock2D", *["UpDecoderBlock2D"] * (len(widths) - 1)),
        layers_per_block=2,
        latent_channels=2 * z,
        vq_embed_dim=z,
        num_vq_embeddings=codes,
        mid_block_add_attention=mid,
    ).eval()
    nn.init.normal_(model.quantize.embedding.weight, std=0.5)
    return model


@pytest.mark.parametrize(
    ("widths", "codes", "z", "inside", "mid"),
    [
        (F4, 512, 3, False, True),
        (F4, 512, 3, False, False),
        (F8, 256, 4, True, True),
        pytest.param(F16, 64, 8, True, True, marks=pytest.mark.nightly),
    ],
    ids=["vq-f4", "vq-f4-noattn", "vq-f8", "vq-f16"],
)
@torch.no_grad()
def test_agrees_with_diffusers(
    widths: tuple[int, ...], codes: int, z: int, inside: bool, mid: bool, tmp_path: Path
) -> None:
    model = theirs(widths, codes, z, inside, mid)
    model.save_pretrained(tmp_path)
    vae = load(tmp_path)
    x = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    posterior, said = vae.encode(x), model.encode(x).latents
    assert isinstance(posterior, Quantized)
    torch.testing.assert_close(posterior.continuous, said, atol=TOLERANCE, rtol=0)
    embedded, _, (_, _, indices) = model.quantize(said)
    assert torch.equal(posterior.codes.flatten(), indices)
    assert len(posterior.codes.unique()) > 4
    torch.testing.assert_close(posterior.mean, embedded, atol=1e-6, rtol=0)
    # VQModel quantizes whatever it decodes; codes that are there already stay as they are.
    torch.testing.assert_close(vae.decode(posterior.mean), model.decode(said).sample, atol=TOLERANCE, rtol=0)
    continuous = model.decode(said, force_not_quantize=True).sample
    torch.testing.assert_close(vae.decode(said), continuous, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(
        vae.decode(vae.to_posterior(said).mean), model.decode(said).sample, atol=TOLERANCE, rtol=0
    )


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(0, 4))
@settings(deadline=None)
def test_the_code_is_the_nearest(codes: int, width: int, batch: int, positions: int) -> None:
    torch.manual_seed(codes)
    head = VectorQuantizer(codes, width).eval()
    z = torch.randn(batch, width, positions, 2) / codes
    q = head(z)
    distances = (z.movedim(1, -1).unsqueeze(-2).double() - head.codebook.double()).square().sum(dim=-1)
    assert torch.equal(distances.gather(-1, q.codes.unsqueeze(-1))[..., 0], distances.amin(dim=-1))
    assert torch.equal(q.embedded, head.embed(q.codes))


def test_codes_stay_what_they_are_however_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousandth of a thousandth apart, far from the origin, and a few at a time."""
    head = VectorQuantizer(100, 4).eval()
    with torch.no_grad():
        head.codebook.copy_(1 + 1e-6 * torch.arange(100).view(-1, 1).expand(100, 4))
    codes = torch.arange(100).view(1, 10, 10)
    assert len(head.codebook.unique(dim=0)) > 50
    whole = head(head.embed(codes))
    assert torch.equal(whole.embedded, head.embed(codes))
    monkeypatch.setattr(codebooks, "DISTANCES_AT_ONCE", 300)
    assert torch.equal(head(head.embed(codes)).codes, whole.codes)


def test_half_precision_is_quantized_in_single() -> None:
    head = VectorQuantizer(7, 3).half()
    q = head(torch.randn(1, 3, 2, 2).half())
    assert q.continuous.dtype == q.mean.dtype == torch.float32


def published(channels: int, widths: tuple[int, ...], attention: tuple[int, ...], codes: int) -> VQConfig:
    return VQConfig(
        3, channels, channels, widths, widths, 2, 3, attention, attention, True, True, True, 32, codes=codes
    )


@pytest.mark.parametrize(
    "config", [published(3, (128, 256, 512), (), 8192), published(4, (128, 256, 256, 512), (3,), 256)]
)
def test_has_as_many_weights_as_diffusers_builds(config: VQConfig) -> None:
    from vaekit.families import assemble, family_of

    with torch.device("meta"):
        ours = assemble(family_of("vq"), config)
        model = diffusers.VQModel(**family_of("vq").diffusers(config, None))
    assert sum(weight.numel() for weight in ours.parameters()) == sum(weight.numel() for weight in model.parameters())

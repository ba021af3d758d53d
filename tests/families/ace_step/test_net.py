"""Parity with diffusers' AutoencoderDC on random weights, and the vocoder as its authors describe it.

No library that is installed here has the vocoder: `reference` computes it from its tensors with functions of torch.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderDC
from random_weights import shaken
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from vaekit import load
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.ace_step.net import HIGHEST, LOWEST, ACEStepConfig, BackboneVocoder, Decoder, Encoder
from vaekit.nets.mel import MelFormat, log_mel_of_hops, mel_filters
from vaekit.vae import VAE

KWARGS: dict[str, Any] = {
    "in_channels": 2,
    "latent_channels": 4,
    "attention_head_dim": 8,
    "encoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
    "decoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
    "encoder_block_out_channels": (16, 16, 16),
    "decoder_block_out_channels": (16, 16, 16),
    "encoder_layers_per_block": (1, 2, 1),
    "decoder_layers_per_block": (1, 2, 1),
    "encoder_qkv_multiscales": ((), (), (5,)),
    "decoder_qkv_multiscales": ((), (), (5,)),
    "upsample_block_type": "interpolate",
    "downsample_block_type": "Conv",
    "decoder_norm_types": "rms_norm",
    "decoder_act_fns": "silu",
}


def example() -> VAE:
    from family_examples import EXAMPLES

    torch.manual_seed(0)
    vae = assemble(family_of("ace-step"), EXAMPLES["ace-step"])
    shaken(vae)
    return vae


def foreign_vocoder(vae: VAE) -> dict[str, Tensor]:
    """The tensors of the vocoder under their published names."""
    layout = layout_of("diffusers", "ace-step")
    assert layout is not None
    state = vae.state_dict()
    named = {layout.from_native(key, layout.native_levels(state)): tensor for key, tensor in state.items()}
    return {key.removeprefix("vocoder."): each for key, each in named.items() if key and key.startswith("vocoder.")}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[AutoencoderDC, dict[str, Tensor], Path]:
    """Their autoencoder, the tensors of a vocoder, and the folder of the model."""
    torch.manual_seed(0)
    theirs = shaken(AutoencoderDC(**KWARGS), 0.02)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder / "music_dcae_f8c8")
    (folder / "music_vocoder").mkdir()
    vocoder = foreign_vocoder(example())
    save_file(vocoder, folder / "music_vocoder" / "diffusion_pytorch_model.safetensors")
    (folder / "music_vocoder" / "config.json").write_text('{"upsample_rates": [8, 8, 8]}')
    return theirs, vocoder, folder


def reference(tensors: dict[str, Tensor], mel: Tensor) -> Tensor:
    """The vocoder on spectrograms (b, bins, frames): ConvNeXt, then HiFi-GAN."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        weight, bias = (tensors[f"{name}.{leaf}"][:, None] for leaf in ("weight", "bias"))
        return (x - mean) / (variance + 1e-6).sqrt() * weight + bias

    def conv(x: Tensor, name: str, **options: Any) -> Tensor:
        g, v = tensors[f"{name}.weight_g"], tensors[f"{name}.weight_v"]
        weight = g * v / v.square().sum((1, 2), keepdim=True).sqrt()
        run = F.conv_transpose1d if ".ups." in name else F.conv1d
        return run(x, weight, tensors[f"{name}.bias"], **options)

    def block(x: Tensor, name: str) -> Tensor:
        h = F.conv1d(x, tensors[f"{name}.dwconv.weight"], tensors[f"{name}.dwconv.bias"], padding=3, groups=x.shape[1])
        h = norm(h, f"{name}.norm").transpose(1, 2)
        h = F.gelu(F.linear(h, tensors[f"{name}.pwconv1.weight"], tensors[f"{name}.pwconv1.bias"]))
        h = F.linear(h, tensors[f"{name}.pwconv2.weight"], tensors[f"{name}.pwconv2.bias"]) * tensors[f"{name}.gamma"]
        return x + h.transpose(1, 2)

    first, last = "backbone.channel_layers.0", "backbone.channel_layers.1"
    h = F.pad(mel, (3, 3), mode="replicate")
    h = norm(F.conv1d(h, tensors[f"{first}.0.weight"], tensors[f"{first}.0.bias"]), f"{first}.1")
    h = block(h, "backbone.stages.0.0")
    h = F.conv1d(norm(h, f"{last}.0"), tensors[f"{last}.1.weight"], tensors[f"{last}.1.bias"])
    h = norm(block(block(h, "backbone.stages.1.0"), "backbone.stages.1.1"), "backbone.norm")
    h = conv(h, "head.conv_pre", padding=6)
    for i in range(3):
        h = conv(F.silu(h), f"head.ups.{i}", stride=8, padding=4)
        for j, dilation in enumerate((1, 3)):
            inner = conv(F.silu(h), f"head.resblocks.{i}.convs1.{j}", padding=dilation, dilation=dilation)
            h = h + conv(F.silu(inner), f"head.resblocks.{i}.convs2.{j}", padding=1)
    return conv(F.silu(h), "head.conv_post", padding=6).tanh()


@torch.no_grad()
def test_equal_to_diffusers_and_to_the_description_of_the_vocoder(
    pair: tuple[AutoencoderDC, dict[str, Tensor], Path],
) -> None:
    theirs, vocoder, folder = pair
    ours = load(folder)
    encoder, decoder = ours.encoder, ours.decoder
    assert isinstance(encoder, Encoder) and isinstance(decoder, Decoder) and isinstance(ours.config, ACEStepConfig)
    assert isinstance(decoder.vocoder, BackboneVocoder)
    x = torch.rand(2, 2, 5 * 2048, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mel = log_mel_of_hops(x, ours.config.mel)
    assert mel.shape == (2, 2, 8, 20)
    latent = theirs.encode((mel - LOWEST) / (HIGHEST - LOWEST) * 2 - 1).latent
    assert latent.shape == (2, 4, 2, 5) and latent.std() > 0.05
    flat = ours.encode(x).mode
    torch.testing.assert_close(flat, latent.flatten(1, 2), rtol=1e-4, atol=1e-5)
    spectrogram = (theirs.decode(latent).sample * 0.5 + 0.5) * (HIGHEST - LOWEST) + LOWEST
    torch.testing.assert_close(decoder.spectrogram(flat), spectrogram, rtol=1e-4, atol=1e-4)
    expected = torch.cat([reference(vocoder, spectrogram[:, i]) for i in range(2)], dim=1)
    assert expected.std() > 1e-3
    torch.testing.assert_close(ours.decode(flat), expected, rtol=1e-4, atol=1e-5)


def test_spectrograms_have_a_frame_for_each_hop() -> None:
    """Windows are 768 samples longer than a hop on either side, and powers are above a millionth."""
    mel = MelFormat(44100, 2048, 512, 128, 40.0, 16000.0, epsilon=1e-6)
    x = torch.rand(1, 2, 8192, generator=torch.Generator().manual_seed(0)) * 2 - 1
    padded = F.pad(x, (768, 768), mode="reflect").flatten(0, 1)
    spectrum = torch.stft(padded, 2048, 512, window=torch.hann_window(2048), center=False, return_complex=True)
    expected = torch.from_numpy(mel_filters(mel)) @ (spectrum.abs().square() + 1e-6).sqrt()
    torch.testing.assert_close(log_mel_of_hops(x, mel)[0], expected.clamp(min=1e-5).log(), rtol=1e-5, atol=1e-4)

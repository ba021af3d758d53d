"""Kandinsky's autoencoder of waveforms, KVAE-Audio (kandinskylab/KVAE-Audio; diffusers' AutoencoderKLKVAEAudio).

DAC's halves without a quantizer, with self-attention over all positions at the end of the encoder, and 1x1 convolutions
between the wide inside of the halves and the latent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.waveform import Layers, Snake, WaveformConfig, WaveformDecoder, WaveformEncoder, layers


@dataclass(frozen=True)
class KVAEAudioConfig(WaveformConfig):
    """The shape of a KVAE-Audio.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    hidden_channels: int
    """Channels between the halves and their 1x1 convolutions at the latent."""
    heads: int
    """Of the attention."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.hidden_channels % self.heads:
            raise ValueError(f"{self.heads} heads do not divide {self.hidden_channels} channels")


class Attention(nn.Module):
    """Multi-head self-attention over all positions, without a residual connection: (b, c, t) -> (b, c, t)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = x.transpose(1, 2)
        q, k, v = (
            layer(h).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )
        h = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(h.transpose(1, 2).flatten(2)).transpose(1, 2)


class Encoder(WaveformEncoder):
    """Waveforms (b, c, hop t) -> moments (b, 2z, t): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: KVAEAudioConfig, make: Layers) -> None:
        super().__init__(config, make, config.hidden_channels)
        self.attn = Attention(config.hidden_channels, config.heads)
        self.in_proj = make.conv(config.hidden_channels, 2 * config.latent_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.in_proj(self.attn(super().forward(x)))


class Decoder(WaveformDecoder):
    """Raw latents (b, z, t) -> waveforms (b, c, hop t)."""

    def __init__(self, config: KVAEAudioConfig, make: Layers) -> None:
        super().__init__(config, make, config.hidden_channels)
        self.out_proj = make.conv(config.latent_channels, config.hidden_channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(super().forward(self.out_proj(z)))


def build(config: KVAEAudioConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    make = layers(Snake, config.weight_norm)
    return Encoder(config, make), Decoder(config, make)

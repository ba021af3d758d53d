"""DAC, Descript's audio codec (Kumar et al. 2023, arXiv 2306.06546; transformers' DacModel).

The halves are those of `waveform.py`; the head quantizes residuals with one codebook after another. The decoder takes
sums of codebook vectors and does not quantize its input.

Transposed convolutions of an odd stride return one position too few, as in the published code, so that 24 kHz audio
ends 8 samples early. These samples are zero here: a decoded item is as long as the encoded one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.families.waveform import Layers, Snake, WaveformConfig, WaveformDecoder, WaveformEncoder, layers
from vaekit.nets.quantizers import ResidualQuantizer
from vaekit.nets.vector_quantizer import FactorizedQuantizer


@dataclass(frozen=True)
class DACConfig(WaveformConfig):
    """The shape of a DAC; `latent_channels` is that of the decoder's input.

    Raises:
        ValueError: there is no code, codebook, or dimension of vectors.
    """

    codes: int
    """The number of vectors in each codebook."""
    stages: int
    """The number of codebooks."""
    code_channels: int
    """The dimension of a codebook's vectors."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.codes, self.stages, self.code_channels) < 1:
            raise ValueError("codes, stages and code_channels must be 1 or more")


class Decoder(WaveformDecoder):
    """Sums of codebook vectors (b, z, t) -> waveforms (b, c, hop t) in [-1, 1]."""

    def __init__(self, config: DACConfig, make: Layers) -> None:
        super().__init__(config, make, config.latent_channels)
        self.lacking = lacking(config.strides)

    def forward(self, z: Tensor) -> Tensor:
        x = torch.tanh(super().forward(z))
        return F.pad(x, (0, self.lacking)) if self.lacking else x


def lacking(strides: tuple[int, ...]) -> int:
    """The number of samples at the end that the levels of a decoder do not return."""
    samples = 0
    for stride in reversed(strides):
        samples = samples * stride + stride % 2
    return samples


def quantizer(config: DACConfig) -> ResidualQuantizer:
    """The head of a DAC."""
    conv = layers(Snake, config.weight_norm).conv

    def stage(codes: int, width: int) -> FactorizedQuantizer:
        return FactorizedQuantizer(codes, width, config.code_channels, conv)

    return ResidualQuantizer(config.codes, config.latent_channels, config.stages, stage)


def build(config: DACConfig) -> tuple[WaveformEncoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    make = layers(Snake, config.weight_norm, complete=False)
    return WaveformEncoder(config, make, config.latent_channels), Decoder(config, make)

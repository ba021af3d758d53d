"""Oobleck, Stable Audio's autoencoder of waveforms (Evans et al. 2024, arXiv 2407.14358; diffusers'
AutoencoderOobleck).

DAC's convolutions with BigVGAN's activation, without a quantizer. The encoder outputs means and the arguments of a
softplus, the standard deviations; the decoder outputs waveforms without a bound on their values.
"""

from dataclasses import dataclass

from vaekit.families.waveform import LogSnake, WaveformConfig, WaveformDecoder, WaveformEncoder, layers


@dataclass(frozen=True)
class OobleckConfig(WaveformConfig):
    """The shape of an Oobleck autoencoder.

    Raises:
        ValueError: a stride is odd: transposed convolutions then return one position too few, as in diffusers.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(stride % 2 for stride in self.strides):
            raise ValueError(f"the strides {self.strides} are not all even")


def build(config: OobleckConfig) -> tuple[WaveformEncoder, WaveformDecoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    make = layers(LogSnake, config.weight_norm)
    encoder = WaveformEncoder(config, make, 2 * config.latent_channels)
    return encoder, WaveformDecoder(config, make, config.latent_channels, bias=False)

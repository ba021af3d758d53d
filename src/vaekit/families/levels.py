"""The config fields of convolutional autoencoders whose two halves are levels of residual blocks."""

from dataclasses import dataclass

from vaekit.geometry import Geometry


@dataclass(frozen=True)
class LevelsConfig:
    """The shape of such an autoencoder. Levels are listed in the order in which they run, in either half; in KVAE, from
    full resolution downwards in both."""

    image_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels of each level of the encoder, from full resolution downwards: 128, 256, 512, 512 in many models."""
    decoder_widths: tuple[int, ...]
    """Channels of each level of the decoder, from the latent upwards."""
    encoder_blocks: int
    """Residual blocks per level of the encoder."""
    decoder_blocks: int
    """Residual blocks per level of the decoder; most models have one more than in the encoder."""

    @property
    def geometry(self) -> Geometry:
        """Images of any size; every level except the last halves the resolution."""
        factor = 2 ** (len(self.encoder_widths) - 1)
        return Geometry(self.image_channels, self.latent_channels, (factor, factor))

    @property
    def blocks(self) -> int:
        """Residual blocks of the larger half."""
        sides = (self.encoder_widths, self.encoder_blocks), (self.decoder_widths, self.decoder_blocks)
        return max(len(widths) * blocks for widths, blocks in sides)


def block_obstacles(config: LevelsConfig) -> dict[str, bool]:
    """A property that most classes of diffusers cannot express, and whether the network has it; see
    `refuse_obstacles`."""
    return {"a number of decoder blocks other than one more": config.decoder_blocks != config.encoder_blocks + 1}


def mirror_obstacles(config: LevelsConfig) -> dict[str, bool]:
    """The same for classes that also have one list of widths for both halves."""
    different = config.encoder_widths != config.decoder_widths[::-1]
    return {"different widths in encoder and decoder": different} | block_obstacles(config)

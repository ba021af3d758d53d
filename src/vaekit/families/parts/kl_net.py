"""The convolutional nets of `kl.py` as a part: for images of any size, with any posterior and likelihood."""

from dataclasses import dataclass, field

from vaekit.families.kl.net import Decoder, Encoder, KLConfig, build


@dataclass(frozen=True)
class KLNet(KLConfig):
    """The shape of such a pair. Nothing in it says what the numbers mean that come out."""

    kind: str = field(default="kl", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.encoder_widths and self.decoder_widths):
            raise ValueError("encoder_widths and decoder_widths need at least one level")
        if self.hidden_channels < 1:
            raise ValueError("hidden_channels is less than 1")

    @property
    def data_shape(self) -> None:
        """It takes images of any size."""
        return

    def build(self, moments: int, outputs: int) -> tuple[Encoder, Decoder]:
        """Both halves: an encoder that says so many numbers of a latent, a decoder that says so many of a value."""
        return build(self, moments, outputs)

"""The convolutional nets of the kl family as a part: for images of any size, with any posterior and likelihood."""

from dataclasses import dataclass, field

from vaekit.families.kl.net import Decoder, Encoder, KLConfig, build


@dataclass(frozen=True)
class KLNet(KLConfig):
    """The config of the nets, independent of the meaning of their outputs."""

    kind: str = field(default="kl", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.encoder_widths and self.decoder_widths):
            raise ValueError("encoder_widths and decoder_widths need at least one level")
        if self.hidden_channels < 1:
            raise ValueError("hidden_channels must be 1 or more")

    @property
    def data_shape(self) -> None:
        """The required image size: None, any size is accepted."""
        return

    def build(self, moments: int, outputs: int) -> tuple[Encoder, Decoder]:
        """Both halves, with `moments` values per latent value and `outputs` values per image value."""
        return build(self, moments, outputs)

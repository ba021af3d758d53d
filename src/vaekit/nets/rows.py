"""Fully connected encoders and decoders for rows of tables with missing cells."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vaekit.nets.mlp import Decoder, MLPConfig, layers, through

LARGEST_INPUT = 10.0
"""Of values as the encoder sees them: a single cell far outside the data must not carry the latent with it, as the
decoder would then be wrong about all other cells. The likelihood sees the value itself."""


@dataclass(frozen=True)
class RowsConfig(MLPConfig):
    """The architecture of encoder and decoder."""

    hide: float = 0.1
    """The probability of hiding an observed value from the encoder in training, so that it learns to do without any."""
    kind: str = field(default="rows", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.data_shape) != 1 or not 0 <= self.hide < 1:
            raise ValueError("a row has one axis, and hide is at least 0 and below 1")

    def build(self, moments: int, outputs: int) -> "tuple[Encoder, Decoder]":  # type: ignore[override]
        return Encoder(self, moments), Decoder(self, outputs)


class Encoder(nn.Module):
    """Rows (b, n), with NaN for missing values -> moments (b, m z).

    Input are the values, 0 for missing ones, and which are observed. In training, observed values are hidden at random,
    a denoising criterion (Im et al. 2017, arXiv 1511.06406); random numbers come from torch's global generator.
    """

    def __init__(self, config: RowsConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        widths = (2 * config.data_shape[0], *config.hidden)
        self.hidden = layers(widths)
        self.out = nn.Linear(widths[-1], moments * config.latent_channels)

    def forward(self, x: Tensor) -> Tensor:
        observed = ~x.isnan()
        if self.training and self.config.hide:
            observed = observed & (torch.rand(x.shape, device=x.device) >= self.config.hide)
        values = x.where(observed, 0).clamp(-LARGEST_INPUT, LARGEST_INPUT)
        return self.out(through(self.hidden, torch.cat([values, observed.to(values)], dim=1), self.config))

"""Representation autoencoders: DINOv2's features as latents, and a transformer that decodes them (arXiv 2510.11690).

The encoder is DINOv2 with registers (arXiv 2309.16588); its last layer norm has no weights. The decoder is that of MAE
(arXiv 2111.06377). Images have a fixed size, since the decoder's positions do. Latents are normalized inside the
network, in published models by a mean and a standard deviation for each channel and position. Both halves use these;
the decoder holds them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents

ENCODER_EPSILON, DECODER_EPSILON, STATISTICS_EPSILON = 1e-6, 1e-12, 1e-5
HEAD_WIDTH = 64
"""Channels of an attention head of every DINOv2."""
PERIOD = 10_000
"""The longest wavelength of the decoder's position embeddings, over 2 pi."""
BASE_GRID = 16
"""Positions along one side that all grids are scaled to in these embeddings."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class RAEConfig:
    """The shape of a representation autoencoder."""

    image_channels: int
    latent_channels: int
    """The width of the encoder."""
    encoder_layers: int
    encoder_hidden: int
    """The width inside the encoder's MLPs."""
    encoder_patch: int
    """Pixels along one side of the squares that the encoder embeds: 14."""
    encoder_positions: int
    """Positions along one side of the grid for which the encoder stores embeddings: 37."""
    registers: int
    decoder_width: int
    decoder_layers: int
    decoder_hidden: int
    decoder_heads: int
    """Attention heads of the decoder: 16 as published. Weights do not determine it."""
    patch: int
    """Pixels along one side of the squares that the decoder outputs: 16."""
    grid: int
    """Latent positions along one side: 16. Weights determine it if there are statistics for each position."""
    statistics: tuple[int, ...]
    """The shape of the latents' mean and standard deviation: (z, grid, grid) as published; (1,) for none."""

    @property
    def geometry(self) -> Geometry:
        """Square images of a fixed size."""
        side = self.grid * self.patch
        return Geometry(self.image_channels, self.latent_channels, (self.patch, self.patch), (side, side))

    @property
    def blocks(self) -> int:
        """Transformer blocks of the larger half."""
        return max(self.encoder_layers, self.decoder_layers)


class Attention(nn.Module):
    """Self-attention over all tokens (b, n, c)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj_out = (nn.Linear(channels, channels) for _ in range(4))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return self.proj_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A transformer block; DINOv2 scales each of its two changes by channel."""

    def __init__(self, channels: int, hidden: int, heads: int, epsilon: float, scaled: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=epsilon)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=epsilon)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.scale1, self.scale2 = (nn.Parameter(torch.ones(channels)) if scaled else None for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._scaled(self.attn(self.norm1(x)), self.scale1)
        return x + self._scaled(self.fc2(F.gelu(self.fc1(self.norm2(x)))), self.scale2)

    @staticmethod
    def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
        return x if scale is None else x * scale


class Statistics(nn.Module):
    """Mean and standard deviation of the encoder's pixels in 0..1, and of latents.

    They are converted to the dtype and device of what they apply to: one half may be moved without the other.
    """

    def __init__(self, config: RAEConfig) -> None:
        super().__init__()
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        self.latents_mean: Tensor
        self.latents_std: Tensor
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(1, -1, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD).view(1, -1, 1, 1))
        self.register_buffer("latents_mean", torch.zeros(config.statistics))
        self.register_buffer("latents_std", torch.ones(config.statistics))

    def pixels_to_features(self, x: Images) -> Tensor:
        """Images in [-1, 1] to the encoder's input."""
        return ((x + 1) / 2 - self.pixel_mean.to(x)) / self.pixel_std.to(x)

    def features_to_pixels(self, x: Tensor) -> Images:
        """The inverse of `pixels_to_features`."""
        return (x * self.pixel_std.to(x) + self.pixel_mean.to(x)) * 2 - 1

    def normalized(self, z: Tensor) -> Latents:
        """Latents of the encoder to those that are decoded."""
        return (z - self.latents_mean.to(z)) / (self.latents_std.to(z) + STATISTICS_EPSILON)

    def denormalized(self, z: Latents) -> Tensor:
        """The inverse of `normalized`."""
        return z * (self.latents_std.to(z) + STATISTICS_EPSILON) + self.latents_mean.to(z)


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> latents (b, z, h/f, w/f)."""

    def __init__(self, config: RAEConfig, statistics: Statistics) -> None:
        super().__init__()
        self.config = config
        object.__setattr__(self, "statistics", statistics)  # not a module of this half: the decoder's file has it
        width, heads = config.latent_channels, config.latent_channels // HEAD_WIDTH
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.registers, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + config.encoder_positions**2, width))
        self.projection = nn.Conv2d(config.image_channels, width, config.encoder_patch, stride=config.encoder_patch)
        self.layers = nn.Sequential(
            *(
                Block(width, config.encoder_hidden, heads, ENCODER_EPSILON, scaled=True)
                for _ in range(config.encoder_layers)
            )
        )

    def forward(self, x: Images) -> Latents:
        grid, statistics = self.config.grid, vars(self)["statistics"]
        side = grid * self.config.encoder_patch
        resized = x if x.shape[-1] == side else F.interpolate(x, size=(side, side), mode="bicubic")
        h = self.projection(statistics.pixels_to_features(resized)).flatten(2).transpose(1, 2) + self._positions()
        first = (self.cls_token + self.position_embeddings[:, :1]).expand(h.shape[0], -1, -1)
        tokens = self.layers(torch.cat((first, self.register_tokens.expand(h.shape[0], -1, -1), h), dim=1))
        features = F.layer_norm(tokens[:, 1 + self.config.registers :], (tokens.shape[2],), eps=ENCODER_EPSILON)
        return statistics.normalized(features.transpose(1, 2).unflatten(2, (grid, grid)))

    def _positions(self) -> Tensor:
        """The embeddings of positions, resized to the grid; computed in fp32."""
        stored, grid = self.position_embeddings[:, 1:], self.config.grid
        if self.config.encoder_positions == grid:
            return stored
        side = self.config.encoder_positions
        plane = stored.transpose(1, 2).unflatten(2, (side, side)).float()
        resized = F.interpolate(plane, size=(grid, grid), mode="bicubic", antialias=True)
        return resized.to(stored.dtype).flatten(2).transpose(1, 2)


def position_embeddings(width: int, grid: int) -> Tensor:
    """Sines and cosines of rows and columns (1, grid^2, width), as in MAE: columns first."""
    places = torch.arange(grid, dtype=torch.float32) / (grid / BASE_GRID)
    frequencies = 1 / PERIOD ** (torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    angles = places.double()[:, None] * frequencies
    waves = torch.cat((angles.sin(), angles.cos()), dim=1)
    columns, rows = waves[None].expand(grid, -1, -1), waves[:, None].expand(-1, grid, -1)
    return torch.cat((columns, rows), dim=2).flatten(0, 1).unsqueeze(0).float()


class Decoder(nn.Module):
    """Latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: RAEConfig, statistics: Statistics) -> None:
        super().__init__()
        self.config = config
        self.statistics = statistics
        width = config.decoder_width
        self.embed = nn.Linear(config.latent_channels, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.Sequential(
            *(
                Block(width, config.decoder_hidden, config.decoder_heads, DECODER_EPSILON, scaled=False)
                for _ in range(config.decoder_layers)
            )
        )
        self.norm = nn.LayerNorm(width, eps=DECODER_EPSILON)
        self.pred = nn.Linear(width, config.patch**2 * config.image_channels)

    def forward(self, z: Latents) -> Images:
        config = self.config
        h = self.embed(self.statistics.denormalized(z).flatten(2).transpose(1, 2))
        h = h + position_embeddings(config.decoder_width, config.grid).to(h)
        h = self.layers(torch.cat((self.cls_token.expand(h.shape[0], -1, -1), h), dim=1))
        squares = self.pred(self.norm(h))[:, 1:].transpose(1, 2).unflatten(2, (config.grid, config.grid))
        # Pixels are slower than color channels in the squares.
        channels_first = squares.unflatten(1, (-1, config.image_channels)).transpose(1, 2).flatten(1, 2)
        return self.statistics.features_to_pixels(F.pixel_shuffle(channels_first, config.patch))


def build(config: RAEConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    statistics = Statistics(config)
    return Encoder(config, statistics), Decoder(config, statistics)

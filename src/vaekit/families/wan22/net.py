"""The video autoencoder of Wan 2.2 (5B), run on still images: that of Wan 2.1 with a shortcut around every level.

Inputs and outputs have 2x2 squares of pixels rearranged into channels. The shortcuts average groups of channels in the
encoder and repeat them in the decoder, without parameters. They also include frames: a level that halves them pads a
zero frame before the first, so that the shortcut of a single image is averaged with zeros; a level that doubles them
returns two, of which the second is used. As in vae2_2.py of Wan-Video/Wan2.2. Qwen-Image 2.1 has the same architecture,
for images with an alpha channel and without squares.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.wan import net as wan
from vaekit.families.wan.net import Axes, WanConfig, down_levels, up_levels
from vaekit.shapes import Images, Latents, Moments


@dataclass(frozen=True)
class Wan22Config(WanConfig):
    """The shape of a Wan 2.2 autoencoder."""

    patch: int
    """Pixels along one side of the squares that become channels: 2 in Wan 2.2, 1 for none."""

    @property
    def pixel_patch(self) -> int:
        return self.patch

    @property
    def axes(self) -> Axes:
        """The axes of tensors; Qwen-Image 2.1 has none for time except in its norms."""
        return Axes(self.temporal, 3)


class AverageDown(nn.Module):
    """Optionally halve the resolution, and change the width: each channel is the mean of a group over squares and
    frames."""

    def __init__(self, out_channels: int, halve: bool, time: bool) -> None:
        super().__init__()
        self.out_channels, self.halve, self.time = out_channels, halve, time

    def forward(self, x: Tensor) -> Tensor:
        squares = (F.pixel_unshuffle(x, 2) if self.halve else x).unflatten(1, (x.shape[1], 1, -1))
        # Channels are the slowest index, then frames: of two, the first is the zero frame before a video.
        frames = F.pad(squares, (0, 0, 0, 0, 0, 0, 1, 0)) if self.time else squares
        return frames.flatten(1, 3).unflatten(1, (self.out_channels, -1)).mean(dim=2)


class RepeatUp(nn.Module):
    """Double the resolution and change the width by repeating channels; of two frames, use the second."""

    def __init__(self, out_channels: int, time: bool) -> None:
        super().__init__()
        self.out_channels, self.frames = out_channels, 2 if time else 1

    def forward(self, x: Tensor) -> Tensor:
        repeats = 4 * self.frames * self.out_channels // x.shape[1]
        frames = x.repeat_interleave(repeats, dim=1).unflatten(1, (self.out_channels, self.frames, 4))
        return F.pixel_shuffle(frames[:, :, -1].flatten(1, 2), 2)


class WithShortcut(nn.Module):
    """A level with a shortcut; the last level of the decoder has none."""

    def __init__(self, main: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        h = self.main(x)
        return h if self.shortcut is None else h + self.shortcut(x)


def into_squares(x: Tensor, patch: int) -> Tensor:
    """Rearrange squares of pixels into channels; in a square, columns are the slower index."""
    return F.pixel_unshuffle(x.mT, patch).mT


def out_of_squares(x: Tensor, patch: int) -> Tensor:
    """The inverse of `into_squares`."""
    return F.pixel_shuffle(x.mT, patch).mT


class Encoder(wan.Encoder):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: Wan22Config) -> None:
        last = len(config.encoder_widths) - 1
        shortcuts = (
            AverageDown(width, i < last, i in config.time_levels) for i, width in enumerate(config.encoder_widths)
        )
        super().__init__(config, map(WithShortcut, down_levels(config), shortcuts))
        self.patch = config.patch

    def forward(self, x: Images) -> Moments:
        return super().forward(into_squares(x, self.patch))


class Decoder(wan.Decoder):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j), approximately in [-1, 1]."""

    def __init__(self, config: Wan22Config) -> None:
        levels = up_levels(config, config.decoder_widths[:-1])
        shortcuts = [
            RepeatUp(width, i in config.decoder_time_levels) for i, width in enumerate(config.decoder_widths[:-1])
        ]
        super().__init__(config, map(WithShortcut, levels, [*shortcuts, None]))
        self.patch = config.patch

    def forward(self, z: Latents) -> Images:
        return out_of_squares(super().forward(z), self.patch)


def build(config: Wan22Config) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)

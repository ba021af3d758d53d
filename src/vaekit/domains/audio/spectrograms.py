"""Images of waveforms: the spectrogram above the waveform."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vaekit.atomic import atomic_file
from vaekit.metrics.audio.mel import log_mel

HIGH, LOW = 128, 48
"""The heights of spectrogram and waveform, in pixels."""
WIDE = 480
GAP = 4
RATE = 16_000
"""Where the sample rate is not known; it only changes how frequencies are spaced."""
RANGE = 8.0
"""From the darkest to the brightest color, in nats of magnitude: 70 dB."""
MAGMA = ("000004", "180f3d", "440f76", "721f81", "9e2f7f", "cd4071", "f1605d", "fd9668", "feca8d", "fcfdbf")
"""Ten equidistant colors of Magma (van der Walt & Smith 2015), whose lightness increases evenly."""
LOUDEST = 1e4
"""Larger samples are drawn like this one: their energy could not be represented."""
INK = (0.25, 0.35, 0.6)
COLUMNS = 2


def waveform_image(x: Float[Tensor, "c t"], sample_rate: int = RATE) -> Float[Tensor, "3 h w"]:
    """An image (3, 180, 480) in [-1, 1]: log-mel spectrogram of the mean of the channels, and waveform."""
    mono = x.float().clamp(-LOUDEST, LOUDEST).mean(dim=0, keepdim=True)
    image = torch.cat([spectrogram(mono, sample_rate), torch.ones(3, GAP, WIDE), curve(mono[0])], dim=1)
    return image * 2 - 1


def spectrogram(mono: Float[Tensor, "1 t"], sample_rate: int) -> Float[Tensor, "3 h w"]:
    """Colors of a log-mel spectrogram, low frequencies at the bottom."""
    hop = max(1, mono.shape[1] // WIDE)
    levels = log_mel(mono[None], sample_rate, bands=HIGH // 2, hop=hop)[0, 0]
    scaled = ((levels - levels.max()) / RANGE + 1).clamp(0, 1)
    resized = F.interpolate(scaled[None, None], (HIGH, WIDE), mode="bilinear", align_corners=False)[0, 0]
    return colors_of(resized.flip(0))


def colors_of(values: Float[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
    """Colors in [0, 1] for positions on the scale in [0, 1]."""
    anchors = torch.tensor([[int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)] for color in MAGMA])
    place = values * (len(anchors) - 1)
    low = place.floor().long().clamp(max=len(anchors) - 2)
    share = (place - low).unsqueeze(-1)
    return (anchors[low] * (1 - share) + anchors[low + 1] * share).permute(2, 0, 1)


def curve(mono: Float[Tensor, " t"]) -> Float[Tensor, "3 h w"]:
    """Minimum and maximum of the waveform in each column, on white."""
    least, most = (reduce(mono) for reduce in (lambda x: -by_column(-x), by_column))
    rows = 1 - (torch.arange(LOW) + 0.5)[:, None] / LOW * 2
    half = 1 / LOW
    inked = (rows <= most + half) & (rows >= least - half)
    return torch.where(inked, torch.tensor(INK)[:, None, None], torch.ones(3, 1, 1))


def by_column(mono: Float[Tensor, " t"]) -> Float[Tensor, " w"]:
    """The maximum of the samples in each column."""
    return F.adaptive_max_pool1d(mono[None], WIDE)[0].clamp(-1, 1)


def sheet(images: Sequence[Float[Tensor, "3 h w"]], columns: int = COLUMNS) -> Float[Tensor, "3 H W"]:
    """Images of one size in rows, on white."""
    cells = [F.pad(image, (GAP, GAP, GAP, GAP), value=1.0) for image in images]
    cells += [torch.ones_like(cells[0])] * (-len(cells) % columns)
    rows = [torch.cat(list(cells[i : i + columns]), dim=2) for i in range(0, len(cells), columns)]
    return torch.cat(rows, dim=1)


def write_png(image: Float[Tensor, "3 h w"], path: Path) -> Path:
    """Write an image in [-1, 1].

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    with atomic_file(path) as part:
        Image.fromarray(levels.numpy()).save(part, "PNG")
    return path

"""Find clicks: single samples at which a waveform jumps, as at the seam of two parts that do not fit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ORDER = 24
"""Of the linear prediction."""
FRAME = 0.128
"""Seconds of a frame, rounded to a power of 2 in samples: several periods of the lowest voice."""
AFTER, BEFORE = 2 * ORDER, 2
"""Samples around a click whose prediction it spoils."""
ISOLATED = 5.0
"""How much larger the prediction error of a click is than any other one in its frame: those of voices repeat with their
pitch, and those of drums last."""
OUTLIER = 14.0
"""How much larger it is than the standard deviation of the errors, estimated by their median."""
LEAST = 2e-3
"""The least prediction error of a click."""
TO_DEVIATION = 1.4826
"""From the median of magnitudes to the standard deviation, for a normal distribution."""
AT_ONCE = 64
"""Frames that are in memory together."""


@dataclass(frozen=True)
class Click:
    """A click."""

    channel: int
    sample: int
    """Its position."""
    score: float
    """Its prediction error, relative to the largest other one in the frame."""


def clicks(x: Float[Tensor, "c t"], sample_rate: int) -> tuple[Click, ...]:
    """The clicks of a waveform, in order of time.

    Each frame is predicted linearly from its past and from its future (Godsill & Rayner 1998, Digital Audio
    Restoration, chapter 5). A click is an error of both predictions that is an outlier, and alone in its frame.

    >>> tone = torch.sin(torch.arange(8000) / 5)[None]
    >>> clicks(tone, 8000)
    ()
    >>> [click.sample for click in clicks(torch.cat([tone[:, :3001], tone[:, 3020:]], 1), 8000)]
    [3001]

    Args:
        x: the waveform.
        sample_rate: in Hz.
    """
    found = [click for channel, values in enumerate(x.double()) for click in in_channel(values, channel, sample_rate)]
    return tuple(sorted(found, key=lambda click: (click.sample, click.channel)))


def in_channel(values: Float[Tensor, " t"], channel: int, sample_rate: int) -> Iterator[Click]:
    """The clicks of one channel."""
    size = 2 ** max(8, round(math.log2(FRAME * sample_rate)))
    hop, count = size // 2, len(values)
    steps = values.diff(prepend=values[:1])
    padded = torch.nn.functional.pad(steps, (hop // 2, size))
    frames = padded.unfold(0, size, hop)
    for start in range(0, -(-count // hop), AT_ONCE):
        errors = prediction_errors(frames[start : start + AT_ONCE])
        for number, error in enumerate(errors, start=start):
            offset = number * hop - hop // 2  # of the frame in the waveform
            error[: max(0, ORDER - offset)] = 0  # the start of the waveform is not predicted
            error[max(0, count - offset) :] = 0
            center = error[hop // 2 : hop // 2 + hop]
            peak, place = center.max(dim=0)
            at = int(place) + hop // 2
            others = error.clone()
            others[max(0, at - BEFORE) : at + AFTER] = 0
            inside = error[max(0, -offset) : max(0, count - offset)]
            deviation = TO_DEVIATION * inside.median().item()
            largest = max(others.max().item(), LEAST / ISOLATED)
            if peak > LEAST and peak > OUTLIER * deviation and peak > ISOLATED * largest:
                yield Click(channel, offset + at, peak.item() / largest)


def prediction_errors(frames: Float[Tensor, "n size"]) -> Float[Tensor, "n size"]:
    """The magnitude of the error of the linear prediction of each sample from the ones before it, or of the sample
    before it from the ones after that, whichever is smaller: large only where both sides do not fit. 0 at the ends."""
    size = frames.shape[1]
    spectrum = torch.fft.rfft(frames * torch.hann_window(size, dtype=frames.dtype), 2 * size)
    correlation = torch.fft.irfft(spectrum.abs().square(), 2 * size)[:, : ORDER + 1]
    correlation[:, 0] = correlation[:, 0] * (1 + 1e-9) + 1e-9
    lags = (torch.arange(ORDER)[:, None] - torch.arange(ORDER)).abs()
    weights = torch.linalg.solve(correlation[:, lags], correlation[:, 1:])
    around = frames.unfold(1, ORDER, 1)  # (n, size - order + 1, order)
    forward = frames[:, ORDER:] - (around[:, :-1] @ weights.flip(1).unsqueeze(2)).squeeze(2)
    backward = frames[:, :-ORDER] - (around[:, 1:] @ weights.unsqueeze(2)).squeeze(2)
    pad = torch.nn.functional.pad
    return torch.minimum(pad(forward.abs(), (ORDER, 0)), pad(backward.abs(), (0, ORDER)))

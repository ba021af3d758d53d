"""The schema of audio: sample rate, channels, and the length of the parts that a VAE is trained on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.audio_format import AudioFormat
from vaekit.datasets.dataset import Record
from vaekit.domains.audio.properties import property_named
from vaekit.domains.audio.reading import reader_of
from vaekit.records import from_dict

MOST_SAMPLES = 2**28
"""Of a part of a waveform."""

DEFAULT_SECONDS = 2


@dataclass(frozen=True)
class AudioSchema:
    """How waveforms are prepared.

    Raises:
        ValueError: a value is out of range.
    """

    sample_rate: int
    """In Hz."""
    channels: int
    samples: int
    """The length of the parts that a VAE is trained on, and of samples."""

    def __post_init__(self) -> None:
        _ = self.format
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"waveforms have {self.samples} samples; expected 1 to {MOST_SAMPLES}")

    @property
    def format(self) -> AudioFormat:
        """Sample rate and channels."""
        return AudioFormat(self.sample_rate, self.channels)

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)

    def vae_settings(self) -> dict[str, Any]:
        return {"net": {"audio_channels": self.channels}}

    def example(self) -> Tensor:
        return torch.zeros(1, self.channels, self.samples)

    def to_tensor(self, records: Sequence[Record]) -> Float[Tensor, "b c t"]:
        """The middle part of each sound; shorter ones are continued with zeros on both sides."""
        x = torch.zeros(len(records), self.channels, self.samples)
        for out, record in zip(x, records, strict=True):
            with reader_of(record, self.format) as reader:
                put_middle(out, reader.samples, reader)
        return x

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    def to_items(self, x: Float[Tensor, "b c t"]) -> Sequence[Tensor]:
        """Waveforms (c, t)."""
        return list(x)

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        return property_named(name, self.sample_rate)


def put_middle(
    out: Float[Tensor, "c t"], samples: int, read: Callable[[int, int], Float[Tensor, "c n"]], share: float = 0.5
) -> None:
    """Write a part of a sound into a tensor of zeros.

    Args:
        out: the tensor.
        samples: the length of the sound.
        read: reads a range of it.
        share: of what is left out, or filled with zeros, that comes before: 0.5 for the middle.
    """
    excess = samples - out.shape[1]
    before = math.floor(share * abs(excess))
    if excess >= 0:
        out.copy_(read(before, before + out.shape[1]))
    else:
        out[:, before : before + samples] = read(0, samples)


def in_length(x: Float[Tensor, "c t"], samples: int) -> Float[Tensor, "c n"]:
    """The start of a waveform, or all of it and zeros behind."""
    return F.pad(x[:, :samples], (0, max(0, samples - x.shape[1])))


def schema_from(plain: Mapping[str, Any]) -> AudioSchema:
    """The schema in a file.

    Raises:
        ValueError: it is damaged.
    """
    return from_dict(AudioSchema, plain)


def schema_of(audio_format: AudioFormat) -> AudioSchema:
    """The schema of a VAE of another program: its samples have two seconds."""
    return AudioSchema(audio_format.sample_rate, audio_format.channels, DEFAULT_SECONDS * audio_format.sample_rate)

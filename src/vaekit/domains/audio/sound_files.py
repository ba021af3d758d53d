"""Read sound files (WAV, FLAC, OGG, MP3, ...) by ranges of samples, with soundfile."""

import errno
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from vaekit.audio_format import MAX_SAMPLE_RATE, AudioFormat
from vaekit.datasets.dataset import BytesRecord, FileRecord, Record
from vaekit.errors import BadItem, NotFound, counted, printable, reason_of, remedy_for
from vaekit.optional import require
from vaekit.reading import open_file

SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".w64", ".rf64", ".caf"}
)
"""Of sound files that libsndfile reads."""
SEQUENTIAL = frozenset({"MP3", "MPEG", "OGG"})
"""Formats whose seeks are not exact to the sample: they are decoded in order."""
BLOCK = 2**16
"""Samples that are decoded at once."""
SMALL_BLOCK = 1000
"""The same in damaged files: of a block with an error, nothing is decoded."""
KEPT = 2**16
"""Samples that are kept of formats without exact seeks."""
MOST_CHANNELS = 256
PLAIN_REASONS = {
    "File does not exist or is not a regular file": "it ends within its header",
    "Internal error": "the sample rate or another value of its header makes no sense",
    "SF_INFO struct incomplete": "the sample rate or another value of its header makes no sense",
}
"""By the beginning of a message of libsndfile."""
EXPECTED = "Expected a sound file in WAV, FLAC, OGG or MP3."


@dataclass(frozen=True)
class SoundFacts:
    """The format of a sound file."""

    format: AudioFormat
    samples: int
    """Per channel, of those that can be read."""
    container: str
    """As libsndfile names it: "WAV"."""
    subtype: str
    """The encoding of samples: "PCM_16"."""

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.format.seconds(self.samples)


@dataclass(eq=False)
class Sound:
    """An open sound file; a context manager."""

    name: str
    """For messages."""
    reopen: Callable[[], Any]
    """Opens the file with soundfile."""
    facts: SoundFacts
    notes: tuple[str, ...] = ()
    """What is wrong with the file."""
    _file: Any = field(default=None, repr=False)
    _position: int = field(default=0, repr=False)
    _recent: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), np.float32), repr=False)
    """The samples before the position, of formats that are decoded in order: ranges may overlap."""

    def read(self, start: int, stop: int) -> Float[Tensor, "c t"]:
        """The samples of a range, (channels, stop - start) in fp32.

        Raises:
            BadItem: they cannot be decoded, or are NaN or infinite.
        """
        values = self._decoded(start, stop)
        if len(values) < stop - start:
            raise self._damaged(start + len(values), "it ends there")
        finite = np.isfinite(values)
        if not finite.all():
            first = start + int(np.argmin(finite.all(axis=1)))
            raise BadItem(
                f"{self.name} has NaN or infinite samples, {counted(int((~finite).sum()), 'value')} from "
                f"{self.facts.format.seconds(first):.3f} s on.",
                "Expected finite samples.",
                "Export the file again, or cut that part out.",
            )
        return torch.from_numpy(np.ascontiguousarray(values.T))

    def _decoded(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples of a range, or those until the file ends, (t, channels)."""
        known = self._recent[max(0, start - self._position + len(self._recent)) :]
        if self.facts.container not in SEQUENTIAL or not self._position - len(self._recent) <= start < self._position:
            known = known[:0]
            self._go_to(start)
        known = known[: stop - start]
        try:
            new = self._file.read(stop - start - len(known), dtype="float32", always_2d=True)
        except RuntimeError as error:
            raise self._damaged(start, error) from error
        self._position += len(new)
        values: NDArray[np.float32] = np.concatenate([known, new]) if len(known) else new
        if self.facts.container in SEQUENTIAL:
            self._recent = (np.concatenate([self._recent, new]) if len(self._recent) else new)[-KEPT:]
        return values

    def _go_to(self, start: int) -> None:
        """Bring the file to a position."""
        if self._file is None or (self.facts.container in SEQUENTIAL and start < self._position):
            self.close()
            self._file, self._position, self._recent = self.reopen(), 0, self._recent[:0]
        try:
            if start != self._position and self.facts.container not in SEQUENTIAL:
                self._file.seek(start)
                self._position = start
            while self._position < start:
                values = self._file.read(min(BLOCK, start - self._position), dtype="float32")
                if not len(values):
                    raise self._damaged(self._position, "it ends there")
                self._position += len(values)
                self._recent = self._recent[:0]
        except RuntimeError as error:
            raise self._damaged(start, error) from error

    def _damaged(self, sample: int, reason: object) -> BadItem:
        return BadItem(
            f"{self.name} is damaged at {self.facts.format.seconds(sample):.3f} s: {printable(str(reason))}.",
            EXPECTED,
            "Copy or export it again.",
        )

    def close(self) -> None:
        """Close the file; reading opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "Sound":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def soundfile() -> ModuleType:
    """The package.

    Raises:
        MissingPackage: it is not installed.
    """
    return require("soundfile", "read and write sound files", "audio")


def open_sound(record: Record | Path) -> Sound:
    """Open a sound file, or one in a container, and look at its header.

    Raises:
        NotFound: there is no such file.
        BadItem: it is no sound file, is empty, or its header makes no sense.
        MissingPackage: soundfile is not installed.
    """
    path = record.path if isinstance(record, FileRecord) else record
    if isinstance(path, Path):
        return opened(str(path), lambda: from_path(path))
    if isinstance(path, BytesRecord):
        return opened(path.name, lambda: decoder(path.name, io.BytesIO(path.content())))
    raise BadItem(f"{printable(getattr(record, 'name', 'The item'))} is no sound file.", EXPECTED, "")


def from_path(path: Path) -> Any:
    """Open a regular file with soundfile."""
    try:
        with open_file(path) as file:
            if not os.fstat(file.fileno()).st_size:
                raise BadItem(f"{path} is empty: it has 0 bytes.", EXPECTED, "Copy or export it again.")
            return decoder(str(path), os.dup(file.fileno()))
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", "", "Check the name.") from error
    except OSError as error:
        found = f"{path} cannot be read: {reason_of(error)}."
        raise BadItem(found, EXPECTED if error.errno == errno.EISDIR else "", remedy_for(error)) from error


def decoder(name: str, source: Any) -> Any:
    """The decoder of a file descriptor, which libsndfile closes also after an error, or of bytes."""
    module = soundfile()
    try:
        return module.SoundFile(source)
    except (RuntimeError, ValueError, TypeError) as error:
        raise BadItem(
            f"{printable(name, 300)} cannot be read as a sound: {printable(plain_reason(error))}.",
            EXPECTED,
            "Check the file: its header is damaged, or it is something else.",
        ) from error


def plain_reason(error: Exception) -> str:
    """The reason in an error of libsndfile, some of whose messages are about other things than the file.

    >>> plain_reason(RuntimeError("Error opening 3: Format not recognised."))
    'Format not recognised'
    """
    reason = str(getattr(error, "error_string", "") or str(error).rpartition(": ")[2]).strip().rstrip(".")
    return next((better for start, better in PLAIN_REASONS.items() if reason.startswith(start)), reason)


def opened(name: str, reopen: Callable[[], Any]) -> Sound:
    """Open a sound; a header that announces more samples than there are is corrected."""
    file = reopen()
    shown = printable(name, 300)
    notes: tuple[str, ...] = ()
    if not (0 < file.channels <= MOST_CHANNELS and 0 < file.samplerate <= MAX_SAMPLE_RATE):
        file.close()
        raise BadItem(
            f"{shown} has {counted(file.channels, 'channel')} at {file.samplerate:,} Hz.",
            f"Expected at most {MOST_CHANNELS} channels and {MAX_SAMPLE_RATE:,} Hz.",
            "Its header is probably damaged.",
        )
    announced, container, header = max(0, file.frames), str(file.format), str(file.extra_info)
    samples = announced if ends_at(file, announced) else readable_samples(reopen())
    if samples < announced:
        notes = (f"the file ends after {samples:,} of {announced:,} samples: the rest is missing",)
    elif "should be" in header:
        notes = ("the header announces another number of samples than the file has",)
    facts = SoundFacts(AudioFormat(file.samplerate, file.channels), samples, container, str(file.subtype))
    file.close()
    if not samples:
        raise no_samples(shown, header)
    return Sound(shown, reopen, facts, notes)


def no_samples(shown: str, header: str) -> BadItem:
    """The error for a file without samples.

    Args:
        shown: its name.
        header: the log of libsndfile about it.
    """
    if "data : 0\n" in header and "Unknown chunk marker" in header:
        return BadItem(
            f"{shown} announces no samples, and something follows its header.",
            "Expected the number of bytes there: the program that recorded it did not finish it.",
            "Repair it, for example with `sox --ignore-length IN.wav OUT.wav`.",
        )
    return BadItem(f"{shown} contains no samples.", EXPECTED, "It is empty, or was cut off.")


def ends_at(file: Any, samples: int) -> bool:
    """Whether the last of the announced samples can be read."""
    if samples < 1:
        return True
    try:
        file.seek(samples - 1)
        return len(file.read(1)) == 1
    except RuntimeError:
        return False


def readable_samples(file: Any) -> int:
    """The number of samples until the file ends or cannot be decoded; closes it."""
    count = 0
    with file:
        try:
            while read := len(file.read(SMALL_BLOCK, dtype="float32", always_2d=True)):
                count += read
        except RuntimeError:
            pass
    return count

"""What excerpts sound like: a small additive synthesizer, with bursts of noise for drums."""

import io
import wave
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vaekit.domains.music.excerpts import DRUM_CLASS, DRUM_CLASSES, DRUMS, Excerpt

RATE = 16_000
"""Samples per second."""
MOST_SECONDS = 180.0
"""Of what is rendered at once; the rest of the excerpts is left out."""
LOUDEST = 0.9
"""The largest absolute value: nothing is clipped."""
GAIN = 0.22
"""Of a single note."""
ATTACK, RELEASE, TAIL = 0.008, 0.06, 0.4
"""Seconds in which a note rises, and falls after its end; and silence at the end of a file."""
LONGEST = 10.0
"""Seconds after which a note has faded away."""
HARMONICS = 8
Sound = NDArray[np.float32]
"""(n,) in [-1, 1]."""
KIT: dict[str, tuple[float, float, float]] = {
    "kick": (55.0, 0.1, 0.12),
    "snare": (180.0, 0.7, 0.1),
    "closed hat": (0.0, 1.0, 0.03),
    "open hat": (0.0, 1.0, 0.15),
    "low tom": (95.0, 0.15, 0.18),
    "mid tom": (130.0, 0.15, 0.16),
    "high tom": (175.0, 0.15, 0.14),
    "crash": (0.0, 1.0, 0.4),
    "ride": (0.0, 0.8, 0.25),
}
"""Frequency of the tone of each drum, 0 for none; the share of noise; and seconds until it is 1/e as loud."""


@lru_cache(maxsize=128)
def tone(pitch: int, length: int) -> Sound:
    """A note of a plucked string: harmonics that decay faster the higher they are.

    Args:
        pitch: as in MIDI.
        length: samples before the release.
    """
    release = int(RELEASE * RATE)
    seconds = np.arange(length + release) / RATE
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    wave_form = np.zeros(len(seconds))
    for number in range(1, HARMONICS + 1):
        if number * frequency > 0.45 * RATE:
            break
        decay = np.exp(-seconds * (0.8 + 0.7 * number))
        wave_form += np.sin(2 * np.pi * number * frequency * seconds) * decay / number**1.4
    rise = int(ATTACK * RATE)
    wave_form[:rise] *= ramp(rise)[: len(wave_form)]
    wave_form[-release:] *= ramp(release)[::-1]
    return wave_form.astype(np.float32)


@lru_cache(maxsize=len(DRUM_CLASSES))
def hit(place: int) -> Sound:
    """A drum of a class: noise, and a tone that falls."""
    frequency, noise, decay = KIT[DRUM_CLASSES[place].name]
    count = int(min(6 * decay, 1.2) * RATE)
    seconds = np.arange(count) / RATE
    burst = np.random.default_rng(place).uniform(-1, 1, count + 1)
    burst = np.diff(burst) if not frequency else burst[1:]  # cymbals are bright
    phase = 2 * np.pi * frequency * (seconds + 0.03 * (1 - np.exp(-seconds / 0.03)))
    sound = (noise * burst + (1 - noise) * np.sin(phase) * bool(frequency)) * np.exp(-seconds / decay)
    edge = int(0.002 * RATE)
    sound[:edge] *= ramp(edge)
    sound[-edge:] *= ramp(edge)[::-1]
    return sound.astype(np.float32)


def ramp(count: int) -> NDArray[np.float64]:
    """A smooth rise from 0 to 1."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / max(count, 1))


def render(excerpts: Sequence[Excerpt]) -> Sound:
    """Excerpts one after the other, the first `MOST_SECONDS` of them."""
    total = min(sum(excerpt.seconds for excerpt in excerpts), MOST_SECONDS)
    length = int(total * RATE)
    sound = np.zeros(length + int(TAIL * RATE), np.float32)
    start = 0.0
    for excerpt in excerpts:
        step = 60 / excerpt.tempo / excerpt.per_quarter
        for _, note in excerpt.notes():
            begin = int((start + note.start * step) * RATE)
            if begin < length:
                end = min(int((start + note.end * step) * RATE), length)
                played = (
                    hit(DRUM_CLASS[note.pitch])
                    if excerpt.kind == DRUMS
                    else tone(note.pitch, min(end - begin, int(LONGEST * RATE)))
                )
                played = played[: len(sound) - begin]
                sound[begin : begin + len(played)] += GAIN * played
        start += excerpt.seconds
        if start >= total:
            break
    fade = int(RELEASE * RATE)
    sound[-fade:] *= ramp(fade)[::-1].astype(np.float32)  # of cymbals that are cut off
    loudest = float(np.abs(sound).max(initial=0))
    return sound * (LOUDEST / loudest) if loudest > LOUDEST else sound


def wav(sound: Sound) -> bytes:
    """A sound as a WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(np.round(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()

"""Properties of excerpts, and their similarity."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vaekit.domains.item_functions import ItemSimilarity
from vaekit.domains.music.excerpts import DRUMS, Excerpt
from vaekit.domains.music.pieces import Note, meter_of
from vaekit.domains.music.similarity import PITCHES

CLASSES = 12
"""Pitches of an octave."""
Measure = Callable[[Sequence[Excerpt]], list[float]]
"""Excerpts -> values, NaN where there is none."""


def notes_of(excerpt: Excerpt) -> list[Note]:
    """The notes of all voices."""
    return [note for _, note in excerpt.notes()]


def of_each(measure: Callable[[Excerpt], float]) -> Measure:
    """A function of one excerpt as one of many."""
    return lambda excerpts: [float(measure(excerpt)) for excerpt in excerpts]


def note_density(excerpt: Excerpt) -> float:
    """Notes per quarter note; NaN without steps."""
    quarters = len(excerpt.steps) / excerpt.per_quarter
    return len(notes_of(excerpt)) / quarters if quarters else math.nan


def pitch_range(excerpt: Excerpt) -> float:
    """Semitones between the lowest and the highest note; NaN without notes, and for drums."""
    pitches = pitches_of(excerpt)
    return float(max(pitches) - min(pitches)) if pitches else math.nan


def mean_pitch(excerpt: Excerpt) -> float:
    """The mean pitch of notes, as in MIDI; NaN without notes, and for drums."""
    pitches = pitches_of(excerpt)
    return math.fsum(pitches) / len(pitches) if pitches else math.nan


def pitches_of(excerpt: Excerpt) -> list[int]:
    """The pitches of notes; none of drums."""
    return [] if excerpt.kind == DRUMS else [note.pitch for note in notes_of(excerpt)]


def syncopation(excerpt: Excerpt) -> float:
    """How much notes start on weak steps and sound over stronger ones, per note: the mean over notes of how many levels
    of the meter the strongest step that a note holds is above its start (after Longuet-Higgins and Lee 1984); 0 if
    every note starts where it is strongest. NaN without notes, and for drums, which do not hold."""
    notes = [] if excerpt.kind == DRUMS else notes_of(excerpt)
    if not notes:
        return math.nan
    levels = metrical_levels(excerpt)
    rises = [max(levels[note.start : note.end]) - levels[note.start] for note in notes]
    return math.fsum(rises) / len(rises)


def metrical_levels(excerpt: Excerpt) -> list[int]:
    """The weight of each step: the number of levels of the meter on which it starts a unit. They are the bar, its half
    in meters like 4/4, the beat, the parts of a beat, and halves of these."""
    meter = meter_of(excerpt.meter)
    unit = max(1, 4 * excerpt.per_quarter // meter.unit)
    compound = meter.beats % 3 == 0 and meter.beats > 3
    bar, beat = meter.beats * unit, 3 * unit if compound else unit
    units = [bar, *([bar // 2] if bar // beat % 2 == 0 and bar > 2 * beat else []), *([beat] if beat < bar else [])]
    units += [unit] if compound else []
    while units[-1] % 2 == 0:
        units.append(units[-1] // 2)
    return [sum(step % unit == 0 for unit in units) for step in range(len(excerpt.steps))]


PROPERTIES: Mapping[str, Measure] = {
    "note density": of_each(note_density),
    "pitch range": of_each(pitch_range),
    "mean pitch": of_each(mean_pitch),
    "syncopation": of_each(syncopation),
}
"""By name."""


def pitch_histogram(excerpt: Excerpt) -> NDArray[np.float64]:
    """The shares of pitch classes in the sounding time (12,), of drums those of classes of drums; 0 in silence."""
    histogram = np.zeros(CLASSES)
    for note in notes_of(excerpt):
        histogram[note.pitch % CLASSES] += note.end - note.start
    return histogram / histogram.sum() if histogram.any() else histogram


def histogram_overlap(one: Excerpt, other: Excerpt) -> float:
    """The overlap of two pitch histograms, 0 to 1; two silences are equal."""
    left, right = pitch_histogram(one), pitch_histogram(other)
    return float(np.minimum(left, right).sum()) if left.any() or right.any() else 1.0


def same_steps(one: Excerpt, other: Excerpt) -> float:
    """The share of steps, of the longer one, in which the same sounds: all voices have equal values."""
    longest = max(len(one.steps), len(other.steps))
    same = sum(left == right for left, right in zip(one.steps, other.steps, strict=False))
    return same / longest if longest else 1.0


def similarities(excerpts: Sequence[Excerpt], others: Sequence[Excerpt]) -> list[float]:
    """The similarity of each pair."""
    return [same_steps(one, other) for one, other in zip(excerpts, others, strict=True)]


EQUAL_STEPS = ItemSimilarity("equal steps", similarities, along_paths=PITCHES)

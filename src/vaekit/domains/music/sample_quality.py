"""Measures of sampled excerpts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from vaekit.domains.music.excerpts import Excerpt
from vaekit.domains.music.properties import PROPERTIES, pitch_histogram
from vaekit.domains.sample_quality import SampleQuality, histogram, share
from vaekit.metrics.measure import Measure
from vaekit.metrics.synthetic import wasserstein

MOST = 5000
"""Excerpts of the data, evenly chosen, whose properties are computed."""
UNIQUE = Measure("unique", "unique", "", "higher", "Share of different excerpts among the samples.", format=".4f")
NOVEL = Measure(
    "novel",
    "novel",
    "",
    "higher",
    "Share of different samples that are not in the training data, in the same key.",
    format=".4f",
)
SOUNDING = Measure("sounding", "sounding", "", "higher", "Share of samples with a note.", format=".4f")
PITCHES = Measure(
    "pitch_overlap",
    "pitch overlap",
    "",
    "higher",
    "Overlap of the histograms of pitch classes of all samples and of the data, weighted by duration.",
    format=".4f",
)


@dataclass(frozen=True)
class MusicComparison:
    """Compares samples with excerpts of data; see `CompareSamples`."""

    data: Sequence[Excerpt]
    known: Collection[str] | None
    """The texts of training excerpts; None if they are not known."""

    def __call__(self, samples: Sequence[Excerpt], seed: int) -> SampleQuality:
        """Measure samples; there is no random choice."""
        del seed
        data = self.data[:: max(1, len(self.data) // MOST)]
        different = {sample.text for sample in samples}
        sounding = sum(any(True for _ in sample.notes()) for sample in samples)
        both = [sum(map(pitch_histogram, each), np.zeros(12)) for each in (samples, data)]
        overlap = np.minimum(*(each / max(each.sum(), 1e-9) for each in both)).sum()
        values = {
            UNIQUE: share(len(different), len(samples)),
            SOUNDING: share(sounding, len(samples)),
            PITCHES: float(overlap),
        }
        missing = {NOVEL.title: "The training data were not given."}
        if self.known is not None:
            values[NOVEL] = share(len(different.difference(self.known)), len(different))
            missing = {}
        numbers = {name: (measure(data), measure(samples)) for name, measure in PROPERTIES.items()}
        return SampleQuality(
            {measure.name: value for measure, value in values.items()},
            tuple(values),
            {name: wasserstein(*pair) for name, pair in numbers.items()},
            "property",
            missing,
            tuple(histogram(name, *pair) for name, pair in numbers.items()),
        )

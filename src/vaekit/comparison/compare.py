"""Compare candidates on many images, and collect the results in a report.

Only measurements are kept, no pixels: images that the page shows are reconstructed again.
"""

import math
import statistics
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from vaekit.comparison.candidates import Candidate, Described, Reconstruction, VAECandidate
from vaekit.comparison.defects import find_defects
from vaekit.comparison.image_sources import ImageSource
from vaekit.comparison.measure import SMALLEST, ImageMeasurements, Original, measure_image
from vaekit.comparison.measure_table import IMAGES
from vaekit.comparison.records import (
    Comparison,
    Estimate,
    MeasuredCandidate,
    MeasuredImage,
    Report,
    ShownImage,
    SkippedImage,
    Subject,
)
from vaekit.comparison.signals import Signals
from vaekit.comparison.testcard_measures import card_measures
from vaekit.comparison.verdicts import ranked, reason_for, verdict
from vaekit.domains.images.read import LoadedImage
from vaekit.errors import BadItem, NothingEvaluated, VaekitError, counted
from vaekit.metrics.image.color import over_white
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.image.lpips import LPIPS
from vaekit.metrics.statistics import mean_interval, paired_difference
from vaekit.pipeline import Outcome, Stages, run_pipeline
from vaekit.runtime.threads import single_threaded_initializer

MAX_PIXELS = 2**22
"""The maximum number of pixels of images in progress, if there are several: each is held with all reconstructions."""
SHOWN = 6
"""The default number of images on the page."""


@dataclass(frozen=True, eq=False)
class ComparedImage:
    """A report, and the images that its page shows."""

    report: Report
    shown: Iterable[ShownImage]


@dataclass(eq=False)
class Tally:
    """The measurements of one candidate, image by image."""

    candidate: Described
    images: list[MeasuredImage] = field(default_factory=list)
    signals: list[Signals] = field(default_factory=list)

    def values(self, measure: str) -> list[float]:
        """The values of a measure; NaN for images without it."""
        return [one.measures.get(measure, math.nan) for one in self.images]


Results = list[tuple[ImageMeasurements, Mapping[str, float]]]


def compare(
    sources: Sequence[ImageSource],
    candidates: Sequence[Candidate],
    perceptual: Mapping[str, LPIPS],
    protocol: Mapping[str, Any],
    show: int = SHOWN,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    cards: bool = True,
) -> ComparedImage:
    """Reconstruct every image with every candidate, and measure the results.

    Args:
        sources: the images. One that cannot be read, or not be reconstructed by a candidate, is skipped for all.
        candidates: one or more.
        perceptual: LPIPS by the name of its backbone.
        protocol: the measurement settings, for the report.
        show: the maximum number of images on the page.
        progress: called with the number of finished images and the total.
        cards: whether VAEs are measured on the built-in test cards, too: 19 images of 256x256 to 256x384 pixels.

    Raises:
        NothingEvaluated: none of the images could be compared.
    """
    tallies = [Tally(each) for each in candidates]
    skipped: list[SkippedImage] = []
    done: list[ImageSource] = []
    with single_threaded_initializer(), closing(measured_images(sources, candidates, perceptual)) as outcomes:
        for number, outcome in enumerate(outcomes, start=1):
            progress(number, len(sources))
            if outcome.done is None:
                skipped.append(SkippedImage(outcome.item.name, str(outcome.error)))
                continue
            done.append(outcome.item)
            for tally, (measured, extra) in zip(tallies, outcome.done, strict=True):
                tally.images.append(MeasuredImage(outcome.item.name, {**measured.measures, **extra}))
                tally.signals.append(measured.signals)
    if not done:
        raise NothingEvaluated(
            f"None of {counted(len(sources), 'image')} could be compared.",
            f"The first failed: {skipped[0].reason}" if skipped else "There were none.",
            "",
        )
    report = build_report(tallies, skipped, protocol, cards)
    return ComparedImage(report, shown_images(choose_items(done, report, show), candidates))


def measured_images(
    sources: Sequence[ImageSource], candidates: Sequence[Candidate], perceptual: Mapping[str, LPIPS]
) -> Generator[Outcome[ImageSource, Results], None, None]:
    """Read, reconstruct and measure; while one image is reconstructed, the next are read.

    If a VAE computes on the CPU, its threads would compete for the cores with those that measure other images: ten
    images took 52 s in parallel and 47 s sequentially. Otherwise images are measured in parallel.
    """
    sequential = any(each.on_cpu for each in candidates)

    def run(source: ImageSource, image: LoadedImage) -> Callable[[], Results]:
        if min(image.height, image.width) < SMALLEST:
            raise BadItem(
                f"{source.name} has {image.width}x{image.height} pixels.",
                f"Expected at least {SMALLEST} pixels on each side.",
                "",
            )
        original, reconstructions = reconstruct_all(source.name, image, candidates)
        measuring = partial(measure_all, original, reconstructions, perceptual)
        if not sequential:
            return measuring
        results = measuring()
        return lambda: results

    steps = Stages(
        lambda source: source.read(), run, lambda _, measuring: measuring(), lambda image: image.height * image.width
    )
    return run_pipeline(sources, steps, VaekitError, MAX_PIXELS)


def reconstruct_all(
    name: str, image: LoadedImage, candidates: Sequence[Candidate]
) -> tuple[LoadedImage, list[Reconstruction]]:
    """Reconstruct an image with every candidate.

    If one of them reconstructs transparency, all are compared over white, and the others get the image over white.

    Returns:
        The image that reconstructions are compared with, and the reconstructions.
    """
    with_alpha = [isinstance(each, VAECandidate) and each.takes_alpha for each in candidates]
    opaque = image
    if image.alpha is not None and any(with_alpha):
        opaque = replace(image, pixels=over_white(image.pixels, image.alpha), alpha=None)
    return opaque, [
        each.reconstruct(name, image if transparent else opaque)
        for each, transparent in zip(candidates, with_alpha, strict=True)
    ]


def measure_all(image: LoadedImage, results: Sequence[Reconstruction], perceptual: Mapping[str, LPIPS]) -> Results:
    """Measure all reconstructions of one image."""
    original = Original(as_saved(image.pixels))
    return [(measure_image(original, each.pixels, perceptual), each.measures) for each in results]


def build_report(
    tallies: Sequence[Tally],
    skipped: Sequence[SkippedImage],
    protocol: Mapping[str, Any],
    cards: bool = True,
    subject: Subject = IMAGES,
) -> Report:
    """Collect the measurements of all items in a report, the best candidate first."""
    comparisons = tuple(compared(tallies))
    values = {tally.candidate.name: {name: tally.values(name) for name in subject.headlines} for tally in tallies}
    order = ranked(values, subject)
    by_name = {tally.candidate.name: tally for tally in tallies}
    measures = {name: estimates(tally, cards) for name, tally in by_name.items()}
    measured = []
    for rank, name in enumerate(order, start=1):
        tally = by_name[name]
        defects = find_defects(tally.signals)
        measured.append(
            MeasuredCandidate(
                name,
                rank,
                reason_for(name, order, measures, comparisons, subject),
                verdict(measures[name], defects),
                defects,
                measures[name],
                tuple(tally.images),
                tally.candidate.about(),
            )
        )
    names = {name for each in measured for name in each.measures}
    known = tuple(measure for measure in subject.measures if measure.name in names)
    described = {**protocol, subject.items: len(tallies[0].images), "skipped": len(skipped)}
    nouns = (subject.item, subject.items)
    return Report(tuple(measured), comparisons, known, tuple(skipped), described, *nouns, subject is IMAGES)


def estimates(tally: Tally, cards: bool) -> dict[str, Estimate]:
    """Means over images with confidence intervals, and measures over all images and on the test cards."""
    names = dict.fromkeys(name for one in tally.images for name in one.measures)
    result = {}
    for name in names:
        values = [value for value in tally.values(name) if math.isfinite(value)]
        if len(values) > 1:
            interval = mean_interval(values)
            result[name] = Estimate(interval.mean, interval.low, interval.high)
        elif values:
            result[name] = Estimate(values[0])
    overall = dict(tally.candidate.overall())
    if cards and isinstance(tally.candidate, VAECandidate):
        overall |= card_measures(tally.candidate)
    return result | {name: Estimate(value) for name, value in overall.items() if math.isfinite(value)}


def compared(tallies: Sequence[Tally]) -> Iterator[Comparison]:
    """Compare each pair of candidates in each measure that both have for at least two images."""
    for i, first in enumerate(tallies):
        for second in tallies[i + 1 :]:
            for name in dict.fromkeys(name for one in first.images for name in one.measures):
                pairs = [
                    (a, b)
                    for a, b in zip(first.values(name), second.values(name), strict=True)
                    if math.isfinite(a) and math.isfinite(b)
                ]
                if len(pairs) > 1:
                    paired = paired_difference(*zip(*pairs, strict=True))
                    difference = paired.difference
                    yield Comparison(
                        name,
                        first.candidate.name,
                        second.candidate.name,
                        difference.mean,
                        difference.low,
                        difference.high,
                        paired.p,
                        len(pairs),
                    )


Source = TypeVar("Source")


def choose_items(
    done: Sequence[Source], report: Report, show: int, subject: Subject = IMAGES
) -> list[tuple[Source, str]]:
    """The items for the page with reasons: the worst, those where candidates differ most, then typical ones."""
    known = (name for name in subject.chosen_by if name in report.candidates[0].measures)
    measure = next(known, subject.chosen_by[-1])
    title = next((each.title for each in report.measures if each.name == measure), measure)
    columns = [[one.measures.get(measure, math.nan) for one in each.images] for each in report.candidates]
    rows = [[value for value in values if math.isfinite(value)] for values in zip(*columns, strict=True)]
    error = [statistics.fmean(row) if row else -math.inf for row in rows]
    spread = [max(row) - min(row) if row else -math.inf for row in rows]
    worst_first = sorted(range(len(done)), key=lambda i: -error[i])
    typical = worst_first[len(worst_first) // 2]
    choices = [(worst_first[0], f"worst {title}")]
    if len(report.candidates) > 1:
        apart = max(range(len(done)), key=lambda i: spread[i])
        choices.append((apart, f"largest difference of {title} between candidates"))
    choices += [(typical, f"median {title}"), (worst_first[-1], f"best {title}")]
    choices += [(i, f"rank {place} by {title}, worst first") for place, i in enumerate(worst_first, start=1)]
    picked: dict[int, str] = {}
    for i, why in choices:
        if len(picked) < show:
            picked.setdefault(i, why)
    return [(done[i], why) for i, why in picked.items()]


def shown_images(picked: Sequence[tuple[ImageSource, str]], candidates: Sequence[Candidate]) -> Iterator[ShownImage]:
    """Reconstruct the chosen images again, lazily. An image that cannot be read any more is skipped."""
    for source, why in picked:
        try:
            image, results = reconstruct_all(source.name, source.read(), candidates)
            reconstructions = {each.name: as_saved(one.pixels) for each, one in zip(candidates, results, strict=True)}
        except VaekitError:
            continue
        yield ShownImage(source.name, as_saved(image.pixels), reconstructions, why)

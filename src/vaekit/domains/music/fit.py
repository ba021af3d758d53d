"""The schema and the training data of pieces of music."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.datasets.choose import split_held_out
from vaekit.datasets.dataset import Splits
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.music.excerpts import DRUMS, HOLD, Excerpt
from vaekit.domains.music.schema import MOST_LENGTH, MusicSchema
from vaekit.domains.music.settings import MusicSettings
from vaekit.domains.music.windows import windows
from vaekit.domains.record_tensors import tensor_of, tensors_of
from vaekit.domains.token_source import stored
from vaekit.errors import NoTrainingData, counted
from vaekit.training.data import Source, TrainingData, describe_data

NO_EXCERPTS = "No excerpt of the music can be trained on."


def fit(settings: MusicSettings, excerpts: Sequence[Excerpt], others: Sequence[Excerpt] = ()) -> MusicSchema:
    """The schema of excerpts.

    Args:
        settings: of the recipe.
        excerpts: to train on.
        others: held-out whole pieces, for which there must be room.

    Raises:
        NoTrainingData: there are none, or they are too long.
    """
    counts = Counter(excerpt.meter for excerpt in excerpts if not settings.meters or excerpt.meter in settings.meters)
    kept = [excerpt for excerpt in excerpts if excerpt.meter in counts]
    if not settings.bars:
        kept = [excerpt for excerpt in kept if len(excerpt.steps) * settings.line_voices + 2 <= settings.length]
    values = {value for excerpt in kept for step in excerpt.steps for value in step}
    pitches = [value for value in values if value >= 0]
    if not pitches:
        meters = f" in {', '.join(settings.meters)}" if settings.meters else ""
        raise NoTrainingData(
            NO_EXCERPTS,
            f"Expected music of the kind {settings.kind}{meters}.",
            "Check data.kind, data.bars, data.steps and data.meters.",
        )
    lengths = [
        len(excerpt.steps) for excerpt in others if len(excerpt.steps) * settings.line_voices + 2 <= settings.length
    ]
    length = (
        max(*(len(excerpt.steps) for excerpt in kept), *lengths, 0) * settings.line_voices + int(len(counts) > 1) + 1
    )
    if length > MOST_LENGTH:
        raise NoTrainingData(
            f"Items have {length:,} tokens.",
            f"Expected at most {MOST_LENGTH:,}.",
            "Take fewer bars, steps or voices.",
        )
    drums = settings.kind == DRUMS
    return MusicSchema(
        kind=settings.kind,
        bars=settings.bars,
        per_quarter=settings.steps,
        voices=settings.line_voices,
        length=length,
        meters=tuple(meter for meter, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))),
        tempo=round(median(excerpt.tempo for excerpt in kept), 3),
        low=0 if drums else max(min(pitches) - settings.transpose, 0),
        high=127 if drums else min(max(pitches) + settings.transpose, 127),
        hits=tuple(sorted(values - {HOLD} | {0})) if drums else (),
    )


@dataclass(frozen=True, eq=False)
class Transposing:
    """Sequences of tokens as a source of training data, transposed by random intervals."""

    stored: NDArray[np.integer]
    """(n, length)."""
    schema: MusicSchema
    most: int
    """Semitones."""

    def __len__(self) -> int:
        return len(self.stored)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        x = torch.from_numpy(self.stored[items.numpy()].astype(np.int64))
        if not self.most:
            return x
        generator = torch.Generator().manual_seed(seed)
        return self.schema.transposed(x, torch.randint(-self.most, self.most + 1, (len(x),), generator=generator))


def schema_of(settings: MusicSettings, splits: Splits, log: SkipLog) -> MusicSchema:
    """The schema of the pieces to train on.

    Raises:
        NoTrainingData: see `fit`.
    """
    kept, apart = split_held_out(splits, settings.held_out, "pieces")
    data = windows(splits.train, kept.tolist(), settings.cut, log)
    excerpts = data.excerpts()
    if not excerpts and data.first_reason:
        raise NoTrainingData(NO_EXCERPTS, data.first_reason, "")
    held_out = splits.train if splits.test is None else splits.test
    others = [] if settings.bars else windows(held_out, apart.tolist(), settings.cut, SkipLog()).excerpts()
    return fit(settings, excerpts, others)


def training_data(settings: MusicSettings, splits: Splits, schema: MusicSchema, log: SkipLog) -> TrainingData:
    """Excerpts of some pieces to train on, and those of the others. No piece is on both sides.

    Raises:
        NoTrainingData: there are none to train on.
    """
    kept, apart = split_held_out(splits, settings.held_out, "pieces")
    data = windows(splits.train, kept.tolist(), settings.cut, SkipLog())
    parts = tensors_of(data, np.arange(len(data)), schema, log)
    source: Source[Tensor] = Transposing(stored(parts, schema.length, schema.table.size), schema, settings.transpose)
    if not len(source):
        raise NoTrainingData(NO_EXCERPTS, next(iter(log.reasons.values()), ""), "")
    others = splits.train if splits.test is None else splits.test
    held = windows(others, apart.tolist(), settings.held_out_cut, SkipLog())
    evaluated = tensor_of(held, np.arange(len(held)), schema, log)
    if log.reasons:
        log.say(f"Skipped {len(log.reasons):,} of {counted(len(data) + len(held), 'excerpt')}.")
    log.write()
    return TrainingData(source, evaluated if len(evaluated) else None, describe_data(splits, len(evaluated)))

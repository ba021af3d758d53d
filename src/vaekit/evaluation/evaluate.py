"""Run a VAE over data and measure the results: in order, in batches, with constant memory."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.errors import NothingEvaluated, VaekitError
from vaekit.evaluation.journal import RESULT, Batch, Item, Journal, opened
from vaekit.evaluation.measures import ItemMeasure, Pool, PooledMeasure, Result
from vaekit.evaluation.protocol import SAMPLE, Protocol
from vaekit.evaluation.vae_pass import VAEPass, VAERunner
from vaekit.json import dumps
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import RunningMean
from vaekit.pipeline import Outcome, Stages, run_pipeline

NUMBERS = 2**22
"""In the items of one batch at most, beyond a single one: 5 images of 768x512, 21 of 256x256."""
ROOM = 2**26
"""Numbers of items that may be read ahead."""
MEASURE_FIELDS = ("title", "unit", "better", "about")
"""Of each measure, in the JSON of an evaluation."""


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """Items by name."""

    names: Sequence[str]
    """In the order in which they are measured."""
    read: Callable[[str], Tensor]
    """An item without a batch axis; called from several threads. VaekitError for one that cannot be read."""


@dataclass(frozen=True, eq=False)
class Measures:
    """What is to be measured."""

    items: tuple[ItemMeasure, ...] = ()
    pooled: tuple[PooledMeasure, ...] = ()

    def settings(self) -> dict[str, dict[str, Any]]:
        """For the protocol: of each measure, under the name of its first number."""
        singles = {
            measure.quantities[0].name: {"numbers": [each.name for each in measure.quantities], **measure.settings}
            for measure in self.items
        }
        return singles | {measure.name: dict(measure.settings) for measure in self.pooled}

    @property
    def quantities(self) -> list[Measure]:
        """Of single items."""
        return [quantity for measure in self.items for quantity in measure.quantities]


@dataclass(frozen=True)
class Evaluation:
    """What was found."""

    protocol: Protocol
    results: tuple[Result, ...]
    not_measured: Mapping[str, str]
    """Name to reason."""
    warnings: tuple[str, ...]
    measured: int
    """Items that were measured."""
    skipped: tuple[Item, ...]
    """Items that could not be."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """What rounding may depend on beside the protocol: processor, threads."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; `vaekit.json` writes them, non-finite ones included."""
        results = {}
        for result in self.results:
            values = {name: value for name, value in vars(result).items() if name != "quantity"}
            results[result.quantity.name] = values | {name: getattr(result.quantity, name) for name in MEASURE_FIELDS}
        return {
            "protocol": self.protocol.as_json(),
            "environment": dict(self.environment),
            "results": results,
            "not_measured": dict(self.not_measured),
            "warnings": list(self.warnings),
            "measured": self.measured,
            "skipped": [{"name": item.name, "reason": item.error} for item in self.skipped],
        }


@dataclass(eq=False)
class Tally:
    """What is known of all items so far."""

    measures: Measures
    means: dict[str, RunningMean] = field(init=False)
    pools: dict[str, Pool] = field(init=False)
    measured: int = 0
    skipped: list[Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.means = {quantity.name: RunningMean() for quantity in self.measures.quantities}
        self.pools = {measure.name: measure.pool() for measure in self.measures.pooled}

    @property
    def seen(self) -> int:
        return self.measured + len(self.skipped)

    def add(self, batch: Batch) -> None:
        """Take what was found about a batch, now or by an earlier run."""
        for item in batch.items:
            if item.error is not None:
                self.skipped.append(item)
                continue
            self.measured += 1
            for name, value in item.values.items():
                self.means[name].add(value)
        for name, rows in batch.rows.items():
            self.pools[name].add(rows)

    def evaluation(
        self, protocol: Protocol, not_measured: Mapping[str, str], environment: Mapping[str, Any]
    ) -> Evaluation:
        """The final numbers.

        Raises:
            NothingEvaluated: every item was skipped.
        """
        if not self.measured:
            reason = f" The first: {self.skipped[0].error}" if self.skipped else ""
            raise NothingEvaluated(f"None of {len(self.skipped)} items could be measured.{reason}", "", "")
        singles = [result(quantity, self.means[quantity.name]) for quantity in self.measures.quantities]
        together = [pool.together() for pool in self.pools.values()]
        return Evaluation(
            protocol,
            (*singles, *(result for found in together for result in found.results)),
            {**not_measured, **{name: why for found in together for name, why in found.not_measured.items()}},
            tuple(warning for found in together for warning in found.warnings),
            self.measured,
            tuple(self.skipped),
            environment,
        )


def result(quantity: Measure, mean: RunningMean) -> Result:
    """The mean over items as a result; NaN where no value was finite."""
    if mean.interval is None:
        value = mean.mean if mean.count else math.nan
        return Result(quantity, value, count=mean.count, not_finite=mean.not_finite)
    interval = mean.interval
    return Result(quantity, mean.mean, mean.standard_error, interval.low, interval.high, mean.count, mean.not_finite)


def no_progress(_done: int, _total: int) -> None:
    """Show no progress."""


def evaluate(
    runs: VAERunner,
    data: EvaluationData,
    measures: Measures,
    protocol: Protocol,
    out: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    not_measured: Mapping[str, str] | None = None,
    environment: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = no_progress,
) -> Evaluation:
    """Measure what a VAE makes of data.

    With a folder, what was found is kept there batch by batch, and the same call after an interruption goes on: its
    final numbers are those of an uninterrupted run, to the last bit where the VAE and the measures repeat themselves.
    `evaluation.json` appears there at the end.

    Args:
        runs: the VAE.
        data: the items. The next are read while the VAE runs.
        measures: what to measure.
        protocol: how; latents, seed and batch are taken from it, the rest is written down.
        out: the folder; None keeps nothing.
        device: where items are put before the VAE sees them.
        not_measured: what is left out from the start, and why.
        environment: what rounding may depend on, to be told beside the numbers.
        progress: called with the items done and all of them.

    Raises:
        NothingEvaluated: no item could be measured.
        ProtocolChanged: the folder holds an evaluation of another protocol.
        CannotWrite: the folder cannot be written.
    """
    tally = Tally(measures)
    with opened(out, protocol) if out is not None else nullcontext() as journal:
        if journal is not None:
            for batch in journal.batches():
                tally.add(batch)
        progress(tally.seen, len(data.names))
        _go_on(runs, data, measures, protocol, tally, journal, torch.device(device), progress)
        found = tally.evaluation(protocol, not_measured or {}, environment or {})
        if out is not None:
            write_result(found, out / RESULT)
    return found


def write_result(found: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    with atomic_file(path) as part:
        part.write_text(dumps(found.as_json()) + "\n", "utf-8")


def _go_on(
    runs: VAERunner,
    data: EvaluationData,
    measures: Measures,
    protocol: Protocol,
    tally: Tally,
    journal: Journal | None,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> None:
    """Measure the items that the tally has not seen yet."""

    def seen(names: Sequence[str], x: Tensor) -> VAEPass:
        return VAEPass(tuple(names), x.to(device), runs, protocol.seed, protocol.latents == SAMPLE)

    steps: Stages[str, Tensor, Tensor, Tensor] = Stages(data.read, lambda _, x: x, lambda _, x: x, Tensor.numel)
    left = islice(data.names, tally.seen, None)
    with closing(run_pipeline(left, steps, VaekitError, ROOM)) as outcomes, torch.no_grad():
        for group in grouped(outcomes, protocol.batch):
            batch = measured(group, measures, seen)
            if journal is not None:
                journal.add(batch)
            tally.add(batch)
            progress(tally.seen, len(data.names))


Outcomes = list[Outcome[str, Tensor]]


def grouped(outcomes: Iterator[Outcome[str, Tensor]], most: int) -> Iterator[Outcomes]:
    """Consecutive items in groups: those that can be read have one shape and dtype in a group, are no more than
    `most`, and have no more than `NUMBERS` numbers unless there is one alone.

    A group follows from where it begins, and so is the same for a run that begins there.
    """
    group: Outcomes = []
    whole: list[Tensor] = []
    for outcome in outcomes:
        x = outcome.done
        if x is not None:
            same = not whole or (x.shape == whole[0].shape and x.dtype == whole[0].dtype)
            if not same or len(whole) == most or (whole and (len(whole) + 1) * x.numel() > NUMBERS):
                yield group
                group, whole = [], []
            whole.append(x)
        group.append(outcome)
    if group:
        yield group


def measured(group: Outcomes, measures: Measures, seen: Callable[[Sequence[str], Tensor], VAEPass]) -> Batch:
    """What is found about a group. If it fails as a whole, its items are tried one by one, and those that fail again
    are skipped."""
    whole = [(outcome.item, outcome.done) for outcome in group if outcome.done is not None]
    failed = {outcome.item: outcome.error for outcome in group if outcome.error is not None}
    parts: list[Batch] = []
    if whole:
        try:
            parts = [_numbers(seen([name for name, _ in whole], torch.stack([x for _, x in whole])), measures)]
        except VaekitError:
            for name, x in whole:
                try:
                    parts.append(_numbers(seen([name], x.unsqueeze(0)), measures))
                except VaekitError as error:
                    failed[name] = error
    found = {item.name: item for part in parts for item in part.items}
    items = tuple(
        Item(outcome.item, error=str(failed[outcome.item])) if outcome.item in failed else found[outcome.item]
        for outcome in group
    )
    names = parts[0].rows if parts else ()
    return Batch(items, {name: torch.cat([part.rows[name] for part in parts]) for name in names})


def _numbers(seen: VAEPass, measures: Measures) -> Batch:
    """All that is measured of some items."""
    values: dict[str, list[float]] = {}
    for measure in measures.items:
        values |= {name: each.double().tolist() for name, each in measure.of(seen).items()}
    rows = {measure.name: measure.rows(seen).float().cpu() for measure in measures.pooled}
    items = (Item(name, {key: each[i] for key, each in values.items()}) for i, name in enumerate(seen.names))
    return Batch(tuple(items), rows)

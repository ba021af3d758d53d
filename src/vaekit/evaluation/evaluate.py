"""Run a VAE over data and measure the results: in order, in batches, with constant memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.errors import NothingEvaluated, ProtocolChanged, VaekitError, counted, printable
from vaekit.evaluation.journal import RESULT, Batch, Item, Journal, opened
from vaekit.evaluation.measures import ItemMeasure, Pool, PooledMeasure, Result, result_of
from vaekit.evaluation.protocol import SAMPLE, Protocol
from vaekit.evaluation.vae_pass import VAEPass, VAERunner
from vaekit.json import dumps
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import RunningMean
from vaekit.pipeline import Outcome, Stages, run_pipeline
from vaekit.shards import IN_PROCESS, Runner, Work, run_in_order

BATCH_VALUES = 2**22
"""The maximum number of values of a batch of several items: 5 images of 768x512, 21 of 256x256."""
READ_AHEAD_VALUES = 2**26
"""The maximum number of values of items that are read ahead."""
MEASURE_FIELDS = ("title", "unit", "better", "about")
"""The fields of each measure in the JSON of an evaluation."""


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """Items by name."""

    names: Sequence[str]
    """In the order of measurement."""
    read: Callable[[str], Tensor]
    """Returns an item without a batch axis. Thread-safe. Raises VaekitError if the item cannot be read."""


@dataclass(frozen=True, eq=False)
class Measures:
    """The measures of an evaluation."""

    items: tuple[ItemMeasure, ...] = ()
    pooled: tuple[PooledMeasure, ...] = ()

    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings of each measure, by the name of its first quantity, for the protocol."""
        singles = {
            measure.quantities[0].name: {"numbers": [each.name for each in measure.quantities], **measure.settings}
            for measure in self.items
        }
        return singles | {measure.name: dict(measure.settings) for measure in self.pooled}

    @property
    def quantities(self) -> list[Measure]:
        """The quantities of single items."""
        return [quantity for measure in self.items for quantity in measure.quantities]


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation."""

    protocol: Protocol
    results: tuple[Result, ...]
    not_measured: Mapping[str, str]
    """Reasons, by name of the quantity."""
    warnings: tuple[str, ...]
    measured: int
    """The number of measured items."""
    skipped: tuple[Item, ...]
    """The items that could not be read or measured."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Properties besides the protocol that rounding may depend on: processor, threads."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; `vaekit.json` writes them, non-finite ones included."""
        return {
            "protocol": self.protocol.as_json(),
            "environment": dict(self.environment),
            "results": results_as_json(self.results),
            "not_measured": dict(self.not_measured),
            "warnings": list(self.warnings),
            "measured": self.measured,
            "skipped": [{"name": item.name, "reason": item.error} for item in self.skipped],
        }


def results_as_json(results: Iterable[Result]) -> dict[str, Any]:
    """Results as plain values, by the name of the quantity."""
    return {
        result.quantity.name: {name: value for name, value in vars(result).items() if name != "quantity"}
        | {name: getattr(result.quantity, name) for name in MEASURE_FIELDS}
        for result in results
    }


@dataclass(eq=False)
class Tally:
    """Results accumulated so far."""

    measures: Measures
    means: dict[str, RunningMean] = field(init=False)
    pools: dict[str, Pool] = field(init=False)
    measured: int = 0
    skipped: list[Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.means = {quantity.name: RunningMean() for quantity in self.measures.quantities}
        self.pools = {measure.name: measure.pool() for measure in self.measures.pooled}

    @property
    def done(self) -> int:
        """The number of measured and skipped items."""
        return self.measured + len(self.skipped)

    def add(self, batch: Batch) -> None:
        """Add the results of a batch, from this run or an interrupted one."""
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
        """The final results.

        Raises:
            NothingEvaluated: every item was skipped.
        """
        if not self.measured:
            reason = f" The first: {self.skipped[0].error}" if self.skipped else ""
            raise NothingEvaluated(f"None of {counted(len(self.skipped), 'item')} could be measured.{reason}", "", "")
        singles = [result_of(quantity, self.means[quantity.name]) for quantity in self.measures.quantities]
        pooled = [pool.result() for pool in self.pools.values()]
        return Evaluation(
            protocol,
            (*singles, *(result for each in pooled for result in each.results)),
            {**not_measured, **{name: reason for each in pooled for name, reason in each.not_measured.items()}},
            tuple(warning for each in pooled for warning in each.warnings),
            self.measured,
            tuple(self.skipped),
            environment,
        )


def no_progress(_done: int, _total: int) -> None:
    """Show no progress."""


def evaluate(
    runner: VAERunner,
    data: EvaluationData,
    measures: Measures,
    protocol: Protocol,
    out: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    not_measured: Mapping[str, str] | None = None,
    environment: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = no_progress,
    shards: Runner = IN_PROCESS,
    work: "Work[Group, Batch] | None" = None,
) -> Evaluation:
    """Evaluate a VAE on data.

    With a folder, results are saved there after each batch, and the same call resumes after an interruption: its final
    results are those of an uninterrupted run, bit for bit if VAE and measures are deterministic. `evaluation.json` is
    written at the end.

    Args:
        runner: runs the VAE.
        data: the items. The next ones are read while the VAE runs.
        measures: the measures.
        protocol: the protocol; its latents, seed and batch size are used, the rest is recorded.
        out: the folder; None to save nothing.
        device: of the items.
        not_measured: reasons, by name, for quantities that are not measured.
        environment: properties that rounding may depend on, for the results.
        progress: called with the number of items done and the total.
        shards: measures groups of items, which this process reads and whose values it collects.
        work: makes `measuring` with the same VAE, measures and protocol in the processes of `shards`; None for that of
            this process.

    Raises:
        NothingEvaluated: no item could be measured.
        ProtocolChanged: the folder holds an evaluation of another protocol.
        CannotWrite: the folder cannot be written.
    """
    tally = Tally(measures)
    with opened(out, protocol) if out is not None else nullcontext() as journal:
        if journal is not None:
            add_saved(tally, journal)
        progress(tally.done, len(data.names))
        work = work or Work(lambda: measuring(runner, measures, protocol, device))
        _measure(data, protocol, tally, journal, progress, shards, work)
        evaluation = tally.evaluation(protocol, not_measured or {}, environment or {})
        if out is not None:
            write_result(evaluation, out / RESULT)
    return evaluation


def add_saved(tally: Tally, journal: Journal) -> None:
    """Add the results of an interrupted run.

    Raises:
        ProtocolChanged: they are not those of these measures. A file without checksums may be damaged so.
        CannotWrite: the files cannot be read.
    """
    for batch in journal.batches():
        try:
            tally.add(batch)
        except (KeyError, ValueError, TypeError, IndexError, OverflowError, RuntimeError) as error:
            raise ProtocolChanged(
                f"{journal.folder} holds damaged results: {printable(str(error))}.",
                "Expected those of the same measures.",
                "Choose another folder, or remove it.",
            ) from error


def write_result(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON.

    Raises:
        CannotWrite: e.g. the disk is full.
    """
    with atomic_file(path) as part:
        part.write_text(dumps(evaluation.as_json()) + "\n", "utf-8")


Outcomes = list[Outcome[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Group:
    """Items that are measured at once."""

    outcomes: Outcomes

    def __str__(self) -> str:
        return f"the items {printable(self.outcomes[0].item)} to {printable(self.outcomes[-1].item)}"


def measuring(
    runner: VAERunner, measures: Measures, protocol: Protocol, device: torch.device | str
) -> Callable[[Group], Batch]:
    """The function that measures a group of items; see `evaluate` for the arguments."""

    def make_pass(names: Sequence[str], x: Tensor) -> VAEPass:
        return VAEPass(tuple(names), x.to(device), runner, protocol.seed, protocol.latents == SAMPLE)

    @torch.no_grad()
    def measure(group: Group) -> Batch:
        return measured(group.outcomes, measures, make_pass)

    return measure


def _measure(
    data: EvaluationData,
    protocol: Protocol,
    tally: Tally,
    journal: Journal | None,
    progress: Callable[[int, int], None],
    shards: Runner,
    work: Work[Group, Batch],
) -> None:
    """Measure the items that are not in the tally yet."""
    stages: Stages[str, Tensor, Tensor, Tensor] = Stages(data.read, lambda _, x: x, lambda _, x: x, Tensor.numel)
    remaining = islice(data.names, tally.done, None)
    with closing(run_pipeline(remaining, stages, VaekitError, READ_AHEAD_VALUES)) as outcomes:
        groups = map(Group, grouped(outcomes, protocol.batch))
        with closing(run_in_order(shards, work, groups)) as batches:
            for _, batch in batches:
                if journal is not None:
                    journal.add(batch)
                tally.add(batch)
                progress(tally.done, len(data.names))


def grouped(outcomes: Iterator[Outcome[str, Tensor]], limit: int) -> Iterator[Outcomes]:
    """Consecutive items in groups. The readable items of a group have one shape and dtype, are at most `limit`, and,
    unless there is only one, have at most `BATCH_VALUES` values.

    A group depends on its first item only, so that a resumed run has the same groups.
    """
    group: Outcomes = []
    readable: list[Tensor] = []
    for outcome in outcomes:
        x = outcome.done
        if x is not None:
            same = not readable or (x.shape == readable[0].shape and x.dtype == readable[0].dtype)
            if not same or len(readable) == limit or (readable and (len(readable) + 1) * x.numel() > BATCH_VALUES):
                yield group
                group, readable = [], []
            readable.append(x)
        group.append(outcome)
    if group:
        yield group


def measured(group: Outcomes, measures: Measures, make_pass: Callable[[Sequence[str], Tensor], VAEPass]) -> Batch:
    """The values of a group. If measuring fails, items are measured one by one, and those that fail again are
    skipped."""
    readable = [(outcome.item, outcome.done) for outcome in group if outcome.done is not None]
    failed = {outcome.item: outcome.error for outcome in group if outcome.error is not None}
    parts: list[Batch] = []
    if readable:
        try:
            parts = [
                _values(make_pass([name for name, _ in readable], torch.stack([x for _, x in readable])), measures)
            ]
        except VaekitError:
            for name, x in readable:
                try:
                    parts.append(_values(make_pass([name], x.unsqueeze(0)), measures))
                except VaekitError as error:
                    failed[name] = error
    by_name = {item.name: item for part in parts for item in part.items}
    items = tuple(
        Item(outcome.item, error=str(failed[outcome.item])) if outcome.item in failed else by_name[outcome.item]
        for outcome in group
    )
    names = parts[0].rows if parts else ()
    return Batch(items, {name: torch.cat([part.rows[name] for part in parts]) for name in names})


def _values(vae_pass: VAEPass, measures: Measures) -> Batch:
    """The values and rows of all measures."""
    values: dict[str, list[float]] = {}
    for measure in measures.items:
        values |= {name: each.double().tolist() for name, each in measure.compute(vae_pass).items()}
    rows = {measure.name: measure.rows(vae_pass).float().cpu() for measure in measures.pooled}
    items = (Item(name, {key: each[i] for key, each in values.items()}) for i, name in enumerate(vae_pass.names))
    return Batch(tuple(items), rows)

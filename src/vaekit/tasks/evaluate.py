"""Measure a VAE on data of its domain, under a recorded protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from vaekit.domains.domain import Domain, Schema
from vaekit.domains.find import domain_of
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.unknown_tokens import SHARE, note_on_unknown
from vaekit.evaluation.evaluate import Evaluation, EvaluationData, Group, evaluate, measuring, no_progress
from vaekit.evaluation.journal import Batch
from vaekit.evaluation.latent_space import PATHS, LatentSpace, measure_latent_space
from vaekit.evaluation.protocol import MODE, SAMPLE, Protocol, chosen_names, versions
from vaekit.evaluation.vae_pass import EngineRunner
from vaekit.identification.fingerprint import fingerprint
from vaekit.report.evaluation_page import EvaluationReport, write_evaluation_page
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.shards import IN_PROCESS, InProcess, Runner, Work
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.played_items import played_items
from vaekit.tasks.record import write_record
from vaekit.tasks.same_vae import SameVAE
from vaekit.tasks.sample_evaluation import (
    NO_PRIOR,
    EvaluatedSamples,
    SampleEvaluationOptions,
    comparison_of,
    evaluate_samples,
    shown_pairs,
)
from vaekit.vae import VAE, half_missing

LATENT = "latent"
"""The subfolder with the results of the latent space."""
PAGE, SAMPLES = "evaluation.html", "samples.json"
"""The files with the results about samples."""
SHOWN_SAMPLES, SHOWN_PAIRS = 20, 5
"""Samples on the page, and items with their reconstructions."""


@dataclass(frozen=True)
class EvaluateOptions:
    """How to evaluate, beside the plan."""

    measure: MeasureOptions = field(default_factory=MeasureOptions)
    sampled: bool = False
    """Decode a sample of the posterior instead of its mode."""
    limit: int | None = None
    """The maximum number of items."""
    batch: int = 16
    """Items of one shape that go through at once."""
    latent: bool = False
    """Also measure the latent space."""
    paths: int = PATHS
    """The number of items whose paths and equivariance are measured."""
    samples: int | None = None
    """Samples of the VAE that are compared with the data, in domains that have measures of them; 0 for none, None for
    1,000."""
    trained_on: Path | None = None
    """The data that the VAE was trained on, to which samples should be new."""


@dataclass(frozen=True)
class EvaluateResult:
    """The measured values."""

    evaluation: Evaluation
    item: str
    """Noun for an item."""
    items: str
    """Its plural."""
    notes: Sequence[str]
    """How the VAE was run, where that was not as planned."""
    latent: LatentSpace | None = None
    """The measures of the latent space, if they were requested."""
    samples: EvaluatedSamples | None = None
    """Samples and their measures, in domains that have them."""
    page: Path | None = None
    """An HTML page with these, if there is a folder, and the domain has samples or sounds to show."""


def evaluate_data(
    vae: VAE,
    plan: Plan,
    data: Path,
    options: EvaluateOptions = EvaluateOptions(),
    out: Path | None = None,
    progress: Callable[[int, int], None] = no_progress,
    runner: Runner = IN_PROCESS,
    source: ModelOptions | None = None,
) -> EvaluateResult:
    """Measure a VAE on data of its domain.

    Args:
        vae: from a file, whose metadata hold domain and schema.
        plan: how to run it.
        data: items, as the domain finds them.
        options: how to evaluate.
        out: a folder to keep results in, to go on after an interruption; None keeps nothing.
        progress: called with the number of items that were measured, and of all.
        runner: measures items. Samples and the latent space are measured in this process.
        source: what the VAE was loaded from, with which the workers of a runner load it; None to send them its weights.

    Raises:
        NotFound, NoTrainingData: there are no items.
        HalfMissing: the VAE lacks its encoder or its decoder.
        NothingEvaluated, ProtocolChanged, CannotWrite: as `evaluate` does.
        UnknownDomain, BadCheckpoint: the VAE is of a domain that vaekit does not know, or its schema is damaged.
    """
    for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if getattr(vae, half) is None:
            raise half_missing(half, other)
    domain, schema = domain_of(vae)
    device, measure = plan.torch_device, options.measure
    wanted = SampleEvaluationOptions(options.samples, options.trained_on, measure.seed)
    compare = comparison_of(domain, data, schema, wanted)
    measures, missing = domain.measures(vae, schema, measure, device)
    items = domain.evaluation_items(data, vae, schema, measure)
    names = chosen_names(items.names, options.limit, measure.seed)
    vae_runner, notes = domain.runner(vae, plan)
    protocol = Protocol(
        vae=fingerprint(vae),
        data=items.digest(names),
        items=len(names),
        chosen="all"
        if len(names) == len(items.names)
        else f"{len(names)} of {len(items.names)}, by hash with the seed",
        preparation=items.preparation,
        latents=SAMPLE if options.sampled else MODE,
        seed=measure.seed,
        run={"device": device.type, "dtype": plan.dtype, "backend": plan.backend, "memory": plan.budget},
        batch=options.batch,
        measures=measures.settings(),
        versions=versions(domain.computing),
    )
    data_items = EvaluationData(names, items.read)
    work = None
    if not isinstance(runner, InProcess):
        work = Work(partial(start_measuring, SameVAE(vae, source), plan, absolute(measure), protocol))
    evaluation = evaluate(
        vae_runner,
        data_items,
        measures,
        protocol,
        out,
        device=device,
        not_measured=missing,
        environment={"threads": torch.get_num_threads(), "processor": torch.backends.cpu.get_cpu_capability()},
        progress=progress,
        shards=runner,
        work=work,
    )
    latent = None
    if options.latent:
        latent = latent_space(vae, plan, domain, schema, data_items, options, protocol, out, progress)
    samples, report, remarks = None, None, (*notes(), *note_on_tokens(evaluation, domain))
    if compare is not None:
        engine = Engine(vae, replace(plan, batch_size=max(plan.batch_size, domain.batch_size)))
        samples = evaluate_samples(engine, domain, schema, compare, wanted, progress)
        remarks = remarks if samples else (*remarks, f"Samples are not evaluated. {NO_PRIOR}")
        if samples is not None and out is not None:
            write_record(out / SAMPLES, samples.as_json())
            report = report_with_samples(evaluation, samples, engine, domain, schema, data_items)
    if out is not None and domain.listen is not None:
        played = played_items(
            evaluation, out, items.read, vae_runner, schema, domain.listen, measures.items[0].quantities
        )
        report = replace(report or EvaluationReport(domain.item, domain.items, evaluation), played=played)
    page = None
    if out is not None and report is not None:
        page = out / PAGE
        write_evaluation_page(report, page)
    return EvaluateResult(evaluation, domain.item, domain.items, remarks, latent, samples, page)


def note_on_tokens(evaluation: Evaluation, domain: Domain) -> tuple[str, ...]:
    """Whether the VAE knows few tokens of the items."""
    shares = [each.value / 100 for each in evaluation.results if each.quantity.name == SHARE]
    return note_on_unknown(shares[0], domain.items) if shares else ()


def start_measuring(same: SameVAE, plan: Plan, options: MeasureOptions, protocol: Protocol) -> Callable[[Group], Batch]:
    """The function that measures a group of items, in any process."""
    vae = same.vae
    domain, schema = domain_of(vae)
    measures, _ = domain.measures(vae, schema, options, plan.torch_device)
    return measuring(domain.runner(vae, plan)[0], measures, protocol, plan.torch_device)


def absolute(options: MeasureOptions) -> MeasureOptions:
    """The same options in any working directory."""
    paths = {name: path.absolute() for name in ("features", "lpips") if (path := getattr(options, name)) is not None}
    return replace(options, **paths)


def report_with_samples(
    evaluation: Evaluation,
    samples: EvaluatedSamples,
    engine: Engine,
    domain: Domain,
    schema: Schema,
    data: EvaluationData,
) -> EvaluationReport:
    """The results, some samples, and some items with their reconstructions."""
    skipped = {item.name for item in evaluation.skipped}
    names = [name for name in data.names if name not in skipped][:SHOWN_PAIRS]
    return EvaluationReport(
        domain.item,
        domain.items,
        evaluation,
        len(samples.x),
        samples.quality,
        domain.preview(schema.to_items(samples.x[:SHOWN_SAMPLES])),
        shown_pairs(engine, domain, schema, [data.read(name) for name in names]),
    )


def latent_space(
    vae: VAE,
    plan: Plan,
    domain: Domain,
    schema: Schema,
    data: EvaluationData,
    options: EvaluateOptions,
    protocol: Protocol,
    out: Path | None,
    progress: Callable[[int, int], None],
) -> LatentSpace:
    """Measure the latent space on the items of an evaluation, in the folder `latent` of its results; decoded items are
    not rounded."""
    engine = Engine(vae, replace(plan, batch_size=max(plan.batch_size, domain.batch_size)))
    return measure_latent_space(
        vae,
        EngineRunner(engine),
        data,
        domain.perception(schema, options.measure, plan.torch_device),
        protocol,
        None if out is None else out / LATENT,
        device=plan.torch_device,
        progress=progress,
        paths=options.paths,
    )

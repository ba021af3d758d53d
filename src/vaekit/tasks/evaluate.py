"""Measure a VAE on data of its domain, under a recorded protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vaekit.domains.domain import MeasureOptions
from vaekit.domains.find import domain_of
from vaekit.evaluation.evaluate import Evaluation, EvaluationData, evaluate, no_progress
from vaekit.evaluation.protocol import MODE, SAMPLE, Protocol, chosen_names, versions
from vaekit.identification.fingerprint import fingerprint
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE, half_missing


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


@dataclass(frozen=True)
class EvaluateResult:
    """The measured values."""

    evaluation: Evaluation
    items: str
    """Plural noun for the items."""
    notes: Sequence[str]
    """How the VAE was run, where that was not as planned."""


def evaluate_data(
    vae: VAE,
    plan: Plan,
    data: Path,
    options: EvaluateOptions = EvaluateOptions(),
    out: Path | None = None,
    progress: Callable[[int, int], None] = no_progress,
) -> EvaluateResult:
    """Measure a VAE on data of its domain.

    Args:
        vae: from a file, which tells the domain and the schema.
        plan: how to run it.
        data: items, as the domain finds them.
        options: how to evaluate.
        out: a folder to keep results in, to go on after an interruption; None keeps nothing.
        progress: called with the number of items that were measured, and of all.

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
    measures, missing = domain.measures(vae, schema, measure, device)
    items = domain.evaluation_items(data, vae, schema, measure)
    names = chosen_names(items.names, options.limit, measure.seed)
    runner, notes = domain.runner(vae, plan)
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
    evaluation = evaluate(
        runner,
        EvaluationData(names, items.read),
        measures,
        protocol,
        out,
        device=device,
        not_measured=missing,
        environment={"threads": torch.get_num_threads(), "processor": torch.backends.cpu.get_cpu_capability()},
        progress=progress,
    )
    return EvaluateResult(evaluation, domain.items, tuple(notes()))

"""Optimise items: walk in latent space towards more or less of a property, within bounds, and decode the results."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from vaekit.errors import BadPlan, printable
from vaekit.json import plain
from vaekit.pipeline import Stages
from vaekit.tasks.batch import Progress, no_progress, output_paths, run_files
from vaekit.tasks.judged_search import JudgedSearch
from vaekit.tasks.latent_reference import references
from vaekit.tasks.latent_walk import CMA_ES, GRADIENT, Goal
from vaekit.tasks.model import OpenModel
from vaekit.tasks.optimisation import Optimisation
from vaekit.tasks.optimised import AUTO, Optimised, OptimiseOptions
from vaekit.tasks.property import property_of
from vaekit.tasks.record import write_record
from vaekit.vae import half_missing

NAME = "optimised"
"""The name of the record."""
METHODS = (AUTO, GRADIENT, CMA_ES)
MOST_STEPS = 100_000
LOW = 0.4
"""A similarity below which two items are different ones: for molecules, the usual minimum of constrained optimization
(Jin et al. 2018, arXiv 1802.04364)."""
FARTHEST = 1000
"""Distance in standard deviations."""


def optimise(
    model: OpenModel,
    paths: Sequence[Path],
    out: Path,
    options: OptimiseOptions,
    side_by_side: bool = False,
    progress: Progress = no_progress,
) -> Optimised:
    """Optimise a property of items, and write the results into a folder, with a record for repeating the call.

    There is one output for each file, named as that of `reconstruct`.

    Args:
        model: the VAE.
        paths: files of items, or folders of them.
        out: the folder; it is created with the first result.
        options: what is optimised, within which bounds, and how.
        side_by_side: also write each original and its result beside each other.
        progress: called with the number of finished steps and of all, over all files.

    Raises:
        NotFound: a file does not exist, or there is no such property.
        BadPlan: an option has a value that does not exist, or the property has no gradient.
        HalfMissing: the VAE has no encoder or no decoder.
        CannotWrite: a result would overwrite an input.
    """
    goal = goal_of(model, options)
    search = search_of(model, goal, options, progress)
    inputs = list(dict.fromkeys(model.items.find(paths)))
    outputs = output_paths(inputs, out, model.domain.ending, side_by_side)
    reference = references(model, options.data, options.seed, progress)
    run = Optimisation(model, goal, search, options, reference, outputs, side_by_side, progress)
    stages = Stages(
        lambda path: model.domain.read(path, model.schema),
        run.file,
        lambda _, done: done,
        lambda loaded: loaded.x.numel(),
    )
    batch = run_files(inputs, stages)
    record = {
        "vae": model.identity,
        "files": [str(path) for path in inputs],
        **asdict(options),
        "data": None if options.data is None else str(options.data),
        "function": None if goal.wanted.function is None else goal.wanted.function.digest,
        "goal": str(goal),
        "method": run.method,
        "estimate": None if search is None or search.estimate is None else search.estimate.quality,
        "results": plain(
            [{"file": str(each.file), "reference": each.reference, "items": each.items} for each in batch.results]
        ),
    }
    written = write_record(out / f"{NAME}.json", record)
    notes = () if search is None else (*search.notes, *search.notes_on_estimate)
    result = Optimised(
        batch,
        written,
        goal.wanted.name,
        str(goal),
        run.method,
        None if search is None or search.measure_of_similarity is None else search.measure_of_similarity.name,
        None if search is None or search.estimate is None else f"{search.estimate.source}: {search.estimate.quality}",
        notes,
    )
    return result if options.similarity is not None else replace(result, notes=(*notes, *notes_on_similarity(result)))


def notes_on_similarity(result: Optimised) -> list[str]:
    """Whether results that were not bound to be similar to their items are others."""
    median = result.median_similarity()
    if median is None or median >= LOW:
        return []
    return [
        f"Results are not similar to the items: the median {result.similarity} is {median:.2f}. "
        f"--similarity {LOW:g} sets a minimum."
    ]


def search_of(model: OpenModel, goal: Goal, options: OptimiseOptions, progress: Progress) -> JudgedSearch | None:
    """The search that decodes and judges candidates, where it is needed: for properties without a gradient of discrete
    items, for estimates from labels, and with a minimum similarity. None for others.

    Raises:
        BadPlan, NotFound, NoTrainingData, BadItem: see `JudgedSearch.check`.
    """
    discrete = not model.schema.example().is_floating_point()
    judged = goal.wanted.gradient is None and (discrete or goal.wanted.column is not None)
    if not judged and options.similarity is None:
        return None
    search = JudgedSearch(model, goal, options.data, options.seed, options.similarity, progress)
    search.check()
    return search


def goal_of(model: OpenModel, options: OptimiseOptions) -> Goal:
    """Check options, and find the property.

    Raises:
        BadPlan, NotFound, HalfMissing: see `optimise`.
    """
    for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if getattr(model.engine.vae, half) is None:
            raise half_missing(half, other)
    if options.method not in METHODS:
        raise BadPlan(f"There is no method {printable(repr(options.method))}.", f"Expected {', '.join(METHODS)}.", "")
    if options.steps is not None and not 1 <= options.steps <= MOST_STEPS:
        raise BadPlan(f"There are {options.steps:,} steps.", f"Expected 1 to {MOST_STEPS:,}.", "")
    if not 0 < options.within <= FARTHEST:
        raise BadPlan(
            f"The distance is {options.within:g} standard deviations.", f"Expected more than 0, up to {FARTHEST:,}.", ""
        )
    if not 0 <= options.density < 1:
        raise BadPlan(f"The density is {options.density:g}.", "Expected a share from 0 to below 1.", "0 is no limit.")
    if options.path is not None and not 0 <= options.path <= MOST_STEPS:
        raise BadPlan(f"There are {options.path:,} items in a path.", f"Expected 0 to {MOST_STEPS:,}.", "")
    name = options.property.removeprefix("-")
    minimise = options.minimise or name != options.property
    if options.target is not None and (minimise or not math.isfinite(options.target)):
        found = "minimised and has a target" if minimise else f"to come close to {options.target:g}"
        raise BadPlan(f"The property {printable(name)} is {found}.", "Expected a finite target, or none.", "")
    found_property = property_of(model.domain, model.schema, name, options.data)
    continuous = model.schema.example().is_floating_point()
    if options.method == GRADIENT and found_property.function is not None and continuous:
        raise BadPlan(
            f"The function {name} has no gradient.", f"Expected the method {CMA_ES} for it.", "Leave out --method."
        )
    return Goal(found_property, -1 if minimise else 1, options.target)

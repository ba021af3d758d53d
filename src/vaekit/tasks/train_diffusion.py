"""Train a diffusion model on the latents of a VAE, or on items themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch

from vaekit.checkpoints.save import save
from vaekit.datasets.choose import split_held_out
from vaekit.datasets.skip_log import SkipLog
from vaekit.diffusion.batches import LatentBatch, LatentsInMemory, channel_statistics
from vaekit.diffusion.files import RESULT, DiffusionFacts, DiffusionFile, notes_of, save_diffusion
from vaekit.diffusion.model import DiffusionModel
from vaekit.diffusion.objective import validate_flow
from vaekit.diffusion.recipe import (
    DiffusionSettings,
    diffusion_settings,
    flow_matching,
    model_config,
    net_config,
)
from vaekit.domains.find import domain_named
from vaekit.errors import BadRecipe, TrainingStopped, printable
from vaekit.identification.metadata import domain_notes
from vaekit.run_folder import RESULT as VAE_FILE
from vaekit.run_folder import SKIPPED
from vaekit.tasks.batch import Progress
from vaekit.tasks.diffusion_conditions import Conditions, fit_conditions
from vaekit.tasks.encode_training_data import encode_records
from vaekit.tasks.latent_space import EncodedSpace, LatentSpace, encoded_space, item_space
from vaekit.tasks.options import ModelOptions
from vaekit.training.data import Stream, describe_data
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe, table_or_empty
from vaekit.training.run import Run

EXAMPLES = 8
"""Raw latents that are kept in the file of a model."""
ENCODED, ITEMS = "encoded", "none"
"""The values of `vae.kind`."""
IMAGE_DIMS = 4
"""Axes of a batch of images."""
LatentRun = Run[DiffusionModel, LatentBatch]


@dataclass(frozen=True, eq=False)
class PreparedDiffusion:
    """A run, with the space of its latents."""

    run: LatentRun
    space: LatentSpace
    facts: DiffusionFacts


@dataclass(frozen=True, eq=False)
class LatentData:
    """Encoded training data with conditions."""

    source: LatentsInMemory
    held_out: LatentBatch | None
    conditions: Conditions
    description: Mapping[str, Any]


def prepare_diffusion(
    recipe: Recipe,
    data: Path,
    folder: Path,
    seed: int,
    vae: ModelOptions | None,
    device: torch.device,
    processes: ProcessGroup,
    say: Callable[[str], None] = lambda _: None,
    encoding: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> PreparedDiffusion:
    """Prepare a run: encode the data. Nothing is written.

    Args:
        recipe: a diffusion recipe.
        data: a path; see `open_dataset`.
        folder: of the run.
        seed: of all randomness.
        vae: the VAE; None for a recipe of items themselves.
        device, processes: the device of this process, and all processes.
        say: called with messages about the data.
        encoding: called with the number of encoded items and of all.
        stop: returns True to end.

    Raises:
        NotFound, NoTrainingData, MissingPackage: the data cannot be opened, or have no labels.
        BadRecipe, UnknownDomain: the recipe is invalid, or does not suit the VAE.
        TrainingStopped: `stop` returned True.
    """
    settings = diffusion_settings(recipe)
    schedule = recipe.schedule()
    log = SkipLog(folder / SKIPPED, say)
    space = space_of(recipe, data, vae, device, log)
    latents = encoded_data(recipe, settings, space, data, log, encoding, stop)
    shape = tuple(latents.source.items.mean.shape[1:])
    config = model_config(recipe, net_config(recipe, settings, shape), latents.conditions.config)
    loss = flow_matching(recipe, settings, prod(shape))
    statistics = channel_statistics([each for each in (latents.source.items, latents.source.mirrored) if each])
    facts = DiffusionFacts(
        space.origin,
        space.domain.name,
        space.schema.as_plain(),
        tuple(space.schema.example().shape[2:]),
        loss.times.shift,
        settings.sampling,
        latents.conditions.captions or {},
        recipe.name,
    )
    examples = latents.source.items.mean[:EXAMPLES].clone()
    run: LatentRun = Run(
        recipe,
        folder,
        Stream(latents.source, seed),
        latents.description,
        loss,
        schedule,
        latents.held_out,
        begin=partial(config.build, statistics),
        notes=notes_of(facts),
        write=partial(write_result, facts, examples, folder, space),
        save=partial(save_average, facts, examples),
        validate=validate_flow,
        device=device,
        processes=processes,
    )
    return PreparedDiffusion(run, space, facts)


def space_of(recipe: Recipe, data: Path, vae: ModelOptions | None, device: torch.device, log: SkipLog) -> LatentSpace:
    """The space that a recipe works in.

    Raises:
        BadRecipe: a VAE is missing, or is of another domain.
    """
    kind = table_or_empty(recipe.table.get("vae")).get("kind", ENCODED)
    if kind not in (ENCODED, ITEMS):
        raise BadRecipe(
            f"The recipe {recipe.name} has vae.kind = {printable(repr(kind))}.",
            f'Expected "{ENCODED}", the latents of a VAE, or "{ITEMS}", items themselves.',
            "See docs/diffusion.md.",
        )
    if kind == ITEMS:
        if vae is not None:
            raise BadRecipe(
                f'The recipe {recipe.name} has vae.kind = "{ITEMS}", and a VAE is given.',
                "Expected one or the other.",
                f'Leave out --vae, or set vae.kind="{ENCODED}".',
            )
        domain = domain_named(recipe.domain)
        table = {name: value for name, value in recipe.data.items() if name != "domain"}
        domain.check_table(table)
        return item_space(recipe.domain, domain.schema(table, domain.open(data, log), log.say), recipe.name)
    if vae is None:
        raise BadRecipe(
            f"The recipe {recipe.name} trains on latents, and no VAE is given.",
            "Expected the VAE whose latents are generated.",
            f"Give one: --vae VAE; or train on items themselves: --set vae.kind={ITEMS}.",
        )
    space = encoded_space(vae, str(device))
    wanted = table_or_empty(recipe.table.get("data")).get("domain", space.domain.name)
    if wanted != space.domain.name:
        raise BadRecipe(
            f"The recipe {recipe.name} is for {printable(str(wanted))}, and the VAE takes {space.domain.items}.",
            "Expected a VAE of the same kind of data.",
            f"Give another VAE, or --set data.domain={space.domain.name}.",
        )
    return space


def encoded_data(
    recipe: Recipe,
    settings: DiffusionSettings,
    space: LatentSpace,
    data: Path,
    log: SkipLog,
    encoding: Progress,
    stop: Callable[[], bool],
) -> LatentData:
    """Open a data set, fit conditions, and encode it.

    Raises:
        NotFound, NoTrainingData, BadRecipe, BadPlan, TrainingStopped: see `prepare_diffusion`.
    """
    table = table_or_empty(recipe.table.get("data"))
    flip, wanted = table.get("flip", False), table.get("held_out")
    if not isinstance(flip, bool) or not isinstance(wanted, int | float | None):
        raise BadRecipe(f"In [data] of the recipe {recipe.name}, flip is true or false, and held_out a number.", "", "")
    if flip and space.schema.example().dim() != IMAGE_DIMS:
        raise BadRecipe(
            f"The recipe {recipe.name} has data.flip = true, and {space.domain.items} cannot be mirrored.",
            "Expected images.",
            "Set data.flip=false.",
        )
    splits = space.domain.open(data, log)
    conditions, texts = fit_conditions(recipe, settings, splits.train)
    train, held_out = split_held_out(splits, wanted, space.domain.items)
    total = len(train) + len(held_out)
    items = encode_records(space, splits.train, train.tolist(), flip, log, lambda done, _: encoding(done, total), stop)
    check_stopped(stop)
    evaluated = None
    if len(held_out):
        dataset = splits.train if splits.test is None else splits.test
        tested = encode_records(
            space, dataset, held_out.tolist(), False, log, lambda done, _: encoding(len(train) + done, total), stop
        )
        check_stopped(stop)
        own = texts if splits.test is None else conditions.texts_of(dataset)
        evaluated = LatentBatch(
            tested.latents.mean, tested.latents.log_variance, conditions.of([own[number] for number in tested.kept])
        )
    condition = conditions.of([texts[number] for number in items.kept])
    source = LatentsInMemory(LatentBatch(items.latents.mean, items.latents.log_variance, condition), items.mirrored)
    made = "" if space.origin is None else space.origin.fingerprint
    return LatentData(
        source, evaluated, conditions, {**describe_data(splits, len(held_out)), "vae": made, "encoded": len(items.kept)}
    )


def check_stopped(stop: Callable[[], bool]) -> None:
    """End if the user wishes to.

    Raises:
        TrainingStopped: `stop` returned True.
    """
    if stop():
        raise TrainingStopped(
            "Stopped while the data were encoded.", "Nothing was trained yet.", "The same command starts again."
        )


def write_result(
    facts: DiffusionFacts, examples: torch.Tensor, folder: Path, space: LatentSpace, model: DiffusionModel
) -> None:
    """Write the VAE beside the model, and the model.

    Raises:
        CannotWrite: e.g. the disk is full.
    """
    if isinstance(space, EncodedSpace):
        save(space.model.engine.vae, folder / VAE_FILE, notes=domain_notes(facts.domain, facts.schema))
    save_average(facts, examples, model, folder / RESULT, notes=notes_of(facts))


def save_average(
    facts: DiffusionFacts, examples: torch.Tensor, model: DiffusionModel, path: Path, notes: Mapping[str, str]
) -> None:
    """Write a model; see `Run.save`."""
    save_diffusion(DiffusionFile(model, facts, examples), path, notes)


def rebuilt(prepared: PreparedDiffusion, recipe: Recipe) -> PreparedDiffusion:
    """The same run with a recipe of another duration. The data are not encoded again."""
    return replace(prepared, run=replace(prepared.run, recipe=recipe, schedule=recipe.schedule()))

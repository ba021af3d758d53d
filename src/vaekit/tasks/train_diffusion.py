"""Train a diffusion model on the latents of a VAE, or on items themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.checkpoints.save import save
from vaekit.datasets.skip_log import SkipLog
from vaekit.diffusion.batches import LatentBatch
from vaekit.diffusion.files import DiffusionFacts, DiffusionFile, notes_of, save_diffusion
from vaekit.diffusion.model import DiffusionModel
from vaekit.diffusion.objective import validate_flow
from vaekit.diffusion.recipe import diffusion_settings, flow_matching, model_config, net_config
from vaekit.domains.find import domain_named
from vaekit.errors import BadRecipe, LatentMismatch, VaekitError, printable
from vaekit.identification.metadata import domain_notes
from vaekit.latent_cache.open import LatentCache, open_cache
from vaekit.run_folder import DIFFUSION, SKIPPED
from vaekit.run_folder import RESULT as VAE_FILE
from vaekit.tasks.latent_data import Reporting, cached_data, encoded_data, is_cache
from vaekit.tasks.latent_space import EncodedSpace, LatentSpace, encoded_space, item_space
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.run_cache import cached_in_run, is_large
from vaekit.training.data import Stream
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe, table_or_empty
from vaekit.training.run import Run
from vaekit.vae import VAE

ENCODED, ITEMS = "encoded", "none"
"""The values of `vae.kind`."""
LatentRun = Run[DiffusionModel, LatentBatch]


@dataclass(frozen=True, eq=False)
class PreparedDiffusion:
    """A run, and what it is about."""

    run: LatentRun
    items: str
    """The plural noun for items."""


def prepare_diffusion(
    recipe: Recipe,
    data: Path,
    folder: Path,
    seed: int,
    vae: ModelOptions | None,
    device: torch.device,
    processes: ProcessGroup,
    log: SkipLog | None = None,
    reporting: Reporting = Reporting(),  # noqa: B008 (a frozen value)
) -> PreparedDiffusion:
    """Prepare a run: open a cache of latents, or encode a data set. Nothing is written but a cache of large data.

    Args:
        recipe: a diffusion recipe.
        data: a cache of latents, or a data set; see `open_dataset`.
        folder: of the run.
        seed: of all randomness.
        vae: the VAE; None for that of the cache, or for a recipe of items themselves.
        device, processes: the device of this process, and all processes.
        log: for items that cannot be read, and messages.
        reporting: callbacks.

    Raises:
        NotFound, NoTrainingData, MissingPackage: the data cannot be opened, or have no labels.
        BadRecipe, UnknownDomain: the recipe is invalid, or does not suit the VAE.
        LatentMismatch, BadCache, BadLatent: the cache is of another VAE, or damaged.
        TrainingStopped: the user ended it.
    """
    settings, schedule = diffusion_settings(recipe), recipe.schedule()
    log = log or SkipLog(folder / SKIPPED)
    if is_cache(data):
        cache = open_cache(data)
        space: LatentSpace | None = space_of_cache(recipe, cache, vae, device, log)
        latents = cached_data(recipe, settings.condition, cache, log)
        origin: LatentOrigin | None = cache.origin
        domain, schema = cache.description.domain, {} if space is None else space.schema.as_plain()
    else:
        space = space_of_data(recipe, data, vae, device, log)
        if isinstance(space, EncodedSpace) and is_large(space, data):
            cache = cached_in_run(recipe, settings.condition, space, data, folder, processes, log, reporting)
            latents = cached_data(recipe, settings.condition, cache, log)
        else:
            latents = encoded_data(recipe, settings.condition, space, data, log, reporting)
        origin, domain, schema = space.origin, space.domain.name, space.schema.as_plain()
    config = model_config(recipe, net_config(recipe, settings, latents.shape), latents.conditions.config)
    loss = flow_matching(recipe, settings, prod(latents.shape))
    facts = DiffusionFacts(
        origin,
        domain,
        schema,
        latents.item_size,
        loss.times.shift,
        settings.sampling,
        latents.conditions.captions,
        recipe.name,
    )
    run: LatentRun = Run(
        recipe,
        folder,
        Stream(latents.source, seed),
        latents.description,
        loss,
        schedule,
        latents.held_out,
        begin=partial(config.build, latents.statistics),
        notes=notes_of(facts),
        write=partial(
            write_result,
            facts,
            latents.examples,
            folder,
            space.model.engine.vae if isinstance(space, EncodedSpace) else None,
        ),
        save=partial(save_average, facts, latents.examples),
        validate=validate_flow,
        device=device,
        processes=processes,
        workers=latents.workers,
    )
    return PreparedDiffusion(run, domain_named(domain).items)


def space_of_data(
    recipe: Recipe, data: Path, vae: ModelOptions | None, device: torch.device, log: SkipLog
) -> LatentSpace:
    """The space that a recipe works in.

    Raises:
        BadRecipe: a VAE is missing, or is of another domain.
    """
    if kind_of_space(recipe) == ITEMS:
        check_no_vae(recipe, vae is not None)
        domain = domain_named(recipe.domain)
        table = {name: value for name, value in recipe.data.items() if name != "domain"}
        domain.check_table(table)
        return item_space(recipe.domain, domain.schema(table, domain.open(data, log), log.say), recipe.name)
    if vae is None:
        raise BadRecipe(
            f"The recipe {recipe.name} trains on latents, and no VAE is given.",
            "Expected the VAE whose latents are generated, or a cache of latents as the data.",
            f"Give one: --vae VAE; or train on items themselves: --set vae.kind={ITEMS}.",
        )
    space = encoded_space(vae, str(device), table_or_empty(recipe.table.get("data")))
    check_domain(recipe, space.domain.name)
    return space


def space_of_cache(
    recipe: Recipe, cache: LatentCache, vae: ModelOptions | None, device: torch.device, log: SkipLog
) -> EncodedSpace | None:
    """The VAE of a cache: the given one, or the one that the cache names; None if that is not there any more.

    Raises:
        LatentMismatch: another VAE is given.
        BadRecipe: the recipe works on items themselves, or those of another domain.
    """
    if kind_of_space(recipe) == ITEMS:
        check_no_vae(recipe, True)
    check_domain(recipe, cache.description.domain)
    try:
        space = encoded_space(vae or ModelOptions(cache.description.vae), str(device))
    except VaekitError as error:
        if vae is not None:
            raise
        log.say(f"The VAE of the cache cannot be loaded, and is not stored beside the model: {error.found}")
        return None
    if space.origin.fingerprint == cache.origin.fingerprint:
        return space
    if vae is None:
        log.say(f"{cache.description.vae} is another VAE now than when the cache was made; it is not stored.")
        return None
    raise LatentMismatch(
        f"The given VAE is a {space.origin}.",
        f"The latents of the cache were made by a {cache.origin}.",
        "Give that VAE, or leave out --vae.",
    )


def kind_of_space(recipe: Recipe) -> str:
    """Whether a recipe works on latents or on items themselves.

    Raises:
        BadRecipe: vae.kind is something else.
    """
    table = recipe.table.get("vae", {})
    kind = table_or_empty(table).get("kind", ENCODED)
    if kind not in (ENCODED, ITEMS) or table not in ({}, {"kind": kind}):
        raise BadRecipe(
            f"The recipe {recipe.name} of a diffusion model has vae = {printable(repr(table), 100)}.",
            f'Expected vae.kind = "{ENCODED}", the latents of a VAE, or "{ITEMS}", items themselves.',
            "See docs/diffusion.md.",
        )
    return str(kind)


def check_no_vae(recipe: Recipe, given: bool) -> None:
    """Refuse latents for a recipe of items themselves.

    Raises:
        BadRecipe: there are some.
    """
    if given:
        raise BadRecipe(
            f'The recipe {recipe.name} has vae.kind = "{ITEMS}", and a VAE or a cache of latents is given.',
            "Expected one or the other.",
            f'Give a data set without --vae, or set vae.kind="{ENCODED}".',
        )


def check_domain(recipe: Recipe, domain: str) -> None:
    """Refuse latents of another domain than that of the recipe, if it names one.

    Raises:
        BadRecipe, UnknownDomain: they are.
    """
    wanted = table_or_empty(recipe.table.get("data")).get("domain", domain)
    if wanted != domain:
        raise BadRecipe(
            f"The recipe {recipe.name} is for {printable(str(wanted))}, the VAE for {domain_named(domain).items}.",
            "Expected a VAE of the same kind of data.",
            f"Give another VAE, or --set data.domain={domain}.",
        )


def write_result(facts: DiffusionFacts, examples: Tensor, folder: Path, vae: VAE | None, model: DiffusionModel) -> None:
    """Write the VAE beside the model, and the model.

    Raises:
        CannotWrite: e.g. the disk is full.
    """
    if vae is not None:
        save(vae, folder / VAE_FILE, notes=domain_notes(facts.domain, facts.schema))
    save_average(facts, examples, model, folder / DIFFUSION, notes=notes_of(facts))


def save_average(
    facts: DiffusionFacts, examples: Tensor, model: DiffusionModel, path: Path, notes: Mapping[str, str]
) -> None:
    """Write a model; see `Run.save`."""
    save_diffusion(DiffusionFile(model, facts, examples), path, notes)


def with_schedule(prepared: PreparedDiffusion, recipe: Recipe) -> PreparedDiffusion:
    """The same run with a recipe of another duration. The data are not encoded again."""
    return replace(prepared, run=replace(prepared.run, recipe=recipe, schedule=recipe.schedule()))

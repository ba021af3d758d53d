"""Fine-tune an existing VAE on images.

By default only the decoder is trained: encoder, posterior head, learned prior and the two 1x1 convolutions around the
latents are frozen, so that latents keep their meaning, and diffusion models remain usable.

The decoder is trained on samples of the posterior, not on its modes, as the decoders of LDM were. Diffusion models that
were trained on samples generate latents with the same noise, which a decoder trained on modes would render.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.checkpoints.finetuned_writer import BaseModel, write_finetuned
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.perceptual_terms import perceptual_terms
from vaekit.domains.images.preparation import check_fit, preparation_from
from vaekit.domains.images.training_data import open_training_data
from vaekit.domains.images.write import write_image
from vaekit.errors import BadRecipe, NoTrainingData
from vaekit.families import padding_of
from vaekit.identification.build import build
from vaekit.json import dumps
from vaekit.metrics.image.color import as_rgb
from vaekit.run_folder import SKIPPED
from vaekit.training.adversarial.from_recipe import adversarial_setup
from vaekit.training.code_stats import set_codes
from vaekit.training.data import Stream, TrainingData
from vaekit.training.finetune_codes import codebook_settings, describe_codes
from vaekit.training.objectives import Objective
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run
from vaekit.vae import VAE
from vaekit.version import __version__

DECODER_ONLY = ("encoder", "to_posterior", "to_prior", "decoder.post_quant_conv")
"""Modules that are frozen when only the decoder is trained."""
HELD_OUT = "held_out"
"""The folder in the run with the held-out images."""
NOTE = "vaekit.finetuned"
"""The metadata entry with the lineage of the weights."""


@dataclass(frozen=True)
class FinetuneOptions:
    """Settings besides recipe, VAE and data."""

    whole: bool = False
    """Also train the encoder, which breaks latent compatibility."""
    dtype: torch.dtype | None = None
    """The dtype of the result; None for that of the base model."""
    lpips: Path | None = None
    """A file or folder with the weights of LPIPS; None for the search path of `load_lpips`."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)


@dataclass(frozen=True, eq=False)
class Finetuning:
    """A prepared fine-tuning run."""

    run: Run[VAE, Tensor]
    parent: BaseModel
    held_out: Tensor
    """Images that are not trained on, (b, c, h, w) in [-1, 1]."""
    options: FinetuneOptions = field(default_factory=FinetuneOptions)

    def lineage(self) -> dict[str, Any]:
        """The lineage of the result; see `lineage_of`."""
        return lineage_of(self.run, self.parent, self.options)

    def write(self, vae: VAE, metrics: Mapping[str, Any] | None = None) -> list[Path]:
        """Write the result, replacing that of an earlier call; see `write_result`."""
        return write_result(self.parent, self.options, self.run.folder, self.lineage(), vae, metrics)


def lineage_of(run: Run[VAE, Tensor], parent: BaseModel, options: FinetuneOptions) -> dict[str, Any]:
    """Base model, data and settings that a result was trained with, as JSON types."""
    changes = parent.changes(options.dtype)
    return {
        "parent": {"name": parent.name, "fingerprint": parent.fingerprint, "family": parent.identified.family.name},
        "trained": trained_description(options.whole),
        **({"changes": changes} if changes else {}),
        "data": dict(run.data),
        "samples": run.schedule.samples,
        "seed": run.stream.seed,
        "vaekit": __version__,
    }


def write_result(
    parent: BaseModel,
    options: FinetuneOptions,
    folder: Path,
    lineage: Mapping[str, Any],
    vae: VAE,
    metrics: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a fine-tuned VAE with its lineage; see `write_finetuned`.

    Args:
        parent: the base model.
        options: the settings.
        folder: of the run.
        lineage: of the result.
        vae: the result.
        metrics: of base model and result, for the metadata.
    """
    frozen = frozen_parts(options.whole)
    kept = {key for key in vae.state_dict() if key.startswith(tuple(f"{name}." for name in frozen))}
    note = {**lineage, **({"metrics": dict(metrics)} if metrics else {})}
    return write_finetuned(parent, vae, kept, folder, {NOTE: dumps(note, indent=None)}, options.dtype)


def prepare_finetuning(
    recipe: Recipe,
    parent: BaseModel,
    data: Path,
    folder: Path,
    seed: int,
    options: FinetuneOptions,
    say: Callable[[str], None] = lambda _: None,
) -> Finetuning:
    """Prepare a fine-tuning run, without writing anything.

    Args:
        recipe: the recipe, without [vae].
        parent: the base model.
        data: the path of the images.
        folder: of the run.
        seed: of all randomness.
        options: further settings.
        say: called with messages about the data.

    Raises:
        BadRecipe: the recipe is invalid, or has a table [vae].
        NotFound, NoTrainingData: there are too few images, or no weights of LPIPS.
    """
    if "vae" in recipe.table:
        raise BadRecipe(
            f"The recipe {recipe.name} has a table [vae], which defines a new VAE.",
            "Expected a recipe without [vae] for fine-tuning.",
            "Use the recipe `finetune`, or `vaekit train`.",
        )
    upscale = parent.identified.config.geometry.upscale
    if upscale > 1:
        raise BadRecipe(
            f"The decoder of {parent.name} upscales: its images are {upscale} times as large as the encoded ones.",
            "Expected a VAE whose images can be compared with the encoded ones.",
            "Fine-tune the VAE that it was made from.",
        )
    initial = {"fingerprint": parent.fingerprint, "trained": trained_description(options.whole)}
    config = parent.identified.config
    if padding := padding_of(config):
        initial["padding"] = padding
    codes = codebook_settings(recipe, parent, options.whole)
    resolved = Recipe(recipe.name, {**recipe.table, **({"codes": codes} if codes else {}), "begun_with": initial})
    if options.whole:
        describe_codes(resolved, parent, say)
    skipped = SkipLog(folder / SKIPPED, say)
    training, held_out = data_for(parent, data, recipe, seed, skipped)
    perceptual = perceptual_terms(resolved, options.device, options.lpips)
    objective = resolved.objective(perceptual.given)
    if not options.whole:
        objective = without(objective, [name for name, term in objective.terms.items() if term.latents_only])
    elif parent.identified.family.prior_head(config) is None:
        objective = without(objective, [name for name, kind in recipe.kinds_of_terms().items() if kind == "kl"])
    adversarial = adversarial_setup(resolved, config.geometry.channels, held_out, seed, options.device)
    run = Run(
        resolved,
        folder,
        Stream(training.source, seed),
        {**training.description, **perceptual.description},
        objective,
        resolved.schedule(),
        held_out[:16],
        begin=partial(initial_vae, parent, codes, resolved.schedule().samples),
        frozen=frozen_parts(options.whole),
        adversary=adversarial.adversary,
        guard=adversarial.guard,
        extras=adversarial.extras,
        device=options.device,
        workers=training.workers,
    )
    write = partial(write_result, parent, options, folder, lineage_of(run, parent, options))
    return Finetuning(replace(run, write=write), parent, held_out, options)


def data_for(parent: BaseModel, data: Path, recipe: Recipe, seed: int, skipped: SkipLog) -> tuple[TrainingData, Tensor]:
    """Crops of images in a size that the VAE accepts, and the held-out images.

    Raises:
        NotFound, NoTrainingData: there are too few images.
        BadRecipe: the table [data] is invalid, or the VAE does not accept crops of this size.
    """
    config, given = parent.identified.config, {name: value for name, value in recipe.data.items() if name != "domain"}
    geometry = config.geometry
    fixed = {"size": geometry.size[0], "resize": []} if geometry.size else {}
    table = {"size": 256, **given, "channels": geometry.channels} | fixed
    size, resize = table["size"], table.get("resize")
    if isinstance(size, int) and isinstance(resize, list):
        table["resize"] = [max(side, size) if isinstance(side, int) and side else side for side in resize]
    preparation = preparation_from(table)
    check_fit(preparation, config, recipe.name)
    training = open_training_data(data, preparation, seed, skipped)
    if training.held_out is None:  # too few images for the default share
        training = open_training_data(data, replace(preparation, held_out=1.0), seed, skipped)
    if training.held_out is None:
        raise NoTrainingData(f"The held-out image in {data} cannot be read.", "", "")
    return training, training.held_out


def frozen_parts(whole: bool) -> tuple[str, ...]:
    """The names of frozen modules."""
    return () if whole else DECODER_ONLY


def trained_description(whole: bool) -> str:
    """The trained part, for lineage and messages."""
    return "encoder and decoder" if whole else "decoder"


def without(objective: Objective, names: Collection[str]) -> Objective:
    """The objective without some terms: those on latents only, which are constant with a frozen encoder, or the KL of a
    VAE without a prior."""
    return replace(objective, terms={name: term for name, term in objective.terms.items() if name not in names})


def initial_vae(parent: BaseModel, codes: Mapping[str, Any], samples: int) -> VAE:
    """The VAE before the first step of a run of `samples` samples, with the table [codes] applied."""
    vae = master_weights(build(parent.identified))
    if codes:
        set_codes(vae, codes, samples)
    return vae


def master_weights(vae: VAE) -> VAE:
    """The VAE in fp32, with its own memory: loaded tensors are views of a mapped file."""
    return vae._apply(
        lambda tensor: tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    )


def write_held_out(tuning: Finetuning) -> list[Path]:
    """Write the held-out images as files in the run; base model and result are compared on them.

    Raises:
        CannotWrite: e.g. the disk is full.
    """
    images = as_rgb(tuning.held_out)
    paths = [tuning.run.folder / HELD_OUT / f"{number:04d}.png" for number in range(len(images))]
    for path, image in zip(paths, images.split(1), strict=True):
        write_image(path, image)
    return paths

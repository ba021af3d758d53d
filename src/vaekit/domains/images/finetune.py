"""A VAE that exists, trained on images: what stays as it is, what is minimized, what the result says of itself.

With the decoder alone, which is the default, latents keep their meaning: encoder, posterior head, learned prior and
both 1x1 convolutions beside the latents are frozen. So is whatever made latents before, such as a diffusion model.

The decoder learns from samples of the posterior, not from its modes. That is what the decoders of LDM were trained on,
and what a diffusion model that was trained on samples gives; a decoder that never saw their noise would paint it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
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
from vaekit.metrics.image.luma import as_rgb
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
"""What stays as it is, so that latents keep their meaning."""
HELD_OUT = "held_out"
"""The folder in the run with the images that were kept aside."""
NOTE = "vaekit.finetuned"
"""The entry of the metadata that tells where the weights come from."""


@dataclass(frozen=True)
class FinetuneOptions:
    """What a person may choose beside recipe, VAE and data."""

    whole: bool = False
    """Train the encoder too: latents change their meaning."""
    dtype: torch.dtype | None = None
    """Of the result's weights; None for the parent's."""
    lpips: Path | None = None
    """A file or folder with the weights of LPIPS."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)


@dataclass(frozen=True, eq=False)
class Finetuning:
    """Everything about one fine-tune."""

    run: Run
    parent: BaseModel
    held_out: Tensor
    """Images that are never trained on, (b, c, h, w) in [-1, 1]."""
    wishes: FinetuneOptions = field(default_factory=FinetuneOptions)

    def lineage(self) -> dict[str, Any]:
        """Where the result comes from, in JSON's own types."""
        parent = self.parent
        changes = parent.changes(self.wishes.dtype)
        return {
            "parent": {"name": parent.name, "fingerprint": parent.fingerprint, "family": parent.identified.family.name},
            "trained": trained_description(self.wishes.whole),
            **({"changes": changes} if changes else {}),
            "data": dict(self.run.data),
            "samples": self.run.schedule.samples,
            "seed": self.run.stream.seed,
            "vaekit": __version__,
        }

    def write(self, vae: VAE, metrics: Mapping[str, Any] | None = None) -> list[Path]:
        """Write the result, over that of an earlier call; see `write_finetuned`.

        Args:
            vae: the result.
            metrics: what was measured of it and its parent, for the metadata.
        """
        frozen = frozen_parts(self.wishes.whole)
        kept = {key for key in vae.state_dict() if key.startswith(tuple(f"{name}." for name in frozen))}
        told = self.lineage() | ({"metrics": dict(metrics)} if metrics else {})
        notes = {NOTE: dumps(told, indent=None)}
        return write_finetuned(self.parent, vae, kept, self.run.folder, notes, self.wishes.dtype)


def prepare_finetuning(
    recipe: Recipe,
    parent: BaseModel,
    data: Path,
    folder: Path,
    seed: int,
    wishes: FinetuneOptions,
    say: Callable[[str], None] = lambda _: None,
) -> Finetuning:
    """Everything that a fine-tune needs; nothing is written yet.

    Raises:
        BadRecipe: the recipe makes no sense, or says which VAE is trained.
        NotFound: too few images, or no weights of LPIPS.
    """
    if "vae" in recipe.words:
        raise BadRecipe(
            f"The recipe {recipe.name} builds a VAE of its own: it has a [vae].",
            "A recipe to train an existing VAE on has none.",
            "Take the recipe `finetune`, or use `vaekit train`.",
        )
    begun = {"fingerprint": parent.fingerprint, "trained": trained_description(wishes.whole)}
    config = parent.identified.config
    if padding := padding_of(config):
        begun["padding"] = padding
    codes = codebook_settings(recipe, parent, wishes.whole)
    resolved = Recipe(recipe.name, {**recipe.words, **({"codes": codes} if codes else {}), "begun_with": begun})
    if wishes.whole:
        describe_codes(resolved, parent, say)
    skipped = SkipLog(folder / SKIPPED, say)
    found, held_out = data_for(parent, data, recipe, seed, skipped)
    perceptual = perceptual_terms(resolved, wishes.device, wishes.lpips)
    objective = resolved.objective(perceptual.given)
    if not wishes.whole:
        objective = without(objective, [name for name, term in objective.terms.items() if term.of_latents])
    elif parent.identified.family.prior_head(config) is None:
        objective = without(objective, [name for name, kind in recipe.kinds_of_terms().items() if kind == "kl"])
    against = adversarial_setup(resolved, config.geometry.channels, held_out, seed, wishes.device)
    tuning: Finetuning
    tuning = Finetuning(
        Run(
            resolved,
            folder,
            Stream(found.source, seed),
            {**found.description, **perceptual.description},
            objective,
            resolved.schedule(),
            held_out[:16],
            begin=lambda: beginning(parent, codes, resolved.schedule().samples),
            frozen=frozen_parts(wishes.whole),
            write=lambda vae: tuning.write(vae),
            opponent=against.opponent,
            guard=against.guard,
            extras=against.extras,
            device=wishes.device,
            workers=found.workers,
        ),
        parent,
        held_out,
        wishes,
    )
    return tuning


def data_for(parent: BaseModel, data: Path, recipe: Recipe, seed: int, skipped: SkipLog) -> tuple[TrainingData, Tensor]:
    """Crops of images, of a size that the VAE takes, and those that are kept aside.

    Raises:
        NotFound, NoTrainingData: there are too few.
        BadRecipe: the table makes no sense, or the VAE does not take crops of this size.
    """
    config, told = parent.identified.config, {name: value for name, value in recipe.data.items() if name != "domain"}
    geometry = config.geometry
    only = {"size": geometry.size[0], "resize": []} if geometry.size else {}
    table = {"size": 256, **told, "channels": geometry.channels} | only
    size, resize = table["size"], table.get("resize")
    if isinstance(size, int) and isinstance(resize, list):
        table["resize"] = [max(side, size) if isinstance(side, int) and side else side for side in resize]
    preparation = preparation_from(table)
    check_fit(preparation, config, recipe.name)
    found = open_training_data(data, preparation, seed, skipped)
    if found.held_out is None:  # so few that none was kept aside
        found = open_training_data(data, replace(preparation, held_out=1.0), seed, skipped)
    if found.held_out is None:
        raise NoTrainingData(f"The image in {data} that was to be kept aside cannot be read.", "", "")
    return found, found.held_out


def frozen_parts(whole: bool) -> tuple[str, ...]:
    """What is not trained."""
    return () if whole else DECODER_ONLY


def trained_description(whole: bool) -> str:
    """What is trained, for a person."""
    return "encoder and decoder" if whole else "decoder"


def without(objective: Objective, names: Collection[str]) -> Objective:
    """The objective without some terms: those about latents alone where the encoder is frozen, for which they are
    constants, and the KL where there is no prior."""
    return replace(objective, terms={name: term for name, term in objective.terms.items() if name not in names})


def beginning(parent: BaseModel, codes: Mapping[str, Any], samples: int) -> VAE:
    """The VAE that a run of so many samples begins with, its codes learned as told."""
    vae = master_weights(build(parent.identified))
    if codes:
        set_codes(vae, codes, samples)
    return vae


def master_weights(vae: VAE) -> VAE:
    """The VAE in fp32 and in memory of its own: loaded tensors are parts of a mapped file."""
    return vae._apply(
        lambda tensor: tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    )


def write_held_out(tuning: Finetuning) -> list[Path]:
    """The images that were kept aside, as files in the run: what before and after are measured on.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    images = as_rgb(tuning.held_out)
    paths = [tuning.run.folder / HELD_OUT / f"{number:04d}.png" for number in range(len(images))]
    for path, image in zip(paths, images.split(1), strict=True):
        write_image(path, image)
    return paths

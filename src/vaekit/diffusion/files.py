"""Files of diffusion models: one safetensors file with weights, statistics, and what is needed to generate.

    net.*, conditioner.*   the weights
    mean, std              of the training latents, per channel
    examples               a few of these latents, raw: another decoder is tried on them before it is trusted

The metadata holds the configs, the identity of the VAE, the schema of the items, and the defaults of sampling.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.checkpoints.save import write_tensors
from vaekit.diffusion.conditions import CONDITIONS
from vaekit.diffusion.model import NETS, DiffusionModel, ModelConfig
from vaekit.diffusion.samplers import Sampling
from vaekit.errors import BadCheckpoint, NotFound, VaekitError, printable
from vaekit.formats.open import open_tensors
from vaekit.identification.metadata import domain_notes, read_domain
from vaekit.json import json_object
from vaekit.latent_cache.description import origin_from, origin_json
from vaekit.reading import exists
from vaekit.records import from_dict
from vaekit.run_folder import DIFFUSION

VERSION = "1"
VERSION_KEY, FACTS = "vaekit.diffusion", "vaekit.diffusion.facts"
EXAMPLES = "examples"
UNBUILDABLE = (ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError, TypeError, RecursionError)
"""The exceptions of torch and the configs for inconsistent metadata."""


@dataclass(frozen=True)
class DiffusionFacts:
    """What a model was trained on, and how it is sampled."""

    origin: LatentOrigin | None
    """The VAE of the latents; None for a model of the items themselves, without a VAE."""
    domain: str
    schema: Mapping[str, Any]
    """Of the items, for their domain."""
    item_size: tuple[int, ...]
    """The size of items along their axes."""
    shift: float
    """Of times."""
    sampling: Sampling
    """Defaults."""
    captions: Mapping[str, Any] = field(default_factory=dict)
    """The schema of captions, or the folder of their encoder; empty without captions."""
    recipe: str = ""
    """The name of the recipe."""


@dataclass(frozen=True, eq=False)
class DiffusionFile:
    """A model with its facts."""

    model: DiffusionModel
    facts: DiffusionFacts
    examples: Tensor
    """Raw latents of training items, (b, z, ...)."""


def save_diffusion(file: DiffusionFile, path: Path, notes: Mapping[str, str]) -> None:
    """Write a model.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    tensors = {name: each.detach().cpu().contiguous() for name, each in file.model.state_dict().items()}
    metadata = {"format": "pt", VERSION_KEY: VERSION, FACTS: json.dumps(facts_as_json(file)), **notes}
    with atomic_file(path) as part:
        write_tensors({**tensors, EXAMPLES: file.examples.float().cpu().contiguous()}, part, metadata, path)


def facts_as_json(file: DiffusionFile) -> dict[str, Any]:
    """Everything but the tensors."""
    facts, config = file.facts, file.model.config
    origin = facts.origin
    return {
        "net": dataclasses.asdict(config.net),
        "condition": dataclasses.asdict(config.condition),
        "vae": None if origin is None else origin_json(origin),
        "item_size": list(facts.item_size),
        "shift": facts.shift,
        "sampling": dataclasses.asdict(facts.sampling),
        "captions": dict(facts.captions),
        "recipe": facts.recipe,
    }


def is_diffusion(file: Path) -> bool:
    """Whether a file is one of a diffusion model, by its metadata."""
    try:
        return VERSION_KEY in open_tensors(file).metadata
    except (OSError, VaekitError):
        return False


def load_diffusion(path: Path) -> DiffusionFile:
    """Read a model: a file, or the folder of a finished run.

    Raises:
        NotFound: there is no such file, or the run is not finished.
        BadCheckpoint: it is damaged, or something else.
    """
    file = path / DIFFUSION if path.is_dir() else path
    if not exists(file):
        raise NotFound(
            f"There is no diffusion model {file}.",
            "Expected the folder of a finished run of a diffusion recipe.",
            "Run `vaekit train` again: it resumes an unfinished run.",
        )
    opened = open_tensors(file)
    if opened.metadata.get(VERSION_KEY) != VERSION:
        raise BadCheckpoint(
            f"{file} is not a diffusion model" + (f" of version {VERSION}." if VERSION_KEY in opened.metadata else "."),
            "Expected a file that `vaekit train` wrote for a diffusion recipe.",
            "Train one: `vaekit train diffusion-mnist`.",
        )
    tensors = opened.read(opened.specs)
    try:
        plain = json_object(opened.metadata.get(FACTS))
        config, facts = read_config(plain), read_facts(plain, opened.metadata)
        check_shapes(config.net.shape, facts)
        with torch.device("meta"):
            model = config.build()
        examples = tensors.pop(EXAMPLES)
        if tuple(examples.shape[1:]) != config.net.shape or not examples.isfinite().all():
            raise ValueError(f"its examples have the shape {list(examples.shape)}, or are not finite")
        model.load_state_dict(tensors, assign=True)
        wrong = next((name for name, each in tensors.items() if not each.isfinite().all()), None)
        if wrong is not None:
            raise ValueError(f"the weights of {printable(wrong)} are not finite")
    except UNBUILDABLE as error:
        raise BadCheckpoint(
            f"{file} is damaged: {printable(str(error), 300)}.",
            "Expected the content that `vaekit train` wrote.",
            "Train the model again, or restore the file from a backup.",
        ) from error
    return DiffusionFile(model.eval().requires_grad_(False), facts, examples)


def check_shapes(shape: tuple[int, ...], facts: DiffusionFacts) -> None:
    """Check that latents of a shape (z, *positions) are those of the items.

    Raises:
        ValueError: they are not.
    """
    size, origin = facts.item_size, facts.origin
    if origin is None:
        expected = (shape[0], *size)
    elif len(size) != origin.geometry.axes:
        raise ValueError(f"its items have the size {list(size)}")
    else:
        expected = (origin.geometry.latent_channels, *origin.geometry.latent_size(size))
    if shape != expected:
        raise ValueError(f"its latents have the shape {list(shape)}, and those of its items {list(expected)}")


def read_config(plain: Mapping[str, Any]) -> ModelConfig:
    """The architecture.

    Raises:
        ValueError, LookupError, TypeError: it is invalid.
    """
    net, condition = dict(plain["net"]), dict(plain["condition"])
    return ModelConfig(from_dict(NETS[net.pop("kind")], net), from_dict(CONDITIONS[condition.pop("kind")], condition))


def read_facts(plain: Mapping[str, Any], metadata: Mapping[str, str]) -> DiffusionFacts:
    """The facts.

    Raises:
        ValueError, LookupError, TypeError: they are invalid.
    """
    domain, schema = read_domain(metadata)
    shift, size = plain["shift"], [int(each) for each in plain["item_size"]]
    if type(shift) not in (int, float) or not 0 < shift < 1e6 or min(size, default=1) < 1:
        raise ValueError(f"its shift or size makes no sense: {printable(repr((shift, size)), 60)}")
    origin = None if plain["vae"] is None else origin_from(plain["vae"])
    sampling = from_dict(Sampling, plain["sampling"])
    return DiffusionFacts(
        origin, domain, schema, tuple(size), float(shift), sampling, dict(plain["captions"]), str(plain["recipe"])
    )


def notes_of(facts: DiffusionFacts) -> dict[str, str]:
    """The metadata entries of the domain and the schema."""
    return domain_notes(facts.domain, facts.schema)

"""Generate items with a diffusion model, and decode them with its VAE or another one of the same latent space."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.diffusion.conditions import NoCondition
from vaekit.diffusion.files import DiffusionFile, load_diffusion
from vaekit.diffusion.model import DiffusionModel, guided_velocity
from vaekit.diffusion.samplers import Sampling, follow, noised, start_of, time_grid
from vaekit.domains.domain import Schema
from vaekit.domains.find import domain_named
from vaekit.domains.images.png_metadata import PNG, embed_settings
from vaekit.errors import BadItem, BadPlan, LatentMismatch, NotFound
from vaekit.geometry import Geometry, size_text
from vaekit.reading import exists
from vaekit.run_folder import AVERAGES
from vaekit.run_folder import RESULT as VAE_FILE
from vaekit.runtime.plan import Plan
from vaekit.tasks.generation import GenerateCallbacks, GenerateOptions, Generation
from vaekit.tasks.generator_files import check_generator
from vaekit.tasks.generator_previews import generator_previews
from vaekit.tasks.latent_space import EncodedSpace, ItemSpace, LatentSpace, encoded_space
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.pipeline_folder import is_pipeline
from vaekit.tasks.prompts import Prompt, prompt_of
from vaekit.tasks.record import write_record
from vaekit.tasks.swap_vae import check_swap
from vaekit.training.seeds import generator_for
from vaekit.version import __version__

NAME = "generated"
"""The start of the names of files."""
DTYPE = "fp32"
SMALL, TOGETHER = 2**14, 8
"""The maximum number of values of a latent, and the number of such latents that are generated at a time. The last
digits of results depend on the size of a batch, and an item must not depend on the number of items."""


SILENT = GenerateCallbacks()


@dataclass(frozen=True, eq=False)
class OpenGenerator:
    """A model that is ready to generate, and its latent space. Open it once for many calls."""

    file: DiffusionFile
    space: LatentSpace
    schema: Schema
    device: torch.device
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> DiffusionModel:
        """The model, on its device."""
        return self.file.model

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent."""
        return self.model.config.net.shape

    @property
    def together(self) -> int:
        """Latents that are generated at a time."""
        return TOGETHER if prod(self.shape) <= SMALL else 1


def generate(options: GenerateOptions, callbacks: GenerateCallbacks = SILENT) -> Generation:
    """Generate items and write them into a folder, with a record for repeating the call.

    With the folder of a diffusers pipeline, its images are generated: see `generate_with_pipeline`, also for errors.

    Raises:
        NotFound, BadCheckpoint: the model or a VAE cannot be loaded; or there is no such class.
        LatentMismatch: the VAE has another latent space than the model.
        BadPlan: an option is out of range, or does not suit the model.
        BadItem: the item to start from cannot be read; or the model gave non-finite latents.
        CannotWrite: the disk is full, or the like.
    """
    if is_pipeline(options.model):
        from vaekit.tasks.generate_pipeline import generate_with_pipeline

        return generate_with_pipeline(options, callbacks)
    check_generator(options.model)
    check_is_no_pipeline(options)
    generator = open_generator(options)
    facts = generator.file.facts
    sampling = sampling_of(facts.sampling, options)
    prompt = prompt_of(generator.file, options.prompt, options.negative)
    check_size(facts.item_size, options.size)
    first = start_of(options.strength, sampling.steps) if options.init is not None else 0
    init = None if options.init is None else encoded_init(generator, options.init)
    total = options.count * (sampling.steps - first)
    previews = (
        generator_previews(generator.file, generator.space, generator.schema, options.out) if options.previews else None
    )

    def items() -> Iterator[Any]:
        for start in range(0, options.count, generator.together):
            wanted = min(generator.together, options.count - start)

            def after(latents: Tensor, step: int, start: int = start, wanted: int = wanted) -> None:
                callbacks.progress(start * (sampling.steps - first) + wanted * step, total)
                callbacks.preview(latents[:wanted], step)
                if previews is not None:
                    previews.write(latents[:wanted])

            z = latents_of(generator, prompt, sampling, options.seed, start, init, first, after)[:wanted]
            yield from generator.schema.to_items(generator.space.decode(z, facts.item_size))

    paths = generator.space.domain.write_many(items(), options.out, NAME, generator.schema)
    settings = settings_of(options, sampling, generator)
    for path in paths:
        if path.suffix == PNG:
            embed_settings(path, {"vaekit": __version__, **settings, "item": number_of(path)})
    write_record(options.out / f"{NAME}.json", settings)
    return Generation(paths, settings, (*generator.notes, *prompt.notes))


def number_of(path: Path) -> int | None:
    """The number of an item in the name of its file; None for files of several items.

    >>> number_of(Path("generated-0003.png")), number_of(Path("generated.png"))
    (3, None)
    """
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else None


def open_generator(options: GenerateOptions) -> OpenGenerator:
    """Load a model and its VAE, or another one.

    Raises:
        NotFound, BadCheckpoint, LatentMismatch, BadPlan: see `generate`.
    """
    device = Plan(device=options.device).torch_device
    file = load_diffusion(options.model)
    file = replace(file, model=file.model.to(device))
    folder = options.model if options.model.is_dir() else options.model.parent
    folder = folder.parent if folder.name == AVERAGES else folder
    origin, facts = file.facts.origin, file.facts
    domain = domain_named(facts.domain)
    if origin is None:
        if options.vae is not None:
            raise LatentMismatch(
                f"The model generates {domain.items} themselves, without a VAE.",
                "A VAE can decode latents only.",
                "Leave out --vae.",
            )
        shape = file.model.config.net.shape
        geometry = Geometry(shape[0], shape[0], (1,) * len(shape[1:]), shape[1:] or None)
        schema = domain.schema_from(facts.schema, WithGeometry(geometry))
        return OpenGenerator(file, ItemSpace(domain, schema), schema, device)
    own = own_space(folder / VAE_FILE, options, file)
    notes: list[str] = []
    space = own
    if options.vae is not None:
        space = encoded_space(ModelOptions(options.vae, options.models), options.device)
        notes = check_swap(file, own, space, options.vae)
    if space is None:
        raise NotFound(
            f"The VAE of the model, {folder / VAE_FILE}, is missing.",
            f"The model was trained on the latents of a {origin}.",
            "Put it there, or name it: --vae VAE.",
        )
    schema = domain.schema_from(facts.schema, space.model.engine.vae.config)
    return OpenGenerator(file, space, schema, device, tuple(notes))


@dataclass(frozen=True)
class WithGeometry:
    """Stands for the config of a VAE where there is none."""

    geometry: Geometry


def own_space(path: Path, options: GenerateOptions, file: DiffusionFile) -> EncodedSpace | None:
    """The latent space of the VAE beside a model; None if it is missing.

    Raises:
        BadCheckpoint: it is damaged.
        LatentMismatch: it is another VAE.
    """
    if not exists(path):
        return None
    space = encoded_space(ModelOptions(str(path)), options.device)
    origin = file.facts.origin
    assert origin is not None
    if space.origin.fingerprint != origin.fingerprint:
        raise LatentMismatch(
            f"{path} is a {space.origin}.",
            f"The model was trained on the latents of a {origin}.",
            "Restore the VAE's file, or train again.",
        )
    return space


def sampling_of(defaults: Sampling, options: GenerateOptions) -> Sampling:
    """How to sample: the options, or the defaults of the model.

    Raises:
        BadPlan: an option is out of range.
    """
    try:
        if options.count < 1:
            raise ValueError(f"count is {options.count}; expected 1 or more")
        if not 0 <= options.strength <= 1:
            raise ValueError(f"strength is {options.strength:g}; expected 0 to 1")
        given = {"steps": options.steps, "guidance": options.guidance}
        return replace(defaults, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValueError as error:
        raise BadPlan(f"{str(error).capitalize()}.", "", "Leave out the option for the model's default.") from error


def check_is_no_pipeline(options: GenerateOptions) -> None:
    """Refuse options that only pipelines of diffusers have.

    Raises:
        BadPlan: one is given.
    """
    given = {"--scheduler": options.scheduler, "--memory": options.memory, "--dtype": options.dtype != DTYPE}
    extra = [option for option, value in given.items() if value]
    if extra:
        raise BadPlan(
            f"{', '.join(extra)}: only pipelines of diffusers take this, and {options.model} is none.",
            "Expected the folder of a pipeline, or only options of all models.",
            "Leave it out.",
        )


def check_size(own: tuple[int, ...], size: tuple[int, int] | None) -> None:
    """Refuse another size than that of the training items.

    Raises:
        BadPlan: it is another one.
    """
    if size is not None and tuple(size) != own:
        raise BadPlan(
            f"The size {size_text(size)} is requested.",
            f"The model generates items of the size {size_text(own)}."
            if own
            else "The items of the model have no size.",
            "Leave out the size.",
        )


def encoded_init(generator: OpenGenerator, path: Path) -> Tensor:
    """The raw latents (1, z, ...) of the first item of a file, brought to the size of the model's items.

    Raises:
        NotFound, BadItem, HalfMissing: it cannot be read or encoded.
    """
    space, size = generator.space, generator.file.facts.item_size
    own = space.model.engine.geometry if isinstance(space, EncodedSpace) else None
    shape = generator.shape
    geometry = Geometry(shape[0], shape[0], (1,) * len(size), size or None) if own is None else sized(own, size)
    loaded = space.domain.read_all([path], generator.schema, geometry, limit=1)
    if not len(loaded.x):
        raise BadItem(f"{path} holds no {space.domain.item}.", "", "Give another file.")
    mean, _ = space.encode(loaded.x[:1])
    if tuple(mean.shape[1:]) != shape:
        raise LatentMismatch(
            f"The latents of {path} have the shape {list(mean.shape[1:])}.", f"The model takes {list(shape)}.", ""
        )
    return mean


def sized(geometry: Geometry, size: tuple[int, ...]) -> Geometry:
    """A geometry whose items have one size."""
    return geometry if geometry.size else replace(geometry, size=size or None)


@torch.no_grad()
def latents_of(
    generator: OpenGenerator,
    prompt: Prompt,
    sampling: Sampling,
    seed: int,
    start: int,
    init: Tensor | None = None,
    first: int = 0,
    after: Callable[[Tensor, int], None] = lambda *_: None,
) -> Tensor:
    """Raw latents (`generator.together`, z, ...) of the items from number `start` on. Each depends on the seed and its
    number only.

    Args:
        generator: the model.
        prompt: the conditions of an item, or one of each item.
        sampling: how to sample.
        seed: of the noise.
        start: the number of the first item.
        init: raw latents (1, z, ...) to start from; None for noise.
        first: the number of steps that are left out with `init`.
        after: called after every step with an estimate of the raw latents, and the number of steps so far.

    Raises:
        BadItem: latents are not finite.
    """
    model, device, shape = generator.model, generator.device, generator.shape
    numbers = range(start, start + generator.together)
    noise = torch.stack([torch.randn(shape, generator=generator_for(seed, "generate", n)) for n in numbers]).to(device)
    times = time_grid(sampling.steps, generator.file.facts.shift, first)
    x = noise
    if init is not None:
        x = noised(model.normalize(init.to(device).expand(noise.shape)), noise, times[0].item())
    condition, other = (None if each is None else each.to(device) for each in prompt.batch(len(noise)))
    velocity = guided_velocity(model, condition, other, sampling.guidance)
    x = follow(velocity, x, times, sampling.sampler, lambda z, step: after(model.denormalize(z), step))
    if not x.isfinite().all():
        raise BadItem(
            "The model gave latents that are not finite.",
            "Expected finite ones.",
            "Use less guidance or more steps; or train the model again with a lower learning rate.",
        )
    return model.denormalize(x).cpu()


def settings_of(options: GenerateOptions, sampling: Sampling, generator: OpenGenerator) -> dict[str, Any]:
    """Everything that is needed to repeat a call."""
    origin = generator.space.origin
    return {
        "model": str(options.model),
        "recipe": generator.file.facts.recipe,
        "vae": None if origin is None else origin.fingerprint,
        "prompt": options.prompt,
        "negative": options.negative,
        "seed": options.seed,
        "count": options.count,
        "steps": sampling.steps,
        "sampler": sampling.sampler,
        "guidance": None if isinstance(generator.model.config.condition, NoCondition) else sampling.guidance,
        "shift": generator.file.facts.shift,
        **({} if options.init is None else {"init": str(options.init), "strength": options.strength}),
    }

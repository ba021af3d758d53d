"""Generate images with a diffusers pipeline, whose VAE is run by an engine."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin, origin_of
from vaekit.domains.images.png_metadata import png_text, read_settings
from vaekit.domains.images.read import read_image
from vaekit.domains.images.sequences import resized
from vaekit.domains.images.write import to_bytes, write_8_bit
from vaekit.errors import BadItem, BadPlan, VaekitError
from vaekit.identification.file_hashes import sha256_of
from vaekit.interop.diffusers_engine import EngineVAE
from vaekit.latents.preview import calmed
from vaekit.metrics.image.color import over_white
from vaekit.tasks.generation import GenerateCallbacks, GenerateOptions, Generation
from vaekit.tasks.pipeline_call import (
    GUIDANCE,
    STEPS,
    TRUE_GUIDANCE,
    check_options,
    check_prompt,
    check_scheduler,
    default_size,
    guidance_arguments,
    multiple_of,
    parameters_of,
    size_arguments,
    with_scheduler,
)
from vaekit.tasks.pipeline_folder import PipelineFolder, check_text, read_pipeline
from vaekit.tasks.pipeline_latents import as_maps
from vaekit.tasks.pipeline_loading import in_dtype, load_pipeline, quiet, translated
from vaekit.tasks.pipeline_vae import PipelineVAE, open_pipeline_vae
from vaekit.tasks.previews import PREVIEW, Previews, previews_of
from vaekit.tasks.record import write_record
from vaekit.training.seeds import derive_seed
from vaekit.vae import denormalize, half_missing
from vaekit.version import __version__

NAME = "generated"
"""The start of the names of files."""
MODELS = ("transformer", "unet", "prior")
"""The components that are diffusion models."""


def generate_with_pipeline(
    options: GenerateOptions,
    callbacks: GenerateCallbacks = GenerateCallbacks(),  # noqa: B008  (a frozen value)
) -> Generation:
    """Generate images with the diffusers pipeline in the folder `options.model`.

    Item n follows from the seed and n alone: items are generated one at a time. Files that an interrupted call left, or
    one for fewer items, are kept if they have the same settings.

    Args:
        options: what to generate.
        callbacks: for progress, messages and previews.

    Raises:
        NotFound, BadCheckpoint, WrongTensors: there is no pipeline in the folder, or something in it is missing,
            damaged, a pickle, or of a class that diffusers does not have.
        BadPlan: an option has an impossible value, or the pipeline does not take it.
        LatentMismatch, UnknownNormalization, HalfMissing, UnknownVAE, AmbiguousName: the VAE does not suit.
        BadItem: the initial image cannot be read, or the result is non-finite.
        MissingPackage: diffusers or transformers is not installed.
        TooLittleMemory, OutOfMemory: the memory is not sufficient.
        CannotWrite: the disk is full, or the like.
    """
    check_options(options)
    run = open_run(options)
    paths = run.generate(callbacks)
    write_record(options.out / f"{NAME}.json", run.settings | {"count": options.count})
    return Generation(
        tuple(paths), run.settings, tuple(dict.fromkeys((*run.vae.notes, *run.notes, *run.vae.engine.notes)))
    )


def open_run(options: GenerateOptions) -> "PipelineRun":
    """Load a pipeline for these options; see `generate_with_pipeline` for the errors."""
    folder, plan = read_pipeline(options.model), options.engine.plan()
    check_text(folder)
    vae = open_pipeline_vae(folder, plan, options.vae, options.models)
    if options.init is not None and vae.engine.vae.encoder is None:
        raise half_missing("encoder", "decoder")
    dtype = plan.torch_decode_dtype
    pipeline = load_pipeline(folder, dtype, plan.torch_device)
    with translated("The pipeline cannot run with this VAE"), quiet():
        pipeline = type(pipeline).from_pipe(pipeline, vae=EngineVAE(vae.engine, dtype), **in_dtype(dtype))
        pipeline = for_task(pipeline, options, dtype)
    pipeline.set_progress_bar_config(disable=True)
    if "num_frames" in parameters_of(pipeline):
        raise BadPlan(f"{type(pipeline).__name__} generates videos.", "Expected a pipeline that generates images.", "")
    if options.scheduler is not None:
        pipeline.scheduler = with_scheduler(pipeline.scheduler, options.scheduler)
    check_scheduler(pipeline)
    check_prompt(pipeline, options)
    init = None if options.init is None else initial_image(options, pipeline)
    return PipelineRun(options, folder, vae, pipeline, init)


def for_task(pipeline: Any, options: GenerateOptions, dtype: torch.dtype) -> Any:
    """The pipeline for text to images, or for images to images with the same components.

    Raises:
        BadPlan: diffusers has none for these models.
    """
    import diffusers

    name = type(pipeline).__name__
    wanted = diffusers.AutoPipelineForText2Image if options.init is None else diffusers.AutoPipelineForImage2Image
    try:
        found = wanted.from_pipe(pipeline, **in_dtype(dtype))
    except ValueError as error:  # no such pipeline of this model
        if options.init is None:
            return pipeline
        raise BadPlan(
            f"diffusers has no pipeline from images to images for {name}.",
            "Expected a model with one, such as SD1, SDXL, SD3 or FLUX.1.",
            "Omit --init.",
        ) from error
    if options.init is not None and not {"image", "strength"} <= parameters_of(found).keys():
        raise BadPlan(
            f"{type(found).__name__} does not start from a noisy image: it has no strength.",
            "Expected a model with a pipeline from images to images, such as SD1, SDXL, SD3 or FLUX.1.",
            "Omit --init.",
        )
    return found


def initial_image(options: GenerateOptions, pipeline: Any) -> Image.Image:
    """The initial image, over white if it is transparent, in the requested size or its own, which is cropped to what
    the pipeline needs.

    Raises:
        NotFound, BadItem: it cannot be read, or is too small.
    """
    assert options.init is not None
    image, multiple = read_image(options.init), multiple_of(pipeline)
    size = options.size or tuple(side // multiple * multiple for side in (image.height, image.width))
    size_arguments(pipeline, options.size)
    if not all(size):
        raise BadItem(
            f"{options.init} has {image.width}x{image.height} pixels.",
            f"{type(pipeline).__name__} needs at least {multiple}x{multiple}.",
            "Give a larger image, or --size.",
        )
    fitted = resized(image, (size[0], size[1]))
    pixels = fitted.pixels if fitted.alpha is None else over_white(fitted.pixels, fitted.alpha)
    return Image.fromarray(to_bytes(pixels))


@dataclass(eq=False)
class PipelineRun:
    """A pipeline that is ready to generate items."""

    options: GenerateOptions
    folder: PipelineFolder
    vae: PipelineVAE
    pipeline: Any
    init: Image.Image | None
    notes: list[str] = field(default_factory=list)

    def generate(self, callbacks: GenerateCallbacks) -> list[Path]:
        """Generate all items that are not there yet, and return their files."""
        paths = []
        arguments = self.arguments  # refuses options before anything is run
        if self.size is not None:  # and sizes that the VAE cannot decode
            self.vae.engine.explain(*self.size, only=None if self.init else "decode")
        previews = self.previews()
        for number in range(1, self.options.count + 1):
            path = self.options.out / f"{NAME}-{number:04d}.png"
            if not self.is_done(path, number):
                report = self.reporter(number, callbacks, previews)
                image = self.item(number, arguments, report)
                settings = self.settings_of(number) | {"size": list(image.shape[2:])}
                write_8_bit(path, Image.fromarray(to_bytes(image)), {"pnginfo": png_text(settings)})
            paths.append(path)
            callbacks.progress(number * self.steps, self.options.count * self.steps)
        return paths

    def item(self, number: int, arguments: dict[str, Any], report: Callable[[int, Tensor], None]) -> Tensor:
        """One image (1, 3, h, w) in [-1, 1]."""
        if self.init is not None and not self.steps:
            return self.reconstructed()
        generator = torch.Generator().manual_seed(self.generator_seed(number))
        given = {"generator": generator, "output_type": "pt"} | self.callback(report)
        given = {name: value for name, value in given.items() if name in parameters_of(self.pipeline)}
        failure = f"{type(self.pipeline).__name__} failed"
        remedy = "Check that the components of the pipeline belong together, and the options."
        device = self.vae.engine.plan.torch_device
        with translated(failure, BadPlan, remedy), quiet() as remarks, global_seed(self.generator_seed(number), device):
            result = self.pipeline(**arguments, **given)
        self.notes += [remark for remark in remarks if "truncated" in remark]  # of a prompt
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            self.notes.append(f"The pipeline's safety checker replaced item {number} by a black image.")
        images = result.images
        if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[:2] != (1, 3):
            raise BadPlan(
                f"{type(self.pipeline).__name__} returns no image in RGB.",
                "Expected one image per call, of shape (1, 3, height, width).",
                "Run it with diffusers itself.",
            )
        return images.float().cpu() * 2 - 1

    def reconstructed(self) -> Tensor:
        """The initial image, encoded and decoded."""
        pixels = self.pipeline.image_processor.preprocess(self.init)
        return self.vae.engine.reconstruct(pixels).cpu()

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments that are the same for all items."""
        options, takes = self.options, parameters_of(self.pipeline)
        if options.steps is not None and STEPS not in takes:
            raise BadPlan(f"{type(self.pipeline).__name__} cannot be given a number of steps.", "", "Omit --steps.")
        shared = {"prompt": options.prompt} | guidance_arguments(self.pipeline, options)
        shared |= {} if options.steps is None else {STEPS: options.steps}
        if self.init is None:
            return shared | size_arguments(self.pipeline, options.size)
        if options.strength and not self.steps:
            raise BadPlan(
                f"A strength of {options.strength:g} of {self.all_steps} steps is less than one step.",
                f"Expected a strength of at least {1 / self.all_steps:.2g}, or 0 for the initial image as it is.",
                "Raise --strength or --steps.",
            )
        size = size_arguments(self.pipeline, (self.init.height, self.init.width))
        return shared | size | {"image": self.init, "strength": options.strength}

    @property
    def all_steps(self) -> int:
        """The number of steps from noise to image."""
        if self.options.steps is not None:
            return self.options.steps
        parameter = parameters_of(self.pipeline).get(STEPS)
        return parameter.default if parameter is not None and isinstance(parameter.default, int) else 1

    @property
    def steps(self) -> int:
        """The number of steps of one item."""
        return self.all_steps if self.init is None else int(self.all_steps * self.options.strength)

    def callback(self, report: Callable[[int, Tensor], None]) -> dict[str, Any]:
        """The argument that makes the pipeline report its steps."""

        def on_step_end(pipeline: Any, step: int, _timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
            calls = max(1, getattr(pipeline, "num_timesteps", self.steps) or self.steps)
            report(min(self.steps, round((step + 1) * self.steps / calls)), tensors["latents"])
            return {}

        return {"callback_on_step_end": on_step_end}

    def reporter(
        self, number: int, callbacks: GenerateCallbacks, previews: "Previews | None"
    ) -> Callable[[int, Tensor], None]:
        """What is called after each step of an item, with the number of its steps and the pipeline's latents."""

        def report(done: int, latents: Tensor) -> None:
            finished = (number - 1) * self.steps + done
            callbacks.progress(finished, self.options.count * self.steps)
            normalization = self.pipeline.vae.normalization
            channels = self.vae.engine.geometry.latent_channels * normalization.patch**2
            maps = as_maps(latents.detach(), channels, self.size)
            if maps is not None:
                raw = denormalize(calmed(maps), normalization)
                callbacks.preview(raw, done)
                if previews is not None:
                    previews.write(raw)

        return report

    def previews(self) -> Previews | None:
        """Makes preview files, if they are wanted."""
        if not self.options.previews:
            return None
        return previews_of(self.vae.engine, self.options.out / PREVIEW, self.options.models)

    @property
    def size(self) -> tuple[int, int] | None:
        """The size (height, width) of items, if it is known in advance."""
        if self.init is not None:
            return self.init.height, self.init.width
        return self.options.size or default_size(self.pipeline)

    def generator_seed(self, number: int) -> int:
        """The seed of the generator of an item."""
        return derive_seed(self.options.seed, "generate", number)

    def is_done(self, path: Path, number: int) -> bool:
        """Whether there is a file of this item with the same settings."""
        try:
            before = read_settings(path)
        except VaekitError:
            return False
        size = before.pop("size", None)
        requested = self.size if self.init is not None or self.options.size else None
        return before == json.loads(json.dumps(self.settings_of(number))) and requested in (None, tuple(size or ()))

    def settings_of(self, number: int) -> dict[str, Any]:
        """What is needed to repeat an item, without its size."""
        return self.settings | {"item": number, "generator_seed": self.generator_seed(number)}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What all items have in common."""
        import diffusers

        options, takes, arguments = self.options, parameters_of(self.pipeline), self.arguments
        scales = {key: arguments.get(key, takes[key].default) for key in (GUIDANCE, TRUE_GUIDANCE) if key in takes}
        origin: LatentOrigin = origin_of(self.vae.engine.vae)
        hashes = {name: weights_hash(self.folder, name) for name in MODELS if name in self.folder.components}
        settings: dict[str, Any] = {
            "prompt": options.prompt,
            "negative": arguments.get("negative_prompt"),
            "seed": options.seed,
            "steps": self.all_steps,
            "guidance": scales.get(TRUE_GUIDANCE if TRUE_GUIDANCE in arguments else GUIDANCE),
            **(scales if len(scales) > 1 else {}),
            "scheduler": type(self.pipeline.scheduler).__name__,
            "pipeline": type(self.pipeline).__name__,
            "model": options.model.resolve().name,
            "model_hash": next(iter(hashes.values()), None),
            "weights": hashes,
            "vae_name": self.vae.name,
            "vae_hash": origin.fingerprint,
            "dtype": options.dtype,
            "vaekit": __version__,
            "diffusers": diffusers.__version__,
        }
        if options.init is not None:
            settings |= {"init": options.init.name, "init_hash": sha256_of(options.init), "strength": options.strength}
        return settings


def weights_hash(folder: PipelineFolder, component: str) -> str:
    """A SHA-256 over those of the files with the weights of a component; cached until they change."""
    return hashlib.sha256(" ".join(map(sha256_of, folder.weights(component))).encode()).hexdigest()


@contextmanager
def global_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, which some schedulers use beside the given one, and restore them afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

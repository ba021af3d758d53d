"""The arguments with which a diffusers pipeline is called, after checking options against what it takes."""

import inspect
import math
from collections.abc import Mapping
from typing import Any

from vaekit.errors import BadPlan, did_you_mean, printable
from vaekit.tasks.generation import GenerateOptions

STEPS, GUIDANCE, TRUE_GUIDANCE = "num_inference_steps", "guidance_scale", "true_cfg_scale"
FLOW = "FlowMatch"
"""The start of the names of schedulers of flow matching; others are of diffusion with a noise schedule."""


def check_options(options: GenerateOptions) -> None:
    """Check values that no pipeline takes.

    Raises:
        BadPlan: one is impossible.
    """
    if options.steps is not None and options.steps < 1:
        raise BadPlan(f"{options.steps} steps were requested.", "Expected at least 1.", "Omit --steps for the default.")
    if options.count < 1:
        raise BadPlan(f"{options.count} items were requested.", "Expected at least 1.", "")
    if options.guidance is not None and not 0 <= options.guidance < math.inf:
        raise BadPlan(
            f"The guidance is {options.guidance:g}.",
            "Expected a finite number from 0 on; 1 is none.",
            "Usual are 3 to 8.",
        )
    if options.init is not None and not 0 <= options.strength <= 1:
        raise BadPlan(
            f"The strength is {options.strength:g}.",
            "Expected 0 (the initial image as it is) to 1 (nothing of it is left).",
            "Usual are 0.3 to 0.8.",
        )


def check_prompt(pipeline: Any, options: GenerateOptions) -> None:
    """Check that there is a prompt, and that the pipeline takes one.

    Raises:
        BadPlan: there is none, or the pipeline takes none.
    """
    name = type(pipeline).__name__
    if "prompt" not in parameters_of(pipeline):
        raise BadPlan(
            f"{name} is not generated from a prompt.",
            "Expected a pipeline from text to images, such as those of SD1, SDXL, SD3 and FLUX.",
            "Run it with diffusers itself.",
        )
    if options.prompt is None:
        raise BadPlan(f"{name} needs a prompt, and none was given.", "Expected a text.", 'An empty one is "".')


def guidance_arguments(pipeline: Any, options: GenerateOptions) -> dict[str, Any]:
    """The arguments of guidance and of the negative prompt.

    Pipelines of models with distilled guidance, such as FLUX.1 dev, have two: guidance as an input of the model, and
    "true" classifier-free guidance with a negative prompt, which takes twice as long. With a negative prompt, or for a
    model without the input, the second one is meant.

    Raises:
        BadPlan: the pipeline takes no negative prompt or no guidance, or the negative prompt would have no effect.
    """
    takes, name = parameters_of(pipeline), type(pipeline).__name__
    if options.negative is not None and "negative_prompt" not in takes:
        raise BadPlan(f"{name} takes no negative prompt.", "", "Omit --negative.")
    if options.guidance is not None and not {GUIDANCE, TRUE_GUIDANCE} & takes.keys():
        raise BadPlan(f"{name} takes no guidance.", "", "Omit --guidance.")
    embeds = getattr(getattr(denoiser_of(pipeline), "config", None), "guidance_embeds", False)
    is_true = TRUE_GUIDANCE in takes and (options.negative is not None or (options.guidance is not None and not embeds))
    key = TRUE_GUIDANCE if is_true else GUIDANCE
    scale = takes[key].default if options.guidance is None and key in takes else options.guidance
    if options.negative is not None and isinstance(scale, int | float) and scale <= 1:
        raise BadPlan(
            f"The negative prompt has no effect in {name} at guidance {scale:g}.",
            "Expected a guidance above 1.",
            "Add --guidance 4, or omit --negative.",
        )
    negative = {"negative_prompt": options.negative or ""} if is_true or options.negative is not None else {}
    return negative | ({key: scale} if is_true or options.guidance is not None else {})


def size_arguments(pipeline: Any, size: tuple[int, int] | None) -> dict[str, int]:
    """Height and width.

    Raises:
        BadPlan: they are no multiples of what the pipeline needs.
    """
    if size is None:
        return {}
    multiple = multiple_of(pipeline)
    if any(side < 1 or side % multiple for side in size):
        nearest = "x".join(str(max(1, round(side / multiple)) * multiple) for side in reversed(size))
        raise BadPlan(
            f"The size is {size[1]}x{size[0]}.",
            f"{type(pipeline).__name__} makes images whose width and height are multiples of {multiple}.",
            f"The nearest such size is {nearest}.",
        )
    return {"height": size[0], "width": size[1]} if "height" in parameters_of(pipeline) else {}


def multiple_of(pipeline: Any) -> int:
    """Width and height of images are multiples of this: the VAE's factor, times the side of the model's patches."""
    factor = int(getattr(pipeline, "vae_scale_factor", 8))
    processor = getattr(getattr(pipeline, "image_processor", None), "config", {})
    patch = getattr(getattr(denoiser_of(pipeline), "config", None), "patch_size", None)
    side = patch[-1] if isinstance(patch, list | tuple) else patch
    return math.lcm(
        factor * (side if isinstance(side, int) and side > 0 else 1), processor.get("vae_scale_factor", factor)
    )


def default_size(pipeline: Any) -> tuple[int, int] | None:
    """The size (height, width) of images if none is given; None if it is unknown."""
    factor = getattr(pipeline, "vae_scale_factor", 8)
    side = getattr(pipeline, "default_sample_size", None)
    side = getattr(getattr(denoiser_of(pipeline), "config", None), "sample_size", None) if side is None else side
    sides = (side, side) if isinstance(side, int) else side
    if not (isinstance(sides, list | tuple) and len(sides) == 2 and all(isinstance(each, int) for each in sides)):
        return None
    return sides[0] * factor, sides[1] * factor


def check_scheduler(pipeline: Any) -> None:
    """Check that the pipeline's scheduler is of the kind that it works with.

    Raises:
        BadPlan: it is of flow matching, and the model of diffusion with a noise schedule, or the other way round.
    """
    expected = inspect.signature(type(pipeline).__init__).parameters["scheduler"].annotation
    given, name = pipeline.scheduler, type(pipeline.scheduler).__name__
    if FLOW in str(expected) and not is_flow(given):
        wanted = "flow matching, such as FlowMatchEulerDiscreteScheduler"
    elif "KarrasDiffusionSchedulers" in str(expected) and name.startswith(FLOW):
        wanted = "diffusion with a noise schedule, such as EulerDiscreteScheduler"
    else:
        return
    raise BadPlan(
        f"The pipeline's scheduler is {name}, which {type(pipeline).__name__} does not work with.",
        f"Expected one of {wanted}.",
        "Correct scheduler/scheduler_config.json and model_index.json, or choose another one with --scheduler.",
    )


def is_flow(scheduler: Any) -> bool:
    """Whether a scheduler is one of flow matching, or is set to it."""
    config = scheduler.config
    flow = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    return bool(flow) or type(scheduler).__name__.startswith(FLOW)


def with_scheduler(scheduler: Any, name: str) -> Any:
    """The scheduler of this name, with the settings of the pipeline's own.

    Args:
        scheduler: the pipeline's.
        name: that of diffusers' class, or its beginning: "euler" for EulerDiscreteScheduler.

    Raises:
        BadPlan: there is none, or it is not compatible.
    """
    classes = {each.__name__: each for each in (type(scheduler), *scheduler.compatibles)}
    short = {short_name(each): each for each in classes}
    found = classes.get(name) or classes.get(short.get(short_name(name), ""))
    if found is None:
        raise BadPlan(
            f"The pipeline cannot run with a scheduler {printable(repr(name))}.",
            f"Compatible with its own are: {', '.join(sorted(short))}.",
            did_you_mean(short_name(name), short),
        )
    return found.from_config(scheduler.config)


def short_name(name: str) -> str:
    """The name of a scheduler without what most have in common, in lower case.

    >>> short_name("EulerAncestralDiscreteScheduler")
    'eulerancestral'
    """
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    return plain.removesuffix("scheduler").removesuffix("discrete")


def parameters_of(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters with which a pipeline is called."""
    return inspect.signature(pipeline.__call__).parameters


def denoiser_of(pipeline: Any) -> Any:
    """The diffusion model of a pipeline; None if it has none of a usual name."""
    components = pipeline.components
    return next(
        (components[name] for name in ("transformer", "unet", "prior") if components.get(name) is not None), None
    )

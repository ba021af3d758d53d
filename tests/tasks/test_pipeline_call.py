"""Options against what a pipeline takes, with stand-ins for pipelines."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from refusals import refuses

from vaekit.errors import BadPlan
from vaekit.tasks.generation import GenerateOptions
from vaekit.tasks.pipeline_call import (
    check_options,
    check_prompt,
    default_size,
    guidance_arguments,
    multiple_of,
    short_name,
    size_arguments,
)

OPTIONS = GenerateOptions(Path("model"), Path("out"), prompt="a cat")


class Pipeline:
    """Stands for a pipeline of SD1."""

    vae_scale_factor = 8

    def __init__(self, **config: Any) -> None:
        self.components = {"unet": None, "transformer": SimpleNamespace(config=SimpleNamespace(**config))}
        self.image_processor = SimpleNamespace(config={"vae_scale_factor": 8})

    def __call__(self, prompt: str, height: int = 0, guidance_scale: float = 7.5, negative_prompt: str = "") -> None:
        """Do nothing."""


class Distilled(Pipeline):
    """Stands for one of FLUX.1."""

    def __call__(  # type: ignore[override]
        self, prompt: str, guidance_scale: float = 3.5, negative_prompt: str = "", true_cfg_scale: float = 1.0
    ) -> None:
        """Do nothing."""


class Plain:
    """Stands for one that takes nothing else."""

    components: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, class_labels: int) -> None:
        """Do nothing."""


def guidance(pipeline: Any, **options: Any) -> dict[str, Any]:
    return guidance_arguments(pipeline, replace(OPTIONS, **options))


def test_guidance() -> None:
    assert guidance(Pipeline()) == {}
    assert guidance(Pipeline(), guidance=3.0, negative="rain") == {"guidance_scale": 3.0, "negative_prompt": "rain"}
    with refuses(BadPlan, "Pipeline", "--guidance"):
        guidance(Pipeline(), guidance=1.0, negative="rain")
    with refuses(BadPlan, "Plain", "--negative"):
        guidance(Plain(), negative="rain")
    with refuses(BadPlan, "Plain", "--guidance"):
        guidance(Plain(), guidance=2.0)


def test_guidance_of_distilled_models() -> None:
    dev, schnell = Distilled(guidance_embeds=True), Distilled(guidance_embeds=False)
    true = {"true_cfg_scale": 3.0}
    assert guidance(dev) == guidance(schnell) == {}
    assert guidance(dev, guidance=3.0) == {"guidance_scale": 3.0}
    assert guidance(dev, guidance=3.0, negative="rain") == true | {"negative_prompt": "rain"}
    assert guidance(schnell, guidance=3.0) == true | {"negative_prompt": ""}
    for pipeline in (dev, schnell):
        with refuses(BadPlan, "--guidance"):
            guidance(pipeline, negative="rain")


def test_sizes() -> None:
    assert multiple_of(Pipeline()) == 8
    assert multiple_of(Pipeline(patch_size=2)) == multiple_of(Pipeline(patch_size=[1, 2, 2])) == 16
    packed = Pipeline(patch_size=1)
    packed.image_processor.config["vae_scale_factor"] = 16
    assert multiple_of(packed) == 16
    assert size_arguments(packed, (32, 48)) == {"height": 32, "width": 48}
    assert size_arguments(packed, None) == {}
    for size, nearest in (((33, 48), "48x32"), ((0, 16), "16x16"), ((-16, 16), "16x16")):
        with refuses(BadPlan, nearest, 16):
            size_arguments(packed, size)


def test_default_sizes() -> None:
    assert default_size(Pipeline(sample_size=64)) == (512, 512)
    assert default_size(Pipeline(sample_size=[60, 90])) == (480, 720)
    assert default_size(Pipeline(sample_size=None)) is None
    assert default_size(Pipeline()) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "--steps"),
        ({"count": -1}, -1),
        ({"guidance": -1.0}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"init": Path("a"), "strength": 2.5}, 2.5),
    ],
)
def test_impossible_values(changes: dict[str, Any], said: object) -> None:
    check_options(OPTIONS)
    with refuses(BadPlan, said):
        check_options(replace(OPTIONS, **changes))


def test_prompts() -> None:
    check_prompt(Pipeline(), OPTIONS)
    check_prompt(Pipeline(), replace(OPTIONS, prompt=""))
    with refuses(BadPlan, "Pipeline"):
        check_prompt(Pipeline(), replace(OPTIONS, prompt=None))
    with refuses(BadPlan, "Plain"):
        check_prompt(Plain(), OPTIONS)


def test_names_of_schedulers() -> None:
    for name in ("EulerAncestralDiscreteScheduler", "euler ancestral", "Euler_Ancestral", "euler-ancestral"):
        assert short_name(name) == "eulerancestral"

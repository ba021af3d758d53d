"""The table [diffusion] of a recipe: net, condition, times and sampling.

[diffusion.net]        kind = "dit" or "unet", and the fields of its config; shapes follow from the latents
[diffusion.condition]  kind = "none", "classes", "captions" or "clip", drop, column, and fields of its config
[diffusion.times]      mean, std, shift
[diffusion.sampling]   steps, sampler, guidance: defaults of `vaekit generate`
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from vaekit.diffusion.conditions import CAPTIONS, CLASSES, NONE, ConditionConfig
from vaekit.diffusion.flow import Times, time_shift
from vaekit.diffusion.model import NETS, ModelConfig
from vaekit.diffusion.objective import FlowMatching
from vaekit.diffusion.samplers import Sampling
from vaekit.errors import BadRecipe, printable
from vaekit.nets.denoising import NetConfig
from vaekit.reading import physical_memory
from vaekit.records import from_dict
from vaekit.training.recipe import BYTES, UNBUILDABLE, Recipe

TABLE = "diffusion"
CLIP = "clip"
KINDS = (NONE, CLASSES, CAPTIONS, CLIP)
NOT_FOR_DIFFUSION = frozenset({"objective", "codes", "start"})
"""Entries of recipes of VAEs."""
COPIES = 4
"""Of the weights during training: master weights, an average, and two of the optimizer."""


@dataclass(frozen=True)
class ConditionSettings:
    """Where conditions come from, and how often they are left out."""

    kind: str = NONE
    column: str | None = None
    """Of labels or captions; None for the usual one."""
    drop: float = 0.1
    """The share of items that are trained without their condition."""
    encoder: str | None = None
    """The folder of a CLIP text model, for the kind "clip"."""
    length: int = 32
    """Tokens of a caption at most."""
    words: int = 8192
    """Words of the vocabulary at most: the most frequent ones."""
    net: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the caption encoder: width, layers, heads, dropout."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"its kind is {printable(repr(self.kind))}; expected one of {', '.join(KINDS)}")
        if self.length < 2 or self.words < 1:
            raise ValueError("length is at least 2, words at least 1")


@dataclass(frozen=True)
class TimeSettings:
    """The distribution of times; see `Times`."""

    mean: float = 0.0
    std: float = 1.0
    shift: float | None = None
    """None for that of the dimension of the latents, see `time_shift`."""

    def times(self, dimension: int) -> Times:
        """The distribution for latents of this many values."""
        return Times(self.mean, self.std, time_shift(dimension) if self.shift is None else self.shift)


@dataclass(frozen=True)
class DiffusionSettings:
    """The table, without the shapes that follow from the data."""

    net: Mapping[str, Any]
    condition: ConditionSettings
    times: TimeSettings
    sampling: Sampling


def is_diffusion(recipe: Recipe) -> bool:
    """Whether a recipe trains a diffusion model."""
    return TABLE in recipe.table


def diffusion_settings(recipe: Recipe) -> DiffusionSettings:
    """Read the table.

    Raises:
        BadRecipe: a value is missing, unknown, of another type, or out of range.
    """
    table, others = recipe.table.get(TABLE), NOT_FOR_DIFFUSION & recipe.table.keys()
    try:
        if others:
            raise ValueError(f"the recipe also has {min(others)}, which is for VAEs")
        if not isinstance(table, Mapping) or not isinstance(table.get("net", {}), Mapping):
            raise ValueError("something is not a table")
        unknown = table.keys() - {"net", "condition", "times", "sampling"}
        if unknown:
            raise ValueError(f"unknown key {printable(min(unknown))!r}; expected net, condition, times, sampling")
        return DiffusionSettings(
            table.get("net", {}),
            from_dict(ConditionSettings, table.get("condition", {})),
            from_dict(TimeSettings, table.get("times", {})),
            from_dict(Sampling, table.get("sampling", {})),
        )
    except ValueError as error:
        raise unusable(recipe, str(error)) from error


def net_config(recipe: Recipe, settings: DiffusionSettings, shape: tuple[int, ...]) -> NetConfig:
    """The config of the net for latents of a shape (z, *positions).

    Raises:
        BadRecipe: the table is invalid, or the net does not take such latents.
    """
    table = dict(settings.net)
    kind = table.pop("kind", "dit")
    try:
        if kind not in NETS:
            raise ValueError(f"net.kind is {printable(repr(kind))}; expected {' or '.join(NETS)}")
        return from_dict(NETS[kind], {**table, "channels": shape[0], "size": list(shape[1:])})
    except ValueError as error:
        raise unusable(recipe, str(error)) from error


def model_config(recipe: Recipe, net: NetConfig, condition: ConditionConfig) -> ModelConfig:
    """The config of a model, which was built once without memory.

    Raises:
        BadRecipe: it cannot be built, or does not fit into memory.
    """
    config = ModelConfig(net, condition)
    try:
        with torch.device("meta"):
            values = sum(each.numel() for each in config.build().state_dict().values())
    except UNBUILDABLE as error:
        raise unusable(recipe, f"its net cannot be built: {error}") from error
    if COPIES * BYTES * values > physical_memory():
        raise unusable(recipe, f"training its {values:,} weights takes more memory than this machine has")
    return config


def flow_matching(recipe: Recipe, settings: DiffusionSettings, dimension: int) -> FlowMatching:
    """The loss of a run on latents of this many values.

    Raises:
        BadRecipe: a value is out of range.
    """
    try:
        return FlowMatching(settings.times.times(dimension), settings.condition.drop)
    except ValueError as error:
        raise unusable(recipe, str(error)) from error


def unusable(recipe: Recipe, why: str) -> BadRecipe:
    """The error for an invalid table."""
    return BadRecipe(
        f"The recipe {recipe.name} cannot be used: in [{TABLE}], {why.removesuffix('.')}.",
        "",
        "See docs/diffusion.md for valid recipes.",
    )

"""The interface to detect, build and save one family of VAEs.

A detector reads native keys and shapes and returns the whole configuration, or None. Levels, blocks and widths are
counted; no file name is ever looked at. Counts use every key of a block, so that a missing tensor shows up as missing
and not as a smaller model.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from vaekit.distributions import Always, Likelihood, Posterior, StandardNormal, ToPrior
from vaekit.errors import WrongTensors
from vaekit.families.layout import Layout
from vaekit.families.normalization import NormalizationTensors, normalization_of_settings
from vaekit.nets import config as nets
from vaekit.normalization import LatentNormalization


@runtime_checkable
class Config(nets.Config, Protocol):
    """The configuration of a network: a frozen dataclass of numbers, tuples, booleans and words."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __hash__(self) -> int: ...


Shapes = Mapping[str, tuple[int, ...]]
"""Native keys and the shapes of their tensors."""
Words = Mapping[str, Any]
"""What a JSON object tells."""


def no_diffusers_class(config: Any, _: LatentNormalization | None) -> dict[str, Any]:
    """The answer of a family that diffusers cannot build.

    Raises:
        WrongTensors: always.
    """
    raise WrongTensors(
        f"diffusers has no class for a {type(config).__name__.removesuffix('Config')} autoencoder.",
        "",
        'Save it in the "native" layout.',
    )


def refuse_obstacles(name: str, obstacles: Mapping[str, bool], layouts: str) -> None:
    """Refuse a network that a class of diffusers cannot build.

    Args:
        name: of the class.
        obstacles: what the network may have that the class cannot express, and whether it does.
        layouts: that can express it, quoted.

    Raises:
        WrongTensors: it has one of them.
    """
    met = [obstacle for obstacle, there in obstacles.items() if there]
    if met:
        raise WrongTensors(
            f"diffusers' {name} cannot express this VAE: it has {' and '.join(met)}.",
            "",
            f"Save it in the {layouts} layout.",
        )


def all_told(config: Any, _metadata: Words, _settings: Words) -> Any:
    """The config of a family whose keys and shapes tell everything."""
    return config


def nothing_assumed(_: Any) -> list[str]:
    """The caution of a family whose keys and shapes tell everything."""
    return []


def gaussian_prior(_: Any) -> ToPrior:
    """The prior of a family trained against N(0, 1)."""
    return Always(StandardNormal())


def no_prior(_: Any) -> None:
    """The prior of a family of plain autoencoders."""


@dataclass(frozen=True)
class Family:
    """What it takes to turn native tensors into a VAE, and back."""

    name: str
    config: type[Any]
    layouts: tuple[Layout, ...]
    """Every naming scheme that is read; those named after a half hold that half only. Where two fit equally well, the
    first one named is the answer."""
    detect: Callable[[Shapes], Any]
    """The whole configuration from native keys and shapes, or None; of half a VAE, the other half mirrors it."""
    build: Callable[[Any], tuple[nn.Module | None, nn.Module | None]]
    """Encoder and decoder; None for a half that no model of the family has."""
    posterior_head: Callable[[Any], Callable[[Tensor], Posterior]]
    """The head that reads the moments of a network of this config as a posterior."""
    likelihood_head: Callable[[Any], Callable[[Tensor], Likelihood]]
    """The head that reads what a decoder of this config says as a likelihood."""
    prior_head: Callable[[Any], ToPrior | None] = gaussian_prior
    """The head that gives the prior of a VAE of this config."""
    from_words: Callable[[Words], Any] | None = None
    """The whole configuration from vaekit's metadata, for a family whose shapes tell none."""
    complete: Callable[[Any, Words, Words], Any] = all_told
    """The config with what weights do not tell and a file's metadata or a config.json may: (config, the config in
    vaekit's metadata, config.json). Raises UnknownVAE where the result can be no network."""
    assumed: Callable[[Any], list[str]] = nothing_assumed
    """Sentences about what the weights do not tell and nobody said."""
    diffusers: Callable[[Any, LatentNormalization | None], dict[str, Any]] = no_diffusers_class
    """The `config.json` with which diffusers builds the same network; WrongTensors where it cannot."""
    requires: tuple[str, ...] = ()
    """Native keys, or what such keys begin with, by which this family differs from others with the same names: without
    a key of each, tensors are not of this family."""
    normalization_tensors: NormalizationTensors | None = None
    """Tensors beside the weights that tell the normalization."""
    normalization_from_settings: Callable[[Words], LatentNormalization | None] = normalization_of_settings
    """The normalization that a diffusers `config.json` tells."""
    paddings: tuple[str, ...] = ()
    """Values of the config's field `padding`, which no weight depends on, the customary one first; empty for a family
    that pads in one way only."""

    def claims(self, keys: Collection[str]) -> bool:
        """Whether tensors with these native keys can be of this family."""
        return all(any(key.startswith(start) for key in keys) for start in self.requires)

    @property
    def outside_nets(self) -> frozenset[str]:
        """Native keys of tensors that belong to no net."""
        return self.normalization_tensors.keys if self.normalization_tensors else frozenset()

    def tensors_beside(self, config: Any, normalization: LatentNormalization | None) -> dict[str, Tensor]:
        """Native tensors that a file has beside the weights; empty where they cannot express this normalization."""
        return self.normalization_tensors.write(config, normalization) if self.normalization_tensors else {}


def highest(shapes: Shapes, template: str) -> int:
    """One more than the largest number that stands at the group of the pattern; 0 where no key matches."""
    pattern = re.compile(template)
    return max((int(match[1]) + 1 for key in shapes if (match := pattern.match(key))), default=0)


def first_shape(shapes: Shapes, *keys: str) -> tuple[int, ...] | None:
    """The shape of the first of these tensors that is there and not empty: any of them would tell the same."""
    return next((shapes[key] for key in keys if all(shapes.get(key, ())) and shapes.get(key)), None)


def conv_shape(shapes: Shapes, key: str) -> tuple[int, ...] | None:
    """The shape of a convolution over images, (out, in, rows, columns); None where it is absent or another thing."""
    shape = first_shape(shapes, key)
    return shape if shape is not None and len(shape) == 4 else None

"""The interface to detect, build and save one family of VAEs.

A detector derives the whole configuration from native keys and shapes, or returns None. Levels, blocks and widths are
counted; file names are ignored. Counts use every key of a block, so that a missing tensor is reported as missing rather
than as a smaller model.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from vaekit.audio_format import AudioFormat
from vaekit.distributions import Always, Likelihood, Posterior, StandardNormal, ToPrior
from vaekit.errors import WrongTensors
from vaekit.families.layout import Layout
from vaekit.families.normalization import NormalizationTensors, normalization_of_settings
from vaekit.nets import config as nets
from vaekit.normalization import LatentNormalization


@runtime_checkable
class Config(nets.Config, Protocol):
    """The configuration of a network: a frozen dataclass of numbers, tuples, booleans and strings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __hash__(self) -> int: ...


Shapes = Mapping[str, tuple[int, ...]]
"""Native keys and the shapes of their tensors."""
Fields = Mapping[str, Any]
"""Config fields, from metadata or a config.json."""


def no_diffusers_class(config: Any, _: LatentNormalization | None) -> dict[str, Any]:
    """The default for families that diffusers does not have.

    Raises:
        WrongTensors: always.
    """
    raise WrongTensors(
        f"diffusers has no class for a {type(config).__name__.removesuffix('Config')} autoencoder.",
        "",
        'Save it in the "native" layout.',
    )


def refuse_obstacles(name: str, obstacles: Mapping[str, bool], layouts: str) -> None:
    """Reject a network that a class of diffusers cannot express.

    Args:
        name: of the class.
        obstacles: properties that the class cannot express, and whether the network has them.
        layouts: layouts that can express it, quoted.

    Raises:
        WrongTensors: the network has one of these properties.
    """
    present = [obstacle for obstacle, holds in obstacles.items() if holds]
    if present:
        raise WrongTensors(
            f"diffusers' {name} cannot express this VAE: it has {' and '.join(present)}.",
            "",
            f"Save it in the {layouts} layout.",
        )


def unchanged(config: Any, _metadata: Fields, _settings: Fields) -> Any:
    """The default for families whose keys and shapes determine the whole config."""
    return config


def nothing_assumed(_: Any) -> list[str]:
    """The default for families whose keys and shapes determine the whole config."""
    return []


def gaussian_prior(_: Any) -> ToPrior:
    """The prior of a family trained against N(0, 1)."""
    return Always(StandardNormal())


def no_prior(_: Any) -> None:
    """The prior of a family of plain autoencoders."""


def not_audio(_: Any) -> AudioFormat | None:
    """The default for families whose items are no waveforms."""
    return None


@dataclass(frozen=True)
class Family:
    """A family: how to detect, build and save its VAEs."""

    name: str
    config: type[Any]
    layouts: tuple[Layout, ...]
    """The supported naming schemes; those named after a half hold that half only. If two fit equally well, the first
    one is used."""
    detect: Callable[[Shapes], Any]
    """Derives the whole configuration from native keys and shapes, or returns None; a missing half mirrors the
    other."""
    build: Callable[[Any], tuple[nn.Module | None, nn.Module | None]]
    """Builds encoder and decoder; None for a half that no model of the family has."""
    posterior_head: Callable[[Any], Callable[[Tensor], Posterior]]
    """Returns the head that converts moments to a posterior."""
    likelihood_head: Callable[[Any], Callable[[Tensor], Likelihood]]
    """Returns the head that converts decoder outputs to a likelihood."""
    prior_head: Callable[[Any], ToPrior | None] = gaussian_prior
    """Returns the head of the prior."""
    from_metadata: Callable[[Fields], Any] | None = None
    """Derives the whole configuration from vaekit's metadata, for a family whose shapes do not determine it."""
    complete: Callable[[Any, Fields, Fields], Any] = unchanged
    """Adds fields that weights do not determine: (config, the config in vaekit's metadata, config.json). Raises
    UnknownVAE if no such network can exist."""
    assumed: Callable[[Any], list[str]] = nothing_assumed
    """Returns warnings about fields that neither the weights nor the file determine."""
    limits: Callable[[Any], list[str]] = nothing_assumed
    """Returns sentences about what a network of this config lacks: a vocoder, in whose place something worse is
    used."""
    diffusers: Callable[[Any, LatentNormalization | None], dict[str, Any]] = no_diffusers_class
    """Returns the `config.json` of the same network in diffusers; raises WrongTensors if it cannot express it."""
    requires: tuple[str, ...] = ()
    """Native keys, or prefixes of them, that distinguish this family from others with the same names: tensors of this
    family have a key for each."""
    normalization_tensors: NormalizationTensors | None = None
    """Tensors beside the weights that store the normalization."""
    normalization_from_settings: Callable[[Fields], LatentNormalization | None] = normalization_of_settings
    """Reads the normalization from a diffusers `config.json`."""
    paddings: tuple[str, ...] = ()
    """The values of the config's field `padding`, which weights do not determine, the most common first; empty for a
    family with a fixed padding."""
    audio: Callable[[Any], AudioFormat | None] = not_audio
    """Returns the sample rate and the channels of the waveforms that a network encodes; None for other items."""

    def claims(self, keys: Collection[str]) -> bool:
        """Whether tensors with these native keys may be of this family."""
        return all(any(key.startswith(start) for key in keys) for start in self.requires)

    @property
    def outside_nets(self) -> frozenset[str]:
        """The native keys of tensors that are not part of a net."""
        return self.normalization_tensors.keys if self.normalization_tensors else frozenset()

    def normalization_tensors_for(self, config: Any, normalization: LatentNormalization | None) -> dict[str, Tensor]:
        """The native tensors of the normalization; empty if they cannot express it."""
        return self.normalization_tensors.write(config, normalization) if self.normalization_tensors else {}


def highest(shapes: Shapes, template: str) -> int:
    """One more than the largest number in the pattern's group; 0 if no key matches."""
    pattern = re.compile(template)
    return max((int(match[1]) + 1 for key in shapes if (match := pattern.match(key))), default=0)


def first_shape(shapes: Shapes, *keys: str) -> tuple[int, ...] | None:
    """The shape of the first of these tensors that is present and not empty."""
    return next((shapes[key] for key in keys if all(shapes.get(key, ())) and shapes.get(key)), None)


def conv_shape(shapes: Shapes, key: str) -> tuple[int, ...] | None:
    """The shape of a 2-D convolution, (out, in, rows, columns); None if it is absent or has other axes."""
    shape = first_shape(shapes, key)
    return shape if shape is not None and len(shape) == 4 else None

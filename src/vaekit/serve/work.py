"""What a device is asked to do: groups of equal work, whose items may run at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.domains.finite_results import check_finite
from vaekit.serve.engines import Engines
from vaekit.serve.offer import OfferedVAE


@runtime_checkable
class Group(Protocol):
    """Work of one kind. Jobs of equal groups may run in one batch, so members are hashable."""

    @property
    def direction(self) -> str:
        """For metrics: "encode", "decode" or "task"."""

    def most(self, engines: Engines) -> int:
        """The number of items that may run at once on this device."""

    def run(self, engines: Engines, jobs: Sequence[Any]) -> Sequence[Any]:
        """Do the work of several jobs; returns the result of each."""


@dataclass(frozen=True)
class Encoding:
    """Images of one size through one encoder: pixels (b, c, h, w) in [-1, 1] -> raw latents (b, z, i, j), the mode of
    the posterior."""

    vae: OfferedVAE
    size: tuple[int, ...]
    """Rows and columns of the images."""
    direction: str = "encode"

    def most(self, engines: Engines) -> int:
        return engines.open(self.vae).engine.items_at_once("encode", self.size)

    def run(self, engines: Engines, jobs: Sequence[Tensor]) -> Sequence[Tensor]:
        engine = engines.open(self.vae).engine
        latents = engine.encode(torch.cat(list(jobs))).mode
        check_finite(latents, engine)
        return latents.split([len(each) for each in jobs])


@dataclass(frozen=True)
class Decoding:
    """Raw latents of one size through one decoder: (b, z, i, j) -> pixels (b, c, h, w), not clamped."""

    vae: OfferedVAE
    size: tuple[int, ...]
    """Rows and columns of the images, before a decoder that upscales."""
    direction: str = "decode"

    def most(self, engines: Engines) -> int:
        return engines.open(self.vae).engine.items_at_once("decode", self.size)

    def run(self, engines: Engines, jobs: Sequence[Tensor]) -> Sequence[Tensor]:
        pixels = engines.open(self.vae).decode(torch.cat(list(jobs)), self.size)
        return pixels.split([len(each) for each in jobs])


@dataclass(frozen=True, eq=False)
class Alone:
    """Work that shares no batch: a function of the loaded VAEs; equal only to itself."""

    function: Callable[[Engines], Any]
    direction: str = "task"

    def most(self, engines: Engines) -> int:
        return 1

    def run(self, engines: Engines, jobs: Sequence[None]) -> Sequence[Any]:
        return [self.function(engines)]

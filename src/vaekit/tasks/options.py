"""Options that several tasks share. Importing this module does not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vaekit.reading import exists

if TYPE_CHECKING:
    from vaekit.runtime.plan import Plan
    from vaekit.vae import VAE


@dataclass(frozen=True)
class ModelOptions:
    """The choice of a VAE."""

    vae: str = "builtin"
    """The name of a known VAE or of a file in a models folder, a weights file, or a folder."""
    models: Sequence[Path] | None = None
    """The models folders; None for the user's own."""
    padding: str | None = None
    """The padding mode of its convolutions; None for what the file states."""
    weights: str | None = None
    """"ema" or "plain" for the averaged or the plain weights of a checkpoint that holds both; None for its default."""

    def load(self) -> "VAE":
        """Load the VAE; see `vaekit.checkpoints.load` for the errors."""
        from vaekit.checkpoints.load import load

        return load(self.vae, padding=self.padding, models=self.models, weights=self.weights)

    def absolute(self) -> "ModelOptions":
        """The same choice from any working directory."""
        vae = str(Path(self.vae).absolute()) if self.vae and exists(Path(self.vae)) else self.vae
        models = None if self.models is None else [folder.absolute() for folder in self.models]
        return replace(self, vae=vae, models=models)


@dataclass(frozen=True)
class EngineOptions:
    """How a VAE is run; see `vaekit.runtime.plan.Plan` for the fields."""

    dtype: str = "fp32"
    device: str | None = None
    memory: str | None = None
    backend: str = "auto"
    batch: int | None = None
    """Items that run at once; None for what suits the domain."""

    def plan(self) -> "Plan":
        """The plan of an engine.

        Raises:
            BadPlan: an option has a value that does not exist.
        """
        from vaekit.runtime.plan import Plan

        batch = 1 if self.batch is None else self.batch
        return Plan(device=self.device, dtype=self.dtype, batch_size=batch, memory=self.memory, backend=self.backend)


@dataclass(frozen=True)
class DecodingOptions:
    """How VAEs of sequences, such as sentences and molecules, generate."""

    beam: int = 1
    """The number of sequences that are kept at each step; 1 is greedy search."""


GREEDY = DecodingOptions()


@dataclass(frozen=True)
class CodingOptions:
    """How VAEs with several codes at each position, such as audio codecs, encode."""

    codes: int | None = None
    """The number of codes at each position, the first ones; None for all."""


ALL_CODES = CodingOptions()


@dataclass(frozen=True)
class LatentOptions:
    """Which latents of the posteriors of items are used."""

    sampled: bool = False
    """A sample of each posterior rather than its mode."""
    seed: int = 0
    """Of the samples."""


@dataclass(frozen=True)
class SelectionOptions:
    """The choice of items among many."""

    limit: int | None = None
    """The maximum number; None for all."""
    seed: int = 0
    """Determines which ones are taken."""

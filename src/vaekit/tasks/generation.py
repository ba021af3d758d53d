"""Options and results of `generate`, whatever model generates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.tasks.options import EngineOptions


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate, and how."""

    model: Path
    """The folder of a run of a diffusion recipe, or of a diffusers pipeline."""
    out: Path
    """The folder for the results."""
    prompt: str | None = None
    """A prompt, or the name of a class; None for a model without conditions."""
    negative: str | None = None
    """A prompt to move away from, where a model takes one."""
    vae: str | None = None
    """Another VAE to decode with; None for the model's own."""
    init: Path | None = None
    """An item to start from, instead of noise."""
    strength: float = 0.75
    """The share of the steps that change `init`: 0 leaves it as it is, 1 ignores it."""
    count: int = 1
    steps: int | None = None
    """None for the model's default."""
    guidance: float | None = None
    """The scale of classifier-free guidance; 1 is none; None for the model's default."""
    size: tuple[int, int] | None = None
    """(height, width), where a model takes several."""
    seed: int = 0
    """Item n is generated from the seed and n only, whatever the number of items."""
    previews: bool = False
    """Whether previews are written while the model runs."""
    device: str | None = None
    """None for CUDA if available, else the CPU."""
    models: Sequence[Path] | None = None
    """The folders in which names of VAEs are looked up; None for the user's own."""
    dtype: str = "fp32"
    """The dtype of computations, of pipelines and their VAE: "fp32", "bf16" or "fp16"."""
    memory: str | None = None
    """The memory limit of the VAE of a pipeline, such as "2GiB"; None for what is free."""
    scheduler: str | None = None
    """Another scheduler than a pipeline's own."""

    @property
    def engine(self) -> EngineOptions:
        """How a VAE is run."""
        return EngineOptions(dtype=self.dtype, device=self.device, memory=self.memory)


@dataclass(frozen=True)
class GenerateCallbacks:
    """Callbacks for progress and messages."""

    progress: Callable[[int, int], None] = lambda *_: None
    """Called with the number of finished steps of all items, and the total."""
    say: Callable[[str], None] = lambda _: None
    """Called with messages for the user."""
    preview: Callable[[Tensor, int], None] = lambda *_: None
    """Called with raw latents (b, z, ...) that are on their way, and the number of their finished steps."""


@dataclass(frozen=True)
class Generation:
    """What was generated."""

    paths: Sequence[Path]
    settings: dict[str, Any] = field(default_factory=dict)
    """Everything that is needed to repeat it; also in the metadata of images."""
    notes: Sequence[str] = ()
    """For the user."""

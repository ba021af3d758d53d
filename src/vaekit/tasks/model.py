"""Open a VAE for running: its engine, its domain and its color correction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vaekit.checkpoints.latent_files import LatentOrigin, origin_of
from vaekit.domains.images import latent_stages, roundtrip
from vaekit.domains.images.correction_files import SavedCorrection, correction_of
from vaekit.domains.images.read import find_images
from vaekit.pipeline import Stages
from vaekit.runtime.engine import Engine
from vaekit.tasks.options import EngineOptions, ModelOptions


@dataclass(frozen=True)
class ItemFiles:
    """What `reconstruct`, `encode` and `decode` ask of a domain: its files, and how one is processed."""

    ending: str
    """Of the files that are written."""
    find: Callable[[Sequence[Path]], list[Path]]
    """Files among paths and folders."""
    size: Callable[[Path], tuple[int, int]]
    """Rows and columns of a file."""
    reconstruct: Callable[
        [Engine, Mapping[Path, Path], bool, SavedCorrection | None], Stages[Path, Any, Any, roundtrip.RoundTrip]
    ]
    encode: Callable[[Engine, LatentOrigin, Mapping[Path, Path]], Stages[Path, Any, Any, latent_stages.EncodedImage]]
    decode: Callable[
        [Engine, LatentOrigin, Mapping[Path, Path], SavedCorrection | None],
        Stages[Path, Any, Any, latent_stages.DecodedLatent],
    ]


IMAGES = ItemFiles(
    ".png",
    find_images,
    roundtrip.extent_of,
    roundtrip.round_trip_stages,
    latent_stages.encode_stages,
    latent_stages.decode_stages,
)


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A VAE that is ready to run. Open it once for many calls."""

    engine: Engine
    items: ItemFiles
    """Of the VAE's domain."""
    correction: SavedCorrection | None = None

    @cached_property
    def origin(self) -> LatentOrigin:
        """The VAE's identity in latent files. Hashes the weights once."""
        return origin_of(self.engine.vae)


def open_model(
    model: ModelOptions | None = None, engine: EngineOptions | None = None, correct: bool = False
) -> OpenModel:
    """Load a VAE and prepare it for running.

    Args:
        model: which VAE; the built-in one by default.
        engine: how it is run.
        correct: also find its color correction.

    Raises:
        NotFound, AmbiguousName, BadCheckpoint, UnknownVAE, WrongTensors: the VAE cannot be loaded.
        BadPlan: an engine option has a value that does not exist.
        NotFound, BadCorrection: there is no color correction, or a damaged one.
    """
    model, engine = model or ModelOptions(), engine or EngineOptions()
    plan, vae = engine.plan(), model.load()
    correction = correction_of(model.vae, vae, model.models) if correct else None
    return OpenModel(Engine(vae, plan), IMAGES, correction)

"""The VAE of a diffusers pipeline: its own, or another one with the same latents."""

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.checkpoints.compatibility import check_normalization, check_values, title
from vaekit.errors import BadCheckpoint, LatentMismatch, printable
from vaekit.identification.build import Network
from vaekit.identification.config_json import is_factor, is_shift
from vaekit.identification.identify import Identified, identify
from vaekit.identification.resolve import resolve
from vaekit.library.names import locate_vae
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.latent_agreement import AGREES, latent_agreement
from vaekit.tasks.pipeline_folder import PipelineFolder
from vaekit.tasks.pipeline_loading import VAE_COMPONENT
from vaekit.vae import VAE, half_missing


@dataclass(frozen=True, eq=False)
class PipelineVAE:
    """The VAE with which a pipeline runs."""

    engine: Engine
    name: str
    """For records: the name that was given, without folders, or "vae" for the pipeline's own."""
    notes: tuple[str, ...] = ()


def open_pipeline_vae(
    folder: PipelineFolder, plan: Plan, other: str | None = None, models: Sequence[Path] | None = None
) -> PipelineVAE:
    """Load the pipeline's VAE, or another one after checking that it has the same latent space.

    Args:
        folder: of the pipeline.
        plan: how it is run.
        other: the name or path of another VAE.
        models: the models folders in which the name is looked up; None for the user's own.

    Raises:
        LatentMismatch: the other VAE has another latent space, or it is not known to have the same.
        HalfMissing: the VAE has no decoder.
        BadCheckpoint: the pipeline has no VAE, and no other one is given.
        NotFound, AmbiguousName, UnknownVAE, NotRunnable, WrongTensors: see `vaekit.load`.
    """
    own, own_network = _own(folder, needed=other is None)
    if other is None:
        assert own is not None
        return PipelineVAE(_engine(own, own_network, plan), VAE_COMPONENT)
    network = Network()
    with locate_vae(other, models) as path:
        new = resolve(identify(path), network=network)
        if own is None:
            engine = _engine(new, network, plan)
            note = f"The pipeline has no VAE of its own, so that {printable(other)} has its latents was not verified."
            return PipelineVAE(engine, Path(other).name, (note,))
        check_values(new, own, any_family=True)
        if new.family.name == own.family.name:
            notes = tuple(filter(None, [check_normalization(new, own, None, assume_same=False)]))
        else:
            notes = ()
        new, engine = _with_normalization(new, own), _engine(new, network, plan)
    check_agreement(new, own, latent_agreement(_engine(own, own_network, plan), engine))
    return PipelineVAE(engine, Path(other).name, notes)


def check_agreement(new: Identified, own: Identified, agreement: float | None) -> None:
    """Check how well a VAE decodes the latents of a pipeline's own.

    Args:
        new: the VAE.
        own: the pipeline's.
        agreement: see `latent_agreement`.

    Raises:
        LatentMismatch: it decodes other colors, or this could not be measured for a VAE of another family.
    """
    if agreement is None and new.family.name != own.family.name:
        raise LatentMismatch(
            f"{printable(str(new.path))} is a {new.family.name!r} autoencoder, and the pipeline's VAE is a "
            f"{own.family.name!r} one: whether they share their latents could not be measured, because the pipeline's "
            "own VAE does not reproduce images, or has no encoder.",
            f"The pipeline's latents are {title(own)}.",
            "Use a VAE that was made for this pipeline.",
        )
    if agreement is not None and agreement < AGREES:
        raise LatentMismatch(
            f"{printable(str(new.path))} decodes the latents of the pipeline's VAE to other colors: their correlation "
            f"with those of the test images is {agreement:.2f}.",
            f"Expected at least {AGREES}: the latents of the pipeline are {title(own)}.",
            "Use a VAE that was made for this pipeline.",
        )


def _own(folder: PipelineFolder, needed: bool) -> tuple[Identified | None, Network]:
    """The pipeline's own VAE; None if it has none and needs none."""
    network = Network()
    if VAE_COMPONENT not in folder.components:
        if needed:
            raise BadCheckpoint(
                f"The pipeline in {folder.path} has no VAE.",
                f"Expected a component {VAE_COMPONENT!r}.",
                "Give one with --vae, or run pipelines without a latent space with diffusers itself.",
            )
        return None, network
    own = resolve(identify(folder.path / VAE_COMPONENT), measure=False)  # else with what diffusers assumes
    return (own if own.normalization is not None else _with_default(own, folder)), network


def _with_default(own: Identified, folder: PipelineFolder) -> Identified:
    """The VAE with the normalization that diffusers assumes for its class where config.json states none."""
    import diffusers

    parameters = inspect.signature(getattr(diffusers, folder.components[VAE_COMPONENT][1], object)).parameters
    scale, shift = (
        parameters[name].default if name in parameters else None for name in ("scaling_factor", "shift_factor")
    )
    if scale is None or not is_factor(scale) or not (shift is None or is_shift(shift)):
        return own
    normalization = LatentNormalization((float(shift or 0),), (float(scale),))
    return dataclasses.replace(own, normalization=normalization, normalization_source="the default of diffusers")


def _with_normalization(new: Identified, own: Identified) -> Identified:
    """The VAE with the pipeline's normalization, if its own is unknown."""
    return new if new.normalization is not None else dataclasses.replace(new, normalization=own.normalization)


def _engine(identified: Identified, network: Network, plan: Plan) -> Engine:
    vae: VAE = network.of(identified)
    if vae.decoder is None:
        raise half_missing("decoder", "encoder")
    return Engine(vae, plan)

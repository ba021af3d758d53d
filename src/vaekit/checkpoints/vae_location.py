"""Locate the VAE in a whole checkpoint, or where one belongs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vaekit.checkpoints.compatibility import check_latent_space, check_values
from vaekit.errors import HalfMissing, NotRunnable, UnknownVAE, shorten
from vaekit.families import HALVES, Layout, layout_of
from vaekit.formats.open import TensorFile
from vaekit.identification.companions import companion_of
from vaekit.identification.fused_tensors import whole_key
from vaekit.identification.host_model import HostModel, host_model_of, host_models
from vaekit.identification.identify import Identified, identify_parts
from vaekit.identification.locate import LocatedVAE, locate
from vaekit.identification.unwrap import unwrap

OTHER_MODULES = ("model.diffusion_model.", "cond_stage_model.", "conditioner.", "text_encoders.")
"""Prefixes of other modules in whole checkpoints. Conditioners of video models contain the encoder of a VAE, too."""


@dataclass(frozen=True)
class VAELocation:
    """The location of the VAE in a checkpoint, present or to be added."""

    layout: Layout
    prefix: str
    model: HostModel | None
    notes: tuple[str, ...] = ()
    wrapped: Mapping[str, str] = field(default_factory=dict)
    """The names in the checkpoint, by those without training wrappers; empty if the VAE's names have none inside."""


def vae_in_checkpoint(file: TensorFile) -> Identified | None:
    """The VAE of a checkpoint; None if it has no VAE tensors.

    Raises:
        NotRunnable: the VAE is recognized but cannot be run.
        UnknownVAE: the VAE is of no known family.
        WrongTensors: the VAE is incomplete.
    """
    try:
        located = locate(file)
    except NotRunnable as error:
        raise NotRunnable(
            error.found,
            "Only a VAE that vaekit can run can be replaced: otherwise its set of tensors is not known.",
            "Give a checkpoint with an image VAE. Nothing was written.",
        ) from error
    except UnknownVAE:
        located = None
    if located is not None and not located.prefix.startswith(OTHER_MODULES):
        return identify_parts(file.path, (located,), {})
    remains = tensors_of_a_vae(file.specs)
    if remains:
        raise UnknownVAE(
            f"{file.path} has {len(remains)} VAE tensors of an unknown family: {shorten(remains)}.",
            "Expected a checkpoint with a VAE that vaekit can run, or without any VAE tensors.",
            "If it should be a known VAE, download the checkpoint again. Nothing was written.",
        )
    return None


def wrapped_names(file: TensorFile, located: LocatedVAE) -> Mapping[str, str]:
    """The names in a checkpoint by those without training wrappers, if the VAE was located by these; else empty."""
    if all(whole_key(name) in file.specs for name in located.names.values()):
        return {}
    unwrapped = unwrap(file)
    return {} if unwrapped is None else {name: wrapped[0] for name, wrapped in unwrapped.originals.items()}


def tensors_of_a_vae(names: Iterable[str]) -> list[str]:
    """The names of tensors that belong to an autoencoder, of any family or none.

    They have a prefix that checkpoints use for their VAE, or form an encoder with a decoder beside it.
    """
    prefixes = {model.vae for model in host_models()}
    behind: list[str] = []
    halves: dict[str, dict[str, list[str]]] = {half: defaultdict(list) for half in HALVES}
    for name in names:
        module, dot, rest = name.partition(".")
        parts = name.split(".")
        if module + dot in prefixes:
            behind += [] if companion_of(rest, ()) else [name]
        elif not name.startswith(OTHER_MODULES):
            half = next((part for part in parts if part in halves), None)
            if half is not None:
                halves[half][".".join(parts[: parts.index(half)])].append(name)
    encoders, decoders = (halves[half] for half in HALVES)
    return behind + [name for place in encoders.keys() & decoders.keys() for name in encoders[place] + decoders[place]]


def location_of(file: TensorFile, own: Identified | None, new: Identified) -> VAELocation:
    """Determine the location of the new VAE in the checkpoint, after checking that its shape fits.

    Raises:
        LatentMismatch: its shape does not fit.
        UnknownVAE: the checkpoint has no VAE, and its diffusion model is unknown.
        HalfMissing: it has none, and the new one lacks a half.
    """
    if own is not None:
        check_values(new, own)
        part = own.parts[0]
        return VAELocation(part.layout, part.prefix, own.host, wrapped=wrapped_names(file, part))
    model = host_model_of(file.specs)
    if model is None:
        raise UnknownVAE(
            f"{file.path} has no VAE, and its diffusion model is not known to vaekit.",
            "Expected a checkpoint with a VAE, or one of a known diffusion model.",
            "Check that this is a whole checkpoint.",
        )
    check_latent_space(new, model)
    if len(new.halves) < 2:
        raise HalfMissing(
            f"{new.path} holds only a VAE's {new.halves[0]}, and {file.path} has no VAE.",
            "A checkpoint without a VAE needs a VAE with both halves.",
            "Give both halves.",
        )
    layout = layout_of("ldm", new.family.name, new.config) or layout_of("native", new.family.name, new.config)
    assert layout is not None
    return VAELocation(
        layout,
        model.vae,
        model,
        (f"The checkpoint had no VAE; the new one got the prefix {model.vae!r}, as usual for {model.name}.",),
    )

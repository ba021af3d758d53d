"""Resolve properties that the headers of a file do not determine: by overrides, then known weights, then probes.

`identify` reads headers only. They do not distinguish latent spaces of the same shape, nor config fields that
no tensor depends on. Overrides by the user come first; then the weights are hashed and looked up in the catalog;
what is still unresolved is probed by running the network. Hashes and probes are cached until the files change.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vaekit.cache import cached_result, stamp
from vaekit.catalog.entries import CatalogEntry, LatentSpace, latent_space_named, latent_spaces
from vaekit.catalog.identity import Identity, as_json, from_json
from vaekit.errors import BadItem, BadPlan, HalfMissing, NotFound, WrongTensors, printable
from vaekit.families import FAMILIES
from vaekit.families.padding import PADDINGS, ZEROS
from vaekit.identification.build import Network
from vaekit.identification.file_hashes import sha256_of
from vaekit.identification.fingerprint import TensorValues, identity_of
from vaekit.identification.fused_tensors import whole_key
from vaekit.identification.identify import Identified
from vaekit.identification.match import WeightMatch, match_weights
from vaekit.identification.non_finite import NonFiniteCounter, NonFiniteTensor
from vaekit.identification.probe_latents import LatentProbe, nearest_latent_space, probe_latents
from vaekit.identification.probe_padding import BorderError, PaddingProbe, probe_padding
from vaekit.identification.weights import weights_in

IMAGE_AXES = 2
"""The axes of images, which the probe encodes."""
OVERRIDDEN = "your override"
"""The source of a normalization or a padding that the user specified."""


def resolve(
    identified: Identified,
    latent_space: str | None = None,
    padding: str | None = None,
    measure: bool = True,
    network: Network | None = None,
) -> Identified:
    """The same VAE with its normalization and padding resolved as far as possible.

    Weights are hashed and looked up; those without an entry are probed: their padding, and their normalization if they
    have the shapes of published models that share shapes with others. That takes seconds the first time, and is cached.

    Args:
        identified: what `identify` returns.
        latent_space: an override: the name of its latent space, "SDXL" for example.
        padding: an override: "zeros" or "reflect".
        measure: whether to probe unknown weights by running the VAE.
        network: a holder for the network, for a caller that needs it afterwards.

    Raises:
        NotFound: there is no latent space of this name.
        WrongTensors: VAEs of that latent space have other shapes.
        BadPlan: there is no such padding, or this family does not support it.
    """
    identified = padded(identified, padding)
    if latent_space is not None:
        identified = as_latent_space(identified, latent_space)
    if is_unresolved(identified):
        identified = resolved_by(identified, match_file(identified))
    if not measure:
        return identified
    network = network or Network()
    if identified.latent_spaces:  # other shapes match no known latent space
        identified = with_probed_normalization(identified, network)
    return with_probed_padding(identified, network)


def is_unresolved(identified: Identified) -> bool:
    """Whether the normalization or the padding is unresolved."""
    return identified.normalization is None or padding_is_unresolved(identified)


def padding_is_unresolved(identified: Identified) -> bool:
    """Whether the family has a choice of padding and it is unknown."""
    return bool(identified.family.paddings) and not identified.padding_source


def as_latent_space(identified: Identified, name: str) -> Identified:
    """The same VAE with the latent space that the user names: "SDXL", or its full name.

    Raises:
        NotFound: there is no latent space of this name.
        WrongTensors: VAEs of that latent space have other shapes.
    """
    space = next((space for space in latent_spaces() if name.lower() in names_of(space.name)), None)
    if space is None:
        raise NotFound(
            f"There is no known latent space {name!r}.",
            f"Known: {', '.join(space.name for space in latent_spaces())}.",
            "Give one of these, or omit the latent space.",
        )
    if not space.fits(identified.family.name, identified.config):
        shaped = " or ".join(space.name for space in identified.latent_spaces) or "no known model"
        raise WrongTensors(
            f"{identified.path} is not a VAE of the latent space {space.name}: its shapes are those of {shaped}.",
            f"Expected a {space.family!r} autoencoder with {dict(space.match)}.",
            "Omit the latent space, or give another file.",
        )
    return dataclasses.replace(
        identified, latent_spaces=(space,), normalization=space.normalization, normalization_source=OVERRIDDEN
    )


def names_of(name: str) -> set[str]:
    """The accepted names of a latent space: its full name, or one of the names in it."""
    return {name.lower(), *(part.strip().lower() for part in name.split("/"))}


def padded(identified: Identified, padding: str | None) -> Identified:
    """The same VAE with another padding; unchanged if none is given.

    Raises:
        BadPlan: there is no such padding, or the family has no choice of padding.
    """
    if padding is None:
        return identified
    if padding not in PADDINGS:
        raise BadPlan(
            f"There is no padding {printable(padding)!r}.",
            f"Expected one of {', '.join(PADDINGS)}.",
            "Give one of them, or none to use the file's.",
        )
    if padding in identified.family.paddings:
        changed = dataclasses.replace(identified.config, padding=padding)
        return dataclasses.replace(identified, config=changed, padding_source=OVERRIDDEN)
    if padding == ZEROS:
        return identified
    families = ", ".join(repr(family.name) for family in FAMILIES if padding in family.paddings)
    raise BadPlan(
        f"{identified.path} is a {identified.family.name!r} autoencoder, which has a fixed padding.",
        f"Only {families} support reflection padding.",
        "Omit the padding.",
    )


def match_file(identified: Identified) -> WeightMatch:
    """The catalog entry of a file's weights, or their relatives."""
    hashes = cached_hashes(identified)
    return match_weights(hashes.weights, hashes.sha256)


def resolved_by(identified: Identified, match: WeightMatch) -> Identified:
    """Apply the normalization and config fields of the recognized weights."""
    entry = match.entry
    if entry is not None:
        identified = with_entry(identified, entry)
        own = tuple(space for space in identified.latent_spaces if space.name == entry.latent_space)
        identified = dataclasses.replace(identified, latent_spaces=own or identified.latent_spaces)
    source = entry or match.same_encoder
    if identified.normalization is not None or source is None or source.normalization is None:
        return identified
    how = f"the entry of {source.name}, recognized {match.how}" if entry else f"its encoder, that of {source.name}"
    return dataclasses.replace(
        identified,
        normalization=source.normalization,
        normalization_source=how,
        latent_spaces=candidate_spaces(source, identified),
    )


def with_entry(identified: Identified, entry: CatalogEntry) -> Identified:
    """Add the entry's config fields that weights do not determine, except those stated by the user or the file."""
    fields = dict(entry.config)
    source = identified.padding_source
    if padding_is_unresolved(identified):
        fields.setdefault("padding", identified.family.paddings[0])
        source = f"the entry of {entry.name}"
    elif source:
        fields.pop("padding", None)
    return dataclasses.replace(
        identified, config=dataclasses.replace(identified.config, **fields), padding_source=source
    )


def candidate_spaces(entry: CatalogEntry, identified: Identified) -> tuple[LatentSpace, ...]:
    """The latent space of an entry; those of the shapes if it names none."""
    known = latent_space_named(entry.latent_space)
    return identified.latent_spaces if known is None else (known,)


def with_probed_normalization(identified: Identified, network: Network) -> Identified:
    """The VAE with the normalization of the most similar latent space, or the reason why it is unknown."""
    geometry = identified.config.geometry
    if identified.normalization is not None or geometry.size is not None or geometry.axes != IMAGE_AXES:
        return identified
    try:
        verdict = nearest_latent_space(cached_latent_probe(identified, network), identified.latent_spaces)
    except (HalfMissing, BadItem):
        return identified
    if verdict.latent_space is None:
        return dataclasses.replace(identified, normalization_source=verdict.description.removeprefix("unknown, "))
    return dataclasses.replace(
        identified,
        normalization=verdict.latent_space.normalization,
        normalization_source=verdict.description,
        latent_spaces=(verdict.latent_space,),
    )


def with_probed_padding(identified: Identified, network: Network) -> Identified:
    """The VAE with the probed padding, if it is unresolved and the probe is conclusive."""
    probe = cached_padding_probe(identified, network) if padding_is_unresolved(identified) else None
    if probe is None:
        return identified
    if probe.verdict not in PADDINGS:
        return dataclasses.replace(identified, padding_source=f"assumed; measurement inconclusive: {probe.description}")
    config = dataclasses.replace(identified.config, padding=probe.verdict)
    return dataclasses.replace(identified, config=config, padding_source=f"measured: {probe.description}")


@dataclass(frozen=True)
class Hashes:
    """The hashes of a file and of the weights in it."""

    weights: Identity
    sha256: str
    """The SHA-256 of the whole file, 64 hexadecimal digits; empty for a VAE in two files, or inside a larger
    checkpoint."""
    non_finite: tuple[NonFiniteTensor, ...] = ()
    """The tensors with NaN or infinite values, by their names in the file."""


def cached_hashes(identified: Identified) -> Hashes:
    """The hashes of a VAE and of its file. The first time reads every byte."""
    part = identified.parts[0]
    alone = len(identified.files) == 1 and part.ignored == 0 and not part.chosen
    identity, non_finite = read_weights(identified)
    return Hashes(identity, sha256_of(part.file.path) if alone else "", non_finite)


def identity_in(identified: Identified) -> Identity:
    """The identity of the weights. The first time reads every weight."""
    return read_weights(identified)[0]


def read_weights(identified: Identified) -> tuple[Identity, tuple[NonFiniteTensor, ...]]:
    """The identity of the weights, and the tensors with non-finite values. The first time reads every weight."""

    def find() -> dict[str, Any]:
        counter = NonFiniteCounter()
        identity = identity_of(counter.watch(values_in(identified)))
        return {"identity": as_json(identity), "non_finite": [dataclasses.asdict(each) for each in counter.tensors]}

    record = cached(identified, "weights 2", find)
    names = {native: whole_key(name) for part in identified.parts for native, name in part.names.items()}
    counted = (NonFiniteTensor(**each) for each in record["non_finite"])
    non_finite = tuple(dataclasses.replace(each, name=names.get(each.name, each.name)) for each in counted)
    return from_json(record["identity"]), non_finite


def values_in(identified: Identified) -> list[TensorValues]:
    """The tensors of the networks, without normalization statistics; nothing is read yet."""
    pieces, outside = sorted(weights_in(identified).tensors.items()), identified.family.outside_nets
    return [TensorValues(key, piece.shape, piece.parts) for key, piece in pieces if key not in outside]


def cached_latent_probe(identified: Identified, network: Network) -> LatentProbe:
    """Encode the built-in images. The first time takes seconds for a large VAE.

    Raises:
        HalfMissing, BadItem: see `probe_latents`.
    """
    config = sorted(dataclasses.asdict(identified.config).items())
    record = cached(identified, f"latents {config}", lambda: dataclasses.asdict(probe_latents(network.of(identified))))
    return LatentProbe(tuple(record["mean"]), tuple(record["std"]), tuple(tuple(row) for row in record["covariance"]))


def cached_padding_probe(identified: Identified, network: Network) -> PaddingProbe | None:
    """Probe the padding. The first time takes seconds for a large VAE."""

    def find() -> dict[str, Any] | None:
        result = probe_padding(network.of(identified))
        return None if result is None else dataclasses.asdict(result)

    record = cached(identified, "borders", find)
    return (
        None
        if record is None
        else PaddingProbe(record["verdict"], BorderError(**record["zeros"]), BorderError(**record["reflect"]))
    )


def cached(identified: Identified, question: str, find: Callable[[], Any]) -> Any:
    """A cached result about all the files of a VAE."""
    first, *others = identified.files
    chosen = (f"weights {part.chosen}" for part in identified.parts if part.chosen)
    return cached_result(first, " ".join((question, *chosen, *(stamp(path, "") for path in others))), find)

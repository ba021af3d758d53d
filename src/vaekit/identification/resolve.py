"""Resolve what the headers of a file leave open about its VAE: overrides, then known weights, then probes.

`identify` reads headers only. They do not tell latent spaces of the same shape apart, nor the fields of a config that
no weight depends on. What the user states comes first; then the weights are hashed and looked up among the known VAEs;
what is still open is probed by running the network. Hashes and probes are cached until the files change.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vaekit.cache import remembered, stamp
from vaekit.catalog.entries import CatalogEntry, LatentSpace, latent_space_named, latent_spaces
from vaekit.catalog.identity import Identity, as_json, from_json
from vaekit.errors import BadItem, BadPlan, HalfMissing, NotFound, WrongTensors, printable
from vaekit.families import FAMILIES
from vaekit.families.padding import PADDINGS, ZEROS
from vaekit.identification.build import Network
from vaekit.identification.file_hashes import sha256_of
from vaekit.identification.fingerprint import TensorValues, identity_of
from vaekit.identification.identify import Identified
from vaekit.identification.match import WeightMatch, match_weights
from vaekit.identification.probe_latents import LatentProbe, nearest_latent_space, probe_latents
from vaekit.identification.probe_padding import BorderError, PaddingProbe, probe_padding
from vaekit.identification.weights import weights_in

OVERRIDDEN = "what you said"
"""The source of a normalization or a padding that the user states."""


def resolve(
    identified: Identified,
    kind: str | None = None,
    padding: str | None = None,
    measure: bool = True,
    network: Network | None = None,
) -> Identified:
    """The same VAE with its normalization and padding, where the file leaves them open and they can be known.

    Weights are hashed and looked up; those without a card are measured: their padding, and their normalization if they
    have the shapes of published models that share shapes with others. That takes seconds the first time, and is cached.

    Args:
        identified: what `identify` returns.
        kind: an override: which of the known latent spaces it has, "SDXL" for example.
        padding: an override: "zeros" or "reflect".
        measure: whether to run a VAE of unknown weights.
        network: where its network is kept, for a caller that needs it afterwards.

    Raises:
        NotFound: there is no kind of this name.
        WrongTensors: a VAE of that kind has other shapes.
        BadPlan: there is no such padding, or this family does not have it.
    """
    identified = padded(identified, padding)
    if kind is not None:
        identified = as_latent_space(identified, kind)
    if is_unresolved(identified):
        identified = resolved_by(identified, match_file(identified))
    if not measure:
        return identified
    network = network or Network()
    if identified.kinds:  # of other shapes there is nothing to compare with
        identified = with_probed_normalization(identified, network)
    return with_probed_padding(identified, network)


def is_unresolved(identified: Identified) -> bool:
    """Whether the file leaves the normalization or the padding open."""
    return identified.normalization is None or padding_is_unresolved(identified)


def padding_is_unresolved(identified: Identified) -> bool:
    """Whether there is a padding to know, and nobody told it."""
    return bool(identified.family.paddings) and not identified.padding_source


def as_latent_space(identified: Identified, name: str) -> Identified:
    """The same VAE as one of a kind that the user names: "SDXL", or the whole name of the kind.

    Raises:
        NotFound: there is no kind of this name.
        WrongTensors: a VAE of that kind has other shapes.
    """
    kind = next((kind for kind in latent_spaces() if name.lower() in names_of(kind.name)), None)
    if kind is None:
        raise NotFound(
            f"There is no kind of latent space called {name!r}.",
            f"Known: {', '.join(kind.name for kind in latent_spaces())}.",
            "Give one of these, or leave it out.",
        )
    if not kind.fits(identified.family.name, identified.config):
        shaped = " or ".join(kind.name for kind in identified.kinds) or "no known model"
        raise WrongTensors(
            f"{identified.path} is no {kind.name} VAE: it is shaped like {shaped}.",
            f"Expected a {kind.family!r} autoencoder with {dict(kind.match)}.",
            "Leave the kind out, or give another file.",
        )
    return dataclasses.replace(
        identified, kinds=(kind,), normalization=kind.normalization, normalization_source=OVERRIDDEN
    )


def names_of(kind: str) -> set[str]:
    """What a user may call a kind: its whole name, or one of the names in it."""
    return {kind.lower(), *(part.strip().lower() for part in kind.split("/"))}


def padded(identified: Identified, padding: str | None) -> Identified:
    """The same VAE with another padding; as it is where none is given.

    Raises:
        BadPlan: there is no such padding, or the family's nets have none to choose.
    """
    if padding is None:
        return identified
    if padding not in PADDINGS:
        raise BadPlan(
            f"There is no padding {printable(padding)!r}.",
            f"Expected one of {', '.join(PADDINGS)}.",
            "Name one of them, or none to take what the file says.",
        )
    if padding in identified.family.paddings:
        changed = dataclasses.replace(identified.config, padding=padding)
        return dataclasses.replace(identified, config=changed, padding_source=OVERRIDDEN)
    if padding == ZEROS:
        return identified
    families = ", ".join(repr(family.name) for family in FAMILIES if padding in family.paddings)
    raise BadPlan(
        f"{identified.path} is a {identified.family.name!r} autoencoder, which always pads in one way.",
        f"Only {families} are known with padding by reflection.",
        "Leave the padding out.",
    )


def match_file(identified: Identified) -> WeightMatch:
    """The known VAE that a file holds, or what it has in common with one."""
    hashes = cached_hashes(identified)
    return match_weights(hashes.weights, hashes.sha256)


def resolved_by(identified: Identified, recognition: WeightMatch) -> Identified:
    """What recognizing the weights says about the normalization and the config."""
    card = recognition.card
    if card is not None:
        identified = with_entry(identified, card)
    source = card or recognition.same_encoder
    if identified.normalization is not None or source is None or source.normalization is None:
        return identified
    how = f"the card of {source.name}, recognized {recognition.how}" if card else f"its encoder, that of {source.name}"
    return dataclasses.replace(
        identified,
        normalization=source.normalization,
        normalization_source=how,
        kinds=candidate_spaces(source, identified),
    )


def with_entry(identified: Identified, card: CatalogEntry) -> Identified:
    """The config with what the card tells and the weights do not; what the user or the file said of it stays."""
    told = dict(card.config)
    source = identified.padding_source
    if padding_is_unresolved(identified):
        told.setdefault("padding", identified.family.paddings[0])
        source = f"the card of {card.name}"
    elif source:
        told.pop("padding", None)
    return dataclasses.replace(identified, config=dataclasses.replace(identified.config, **told), padding_source=source)


def candidate_spaces(card: CatalogEntry, identified: Identified) -> tuple[LatentSpace, ...]:
    """The latent space that a card names; the shapes' where it names none."""
    known = latent_space_named(card.kind)
    return identified.kinds if known is None else (known,)


def with_probed_normalization(identified: Identified, network: Network) -> Identified:
    """The VAE with the normalization of the known kind that its latents look like, or the reason why it has none."""
    if identified.normalization is not None or identified.config.geometry.size is not None:
        return identified
    try:
        verdict = nearest_latent_space(cached_latent_probe(identified, network), identified.kinds)
    except (HalfMissing, BadItem):
        return identified
    if verdict.kind is None:
        return dataclasses.replace(identified, normalization_source=verdict.words.removeprefix("unknown, "))
    return dataclasses.replace(
        identified, normalization=verdict.kind.normalization, normalization_source=verdict.words, kinds=(verdict.kind,)
    )


def with_probed_padding(identified: Identified, network: Network) -> Identified:
    """The VAE with the padding under which its borders are right, where nobody told it and that is clear."""
    borders = cached_padding_probe(identified, network) if padding_is_unresolved(identified) else None
    if borders is None:
        return identified
    if borders.verdict not in PADDINGS:
        return dataclasses.replace(identified, padding_source=f"assumed; measured, {borders.words}: neither is clear")
    config = dataclasses.replace(identified.config, padding=borders.verdict)
    return dataclasses.replace(identified, config=config, padding_source=f"measured: {borders.words}")


@dataclass(frozen=True)
class Hashes:
    """What a file and the weights in it are known by."""

    weights: Identity
    sha256: str
    """Of the whole file, 64 hexadecimal digits; empty for a VAE in two files, or inside a larger checkpoint."""


def cached_hashes(identified: Identified) -> Hashes:
    """The hashes of a VAE and of its file. The first time reads every byte."""
    alone = len(identified.parts) == 1 and identified.parts[0].ignored == 0
    return Hashes(identity_in(identified), sha256_of(identified.parts[0].file.path) if alone else "")


def identity_in(identified: Identified) -> Identity:
    """What the weights are known by. The first time reads every weight."""
    return from_json(cached(identified, "weights", lambda: as_json(identity_of(values_in(identified)))))


def values_in(identified: Identified) -> list[TensorValues]:
    """The tensors of the nets, without those that only tell the normalization; nothing is read yet."""
    pieces, outside = sorted(weights_in(identified).tensors.items()), identified.family.outside_nets
    return [TensorValues(key, piece.shape, piece.parts) for key, piece in pieces if key not in outside]


def cached_latent_probe(identified: Identified, network: Network) -> LatentProbe:
    """Encode the built-in images. The first time takes seconds for a large VAE.

    Raises:
        HalfMissing, BadItem: see `probe_latents`.
    """
    config = sorted(dataclasses.asdict(identified.config).items())
    told = cached(identified, f"latents {config}", lambda: dataclasses.asdict(probe_latents(network.of(identified))))
    return LatentProbe(tuple(told["mean"]), tuple(told["std"]), tuple(tuple(row) for row in told["covariance"]))


def cached_padding_probe(identified: Identified, network: Network) -> PaddingProbe | None:
    """Put flat images through under both paddings. The first time takes seconds for a large VAE."""

    def find() -> dict[str, Any] | None:
        found = probe_padding(network.of(identified))
        return None if found is None else dataclasses.asdict(found)

    told = cached(identified, "borders", find)
    return (
        None
        if told is None
        else PaddingProbe(told["verdict"], BorderError(**told["zeros"]), BorderError(**told["reflect"]))
    )


def cached(identified: Identified, question: str, find: Callable[[], Any]) -> Any:
    """A remembered answer about all the files of a VAE."""
    first, *others = (part.file.path for part in identified.parts)
    return remembered(first, " ".join((question, *(stamp(path, "") for path in others))), find)

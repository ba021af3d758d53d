"""What a file's headers leave open about its VAE, settled: by the user's word, by recognising its weights.

`identify` reads headers only. Shape twins need more, and so do the fields of a config that weights do not tell. What
is found by reading the weights is remembered until the file changes.
"""

import dataclasses

from vaekit.checkpoints.building import build
from vaekit.checkpoints.cards import Card, Kind, kind_named, kinds
from vaekit.checkpoints.collection.hashes import sha256_of
from vaekit.checkpoints.fingerprint import Weights, as_json, from_json, weights_of
from vaekit.checkpoints.identify import Identified
from vaekit.checkpoints.recognising import Recognition, recognise
from vaekit.checkpoints.remembered import remembered, stamp
from vaekit.errors import BadPlan, NotFound, WrongTensors, legible
from vaekit.nets.kl import PADDINGS, ZEROS, KLConfig


@dataclasses.dataclass(frozen=True)
class Hashes:
    """What a file and the weights in it are known by."""

    weights: Weights
    sha256: str
    """Of the whole file, 64 hexadecimal digits; empty for a VAE in two files, or inside a larger checkpoint."""


def hashes_of(identified: Identified) -> Hashes:
    """Hash a VAE, or remember what its hashes were. The first time reads every weight."""
    first, *others = (part.file.path for part in identified.parts)
    question = "hashes " + " ".join(stamp(path, "hashes") for path in others)

    weights = remembered(first, question, lambda: as_json(weights_of(build(identified))))
    alone = not others and identified.parts[0].ignored == 0
    return Hashes(from_json(weights), sha256_of(first) if alone else "")


def settle(identified: Identified, kind: str | None = None) -> Identified:
    """The same VAE with its frame, where the file leaves that open and it can be known.

    Args:
        identified: what `identify` says.
        kind: the user's word on which of the known latent spaces it is, "SDXL" for example.

    Raises:
        NotFound: there is no kind of this name.
        WrongTensors: a VAE of that kind has other shapes.
    """
    if kind is not None:
        return of_kind(identified, kind)
    if identified.frame is not None:
        return identified
    recognition = recognise_file(identified)
    return settled_by(identified, recognition)


def recognise_file(identified: Identified) -> Recognition:
    """The known VAE that a file holds, or what it has in common with one."""
    hashes = hashes_of(identified)
    return recognise(hashes.weights, hashes.sha256)


def settled_by(identified: Identified, recognition: Recognition) -> Identified:
    """What recognising the weights says about the frame and the config."""
    card = recognition.card
    if card is not None:
        identified = with_card(identified, card)
    source = card or recognition.same_encoder
    if identified.frame is not None or source is None or source.frame is None:
        return identified
    how = f"the card of {source.name}, recognised {recognition.how}" if card else f"its encoder, that of {source.name}"
    return dataclasses.replace(identified, frame=source.frame, frame_source=how, kinds=kinds_of(source, identified))


def with_card(identified: Identified, card: Card) -> Identified:
    """The config with what the card tells and the weights do not."""
    if not card.config:
        return identified
    return dataclasses.replace(identified, config=dataclasses.replace(identified.config, **card.config))


def kinds_of(card: Card, identified: Identified) -> tuple[Kind, ...]:
    known = kind_named(card.kind)
    return identified.kinds if known is None else (known,)


def of_kind(identified: Identified, name: str) -> Identified:
    """The user's word on the latent space."""
    kind = next((kind for kind in kinds() if name.lower() in words_for(kind.name)), None)
    if kind is None:
        raise NotFound(
            f"There is no kind of latent space called {name!r}.",
            f"Known: {', '.join(kind.name for kind in kinds())}.",
            "Give one of these, or leave it out.",
        )
    if not kind.fits(identified.family.name, identified.config):
        shaped = " or ".join(kind.name for kind in identified.kinds) or "no known model"
        raise WrongTensors(
            f"{identified.path} is no {kind.name} VAE: it is shaped like {shaped}.",
            f"Expected a {kind.family!r} autoencoder with {dict(kind.match)}.",
            "Leave the kind out, or give another file.",
        )
    return dataclasses.replace(identified, kinds=(kind,), frame=kind.frame, frame_source="what you said")


def words_for(kind: str) -> set[str]:
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
            f"There is no padding {legible(padding)!r}.",
            f"Expected one of {', '.join(PADDINGS)}.",
            "Name one of them, or none to take what the file says.",
        )
    config = identified.config
    if isinstance(config, KLConfig):
        return dataclasses.replace(identified, config=dataclasses.replace(config, padding=padding))
    if padding == ZEROS:
        return identified
    raise BadPlan(
        f"{identified.path} is a {identified.family.name!r} autoencoder, which always pads in one way.",
        "Only the convolutional autoencoders (KL and VQ) are known with padding by reflection.",
        "Leave the padding out.",
    )

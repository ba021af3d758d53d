"""What a file's headers leave open about its VAE, settled: by the user's word, by recognising weights, by measuring.

`identify` reads headers only. Shape twins need more, and so do the fields of a config that weights do not tell.
"""

import dataclasses

from vaekit.checkpoints.cards import Card, Kind, kind_named
from vaekit.checkpoints.identify import Identified
from vaekit.checkpoints.measuring import nearest_kind
from vaekit.checkpoints.reading_weights import borders_of, hashes_of, latents_of
from vaekit.checkpoints.recognising import Recognition, recognise
from vaekit.checkpoints.users_word import of_kind, padded
from vaekit.errors import BadPicture, HalfMissing
from vaekit.nets.config import picture_size
from vaekit.nets.kl import PADDINGS

WHOLE = ("encoder", "decoder")


def settle(
    identified: Identified, kind: str | None = None, padding: str | None = None, measure: bool = True
) -> Identified:
    """The same VAE with its normalization and padding, where the file leaves them open and they can be known.

    Weights are hashed and looked up; those without a card are measured: their padding, and their normalization if they
    have the shapes of published models, among which there are twins. The first time that takes seconds, afterwards it
    is remembered.

    Args:
        identified: what `identify` says.
        kind: the user's word on which of the known latent spaces it is, "SDXL" for example.
        padding: the user's word, "zeros" or "reflect".
        measure: whether to run a VAE that nobody knows.

    Raises:
        NotFound: there is no kind of this name.
        WrongTensors: a VAE of that kind has other shapes.
        BadPlan: there is no such padding, or this family does not have it.
    """
    identified = padded(identified, padding)
    if kind is not None:
        identified = of_kind(identified, kind)
    if is_open(identified):
        identified = settled_by(identified, recognise_file(identified))
    if measure and identified.kinds:
        identified = with_measured_normalization(identified)
    return with_measured_padding(identified) if measure else identified


def is_open(identified: Identified) -> bool:
    """Whether the file leaves the normalization or the padding open."""
    return identified.normalization is None or padding_is_open(identified)


def padding_is_open(identified: Identified) -> bool:
    """Whether there is a padding to know, and nobody told it."""
    return hasattr(identified.config, "padding") and not identified.padding_source


def recognise_file(identified: Identified) -> Recognition:
    """The known VAE that a file holds, or what it has in common with one."""
    hashes = hashes_of(identified)
    return recognise(hashes.weights, hashes.sha256)


def settled_by(identified: Identified, recognition: Recognition) -> Identified:
    """What recognising the weights says about the normalization and the config."""
    card = recognition.card
    if card is not None:
        identified = with_card(identified, card)
    source = card or recognition.same_encoder
    if identified.normalization is not None or source is None or source.normalization is None:
        return identified
    how = f"the card of {source.name}, recognised {recognition.how}" if card else f"its encoder, that of {source.name}"
    return dataclasses.replace(
        identified, normalization=source.normalization, normalization_source=how, kinds=kinds_of(source, identified)
    )


def with_card(identified: Identified, card: Card) -> Identified:
    """The config with what the card tells and the weights do not; what the user or the file said of it stays."""
    told = dict(card.config)
    source = identified.padding_source
    if padding_is_open(identified):
        told.setdefault("padding", PADDINGS[0])
        source = f"the card of {card.name}"
    elif source:
        told.pop("padding", None)
    return dataclasses.replace(identified, config=dataclasses.replace(identified.config, **told), padding_source=source)


def kinds_of(card: Card, identified: Identified) -> tuple[Kind, ...]:
    """The latent space that a card names; the shapes' where it names none."""
    known = kind_named(card.kind)
    return identified.kinds if known is None else (known,)


def with_measured_normalization(identified: Identified) -> Identified:
    """The VAE with the normalization of the known kind that its latents look like, or the reason why it has none."""
    if identified.normalization is not None or picture_size(identified.config) is not None:
        return identified
    try:
        verdict = nearest_kind(latents_of(identified), identified.kinds)
    except (HalfMissing, BadPicture):
        return identified
    if verdict.kind is None:
        return dataclasses.replace(identified, normalization_source=verdict.words.removeprefix("unknown, "))
    return dataclasses.replace(
        identified, normalization=verdict.kind.normalization, normalization_source=verdict.words, kinds=(verdict.kind,)
    )


def with_measured_padding(identified: Identified) -> Identified:
    """The VAE with the padding under which its borders are right, where nobody told it and that is clear."""
    borders = borders_of(identified) if padding_is_open(identified) else None
    if borders is None:
        return identified
    if borders.verdict not in PADDINGS:
        return dataclasses.replace(identified, padding_source=f"assumed; measured, {borders.words}: neither is clear")
    config = dataclasses.replace(identified.config, padding=borders.verdict)
    return dataclasses.replace(identified, config=config, padding_source=f"measured: {borders.words}")

"""What the user says of a VAE, taken before all else: which of the known latent spaces it has, and how it pads."""

import dataclasses

from vaekit.checkpoints.cards import kinds
from vaekit.checkpoints.identify import Identified
from vaekit.errors import BadPlan, NotFound, WrongTensors, legible
from vaekit.nets.kl import PADDINGS, ZEROS, KLConfig

YOUR_WORD = "what you said"


def of_kind(identified: Identified, name: str) -> Identified:
    """The same VAE as one of a kind that the user names: "SDXL", or the whole name of the kind.

    Raises:
        NotFound: there is no kind of this name.
        WrongTensors: a VAE of that kind has other shapes.
    """
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
    return dataclasses.replace(
        identified, kinds=(kind,), normalization=kind.normalization, normalization_source=YOUR_WORD
    )


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
        changed = dataclasses.replace(config, padding=padding)
        return dataclasses.replace(identified, config=changed, padding_source=YOUR_WORD)
    if padding == ZEROS:
        return identified
    raise BadPlan(
        f"{identified.path} is a {identified.family.name!r} autoencoder, which always pads in one way.",
        "Only the convolutional autoencoders (KL and VQ) are known with padding by reflection.",
        "Leave the padding out.",
    )

"""`vaekit inspect`: what VAE is in a file."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import print_facts, print_json

if TYPE_CHECKING:
    from vaekit.checkpoints.cards import Card
    from vaekit.checkpoints.inspecting import Inspection


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A weights file, a folder, or the name of a known VAE.")],
    models: options.Models = None,
    as_json: options.Json = False,
) -> None:
    """Say what VAE is in a file.

    Family, layout, config, channels, factor, frame, fingerprint and problems, from the keys, shapes and metadata of
    the file; its name is never looked at.
    """
    from vaekit.checkpoints.inspecting import inspect as look
    from vaekit.checkpoints.loading import located

    with located(file, models) as path:
        inspection = dataclasses.replace(look(path), path=file)
    if as_json:
        print_json(dataclasses.asdict(inspection))
    else:
        print_facts(file, facts(inspection))


def facts(seen: "Inspection") -> dict[str, str]:
    """An inspection in words."""
    from vaekit.checkpoints.frames import frame_words

    frame = "unknown" if seen.frame is None else f"{frame_words(seen.frame)} (from {seen.frame_source})"
    told = card_facts(seen.card) if seen.card else {}
    told |= {
        "family": seen.family,
        "shaped like": " or ".join(seen.known_as) or "no model known by name",
        "layout": f"{seen.layout}, {seen.format}" + (f", behind {seen.prefix!r}" if seen.prefix else ""),
        "halves": " and ".join(seen.halves),
        "latents": f"{seen.latent_channels} channels at 1/{seen.factor} size: {seen.compression:g}x fewer numbers",
        "frame": frame,
        "weights": f"{seen.parameters:,} in {' and '.join(seen.dtypes)}",
        "fingerprint": seen.fingerprint,
        "config": "\n".join(f"{name} = {value}" for name, value in seen.config.items()),
    }
    return told | ({"problems": "\n".join(seen.problems)} if seen.problems else {})


def card_facts(card: "Card") -> dict[str, str]:
    """What is known about weights that have a card."""
    return {
        "known as": f"{card.name}: {card.about}",
        "trained on": f"{card.data}; {card.training}",
        "measured": card.measured,
        "licence": card.licence,
    }

"""`vaekit inspect`: what VAE is in a file."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import print_facts, print_json

if TYPE_CHECKING:
    from vaekit.checkpoints.cards import Card
    from vaekit.checkpoints.inspecting import Inspection


CARD_FACTS = ("name", "about", "kind", "licence", "fp16", "data", "training", "measured")


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A weights file, a folder, or the name of a known VAE.")],
    models: options.Models = None,
    hashed: Annotated[
        bool, typer.Option("--hash/--no-hash", help="Hash the weights and look them up; or read the headers only.")
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Say what VAE is in a file.

    Family, layout, config, channels, factor, frame, fingerprint and problems, from the keys, shapes, metadata and
    weights of the file; its name is never looked at. Hashes are remembered until the file changes.
    """
    from vaekit.checkpoints.inspecting import inspect as look
    from vaekit.checkpoints.loading import located

    with located(file, models) as path:
        inspection = dataclasses.replace(look(path, hash=hashed), path=file)
    if as_json:
        told = dataclasses.asdict(inspection)
        if inspection.card is not None:  # what else its card lists is for `list` and `get`
            told["card"] = {name: told["card"][name] for name in CARD_FACTS}
        print_json(told)
    else:
        print_facts(file, facts(inspection))


def facts(seen: "Inspection") -> dict[str, str]:
    """An inspection in words."""
    from vaekit.checkpoints.frames import frame_words

    if not seen.runnable:
        return unrunnable_facts(seen)
    frame = "unknown" if seen.frame is None else f"{frame_words(seen.frame)} (from {seen.frame_source})"
    told = card_facts(seen.card, seen.recognised) if seen.card else {}
    if seen.akin:
        told["akin"] = "\n".join(seen.akin)
    told |= {
        "family": seen.family,
        "shaped like": " or ".join(seen.known_as) or "no model known by name",
        "layout": f"{seen.layout}, {seen.format}" + (f", behind {seen.prefix!r}" if seen.prefix else ""),
        "halves": " and ".join(seen.halves),
        "latents": latents(seen),
        "frame": frame,
        "weights": f"{seen.parameters:,} in {' and '.join(seen.dtypes)}",
        "fingerprint": seen.fingerprint or "not asked for",
        "sha256": seen.sha256 or "",
        "config": "\n".join(f"{name} = {value}" for name, value in seen.config.items()),
    }
    told |= {"problems": "\n".join(seen.problems)}
    return {name: value for name, value in told.items() if value}


def latents(seen: "Inspection") -> str:
    """The size of the latents in words."""
    fewer = f"{seen.compression:g}x fewer numbers"
    if seen.picture_size is not None:
        side = seen.picture_size
        return f"{seen.latent_channels} numbers for a picture of {side}x{side} pixels, no other size: {fewer}"
    return f"{seen.latent_channels} channels at 1/{seen.factor} size: {fewer}"


def unrunnable_facts(seen: "Inspection") -> dict[str, str]:
    """What is known of a VAE that is only recognised."""
    channels = "an unknown number of" if seen.latent_channels is None else f"{seen.latent_channels}"
    size = "" if seen.factor is None else f" at 1/{seen.factor} size"
    return {
        "family": seen.family,
        "runnable": "recognised, not runnable: " + " ".join(seen.problems),
        "format": seen.format + (f", behind {seen.prefix!r}" if seen.prefix else ""),
        "halves": " and ".join(seen.halves) or "not told apart",
        "latents": f"{channels} channels{size}",
        "weights": f"{seen.parameters:,} in {' and '.join(seen.dtypes)}",
    }


def card_facts(card: "Card", how: str) -> dict[str, str]:
    """What is known about weights that have a card."""
    trained = "; ".join(part for part in (card.data, card.training) if part)
    return {
        "known as": f"{card.name}, {how}\n{card.about}",
        "fp16": {"safe": "safe", "unsafe": "unsafe: it overflows", "unknown": "unknown"}[card.fp16],
        "trained on": trained,
        "measured": card.measured,
        "licence": card.licence,
    }

"""`vaekit inspect`: what VAE is in a file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import print_facts, print_json, spinner
from vaekit.geometry import Geometry, size_text

CARD_FACTS = ("name", "about", "kind", "license", "fp16", "data", "training", "measured")


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A weights file, a folder, or the name of a known VAE.")],
    models: options.Models = None,
    hashed: Annotated[
        bool, typer.Option("--hash/--no-hash", help="Hash the weights and look them up; or read the headers only.")
    ] = True,
    measured: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Run it where nothing else tells normalization or padding."),
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Say what VAE is in a file.

    Family, layout, config, channels, factor, normalization, fingerprint and problems, from the keys, shapes, metadata
    and weights of the file; its name is never looked at. A VAE of unknown normalization or padding is run on built-in
    images. The answer is remembered until the file changes.
    """
    told = look(file, models, hashed, measured) | {"path": file}
    if told["card"] is not None:  # what else its card lists is for `list` and `get`
        told["card"] = {name: told["card"][name] for name in CARD_FACTS}
    if as_json:
        print_json(told)
    else:
        print_facts(file, facts(SimpleNamespace(**told)))


def look(file: str, models: list[Path] | None, hashed: bool, measured: bool) -> dict[str, Any]:
    """The inspection of a file, by path or by name; one that is cached does not import torch."""
    from vaekit.identification.cached_inspection import cached_inspection
    from vaekit.library.names import locate_vae

    with spinner("looking"), locate_vae(file, models) as path:
        return cached_inspection(path, hash=hashed, measure=hashed and measured)


def facts(seen: Any) -> dict[str, str]:
    """An inspection in words."""
    if not seen.runnable:
        return unrunnable_facts(seen)
    normalization = (
        "unknown" if seen.normalization is None else f"{seen.normalization_words} ({how(seen.normalization_source)})"
    )
    told = card_facts(seen.card, seen.recognized) if seen.card else {}
    if seen.akin:
        told["akin"] = "\n".join(seen.akin)
    told |= {
        "family": seen.family,
        "shaped like": " or ".join(seen.known_as) or "no model known by name",
        "layout": f"{seen.layout}, {seen.format}" + (f", behind {seen.prefix!r}" if seen.prefix else ""),
        "halves": " and ".join(seen.halves),
        "latents": latents(seen),
        "normalization": normalization,
        "padding": padding(seen),
        "weights": f"{seen.parameters:,} in {' and '.join(seen.dtypes)}",
        "fingerprint": seen.fingerprint or "not asked for",
        "sha256": seen.sha256 or "",
        "config": "\n".join(f"{name} = {tuple(v) if isinstance(v, list) else v}" for name, v in seen.config.items()),
    }
    told |= {"problems": "\n".join(seen.problems)}
    return {name: value for name, value in told.items() if value}


def padding(seen: Any) -> str:
    """What the convolutions see beyond the edge, where there is a choice."""
    mode = seen.config.get("padding")
    return f"{mode} ({how(seen.padding_source) if seen.padding_source else 'assumed: nobody says'})" if mode else ""


def latents(seen: Any) -> str:
    """The size of the latents in words."""
    geometry = Geometry.from_json(seen.geometry)
    assert geometry is not None
    fewer = f"{geometry.compression:g}x fewer values"
    if not geometry.axes:
        return f"{geometry.latent_channels} values for an item of {geometry.channels}, which is no image: {fewer}"
    if geometry.size is not None:
        return (
            f"{geometry.latent_channels} values for an item of size {size_text(geometry.size)}, no other size: {fewer}"
        )
    return f"{geometry.latent_text}: {fewer}"


def unrunnable_facts(seen: Any) -> dict[str, str]:
    """What is known of a VAE that is only recognized."""
    channels = "an unknown number of" if seen.latent_channels is None else f"{seen.latent_channels}"
    size = "" if seen.factor is None else f" at 1/{seen.factor} size"
    return {
        "family": seen.family,
        "runnable": "recognized, not runnable: " + " ".join(seen.problems),
        "format": seen.format + (f", behind {seen.prefix!r}" if seen.prefix else ""),
        "halves": " and ".join(seen.halves) or "not told apart",
        "latents": f"{channels} channels{size}",
        "weights": f"{seen.parameters:,} in {' and '.join(seen.dtypes)}",
    }


def card_facts(card: dict[str, str], recognized: str) -> dict[str, str]:
    """What is known about weights that have a card."""
    trained = "; ".join(part for part in (card["data"], card["training"]) if part)
    return {
        "known as": f"{card['name']}, {recognized}\n{card['about']}",
        "fp16": {"safe": "safe", "unsafe": "unsafe: it overflows"}.get(card["fp16"], ""),
        "trained on": trained,
        "measured": card["measured"],
        "license": card["license"],
    }


def how(source: str) -> str:
    """How something is known, to stand in brackets."""
    return source if source.startswith(("measured", "its ", "what you")) else f"from {source}"

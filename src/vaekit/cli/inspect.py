"""`vaekit inspect`: identify the VAE in a file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.json_names import with_json_names
from vaekit.cli.output import print_facts, print_json, spinner

CATALOG_FACTS = ("name", "about", "kind", "license", "fp16", "data", "training", "measured")


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help=options.ANY_VAE)],
    models: options.Models = None,
    hashed: Annotated[
        bool,
        typer.Option("--hash/--no-hash", help="Hash the weights and look them up in the catalog."),
    ] = True,
    measured: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Run the VAE if normalization or padding is unknown."),
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Identify the VAE in a file.

    Prints family, layout, config, channels, factor, latent normalization, fingerprint and problems, from the keys,
    shapes, metadata and weights of the file; its name is ignored. If normalization or padding is unknown, the VAE is
    run on built-in images to measure it. Results are cached until the file changes.
    """
    inspection = look(file, models, hashed, measured) | {"path": file}
    if inspection["card"] is not None:  # the rest of the entry is for `list` and `get`
        inspection["card"] = {name: inspection["card"][name] for name in CATALOG_FACTS}
    if as_json:
        entry = inspection["card"] and with_json_names(inspection["card"])
        print_json(with_json_names(inspection | {"card": entry}))
    else:
        print_facts(file, facts(SimpleNamespace(**inspection)))


def look(file: str, models: list[Path] | None, hashed: bool, measured: bool) -> dict[str, Any]:
    """The inspection of a file, by path or by name; a cached one does not import torch."""
    from vaekit.identification.cached_inspection import cached_inspection
    from vaekit.library.names import locate_vae

    with spinner("inspecting"), locate_vae(file, models) as path:
        return cached_inspection(path, hash=hashed, measure=hashed and measured)


def facts(inspection: Any) -> dict[str, str]:
    """The rows of the table."""
    if not inspection.runnable:
        return unrunnable_facts(inspection)
    normalization = (
        "unknown"
        if inspection.normalization is None
        else f"{inspection.normalization_words} ({how(inspection.normalization_source)})"
    )
    rows = card_facts(inspection.card, inspection.recognized) if inspection.card else {}
    if inspection.akin:
        rows["relatives"] = "\n".join(inspection.akin)
    rows |= {
        "family": inspection.family,
        "shapes of": " or ".join(inspection.known_as) or "no known model",
        "layout": f"{inspection.layout}, {inspection.format}"
        + (f", prefix {inspection.prefix!r}" if inspection.prefix else ""),
        "parts": " and ".join(inspection.halves),
        "latents": latents(inspection),
        "normalization": normalization,
        "padding": padding(inspection),
        "weights": f"{inspection.parameters:,} in {' and '.join(inspection.dtypes)}",
        "fingerprint": inspection.fingerprint or "not computed",
        "sha256": inspection.sha256 or "",
        "config": "\n".join(
            f"{name} = {tuple(v) if isinstance(v, list) else v}" for name, v in inspection.config.items()
        ),
    }
    rows |= {"problems": "\n".join(inspection.problems)}
    return {name: value for name, value in rows.items() if value}


def padding(inspection: Any) -> str:
    """The padding mode of the convolutions; empty if the family has only one."""
    mode = inspection.config.get("padding")
    return f"{mode} ({how(inspection.padding_source) if inspection.padding_source else 'assumed'})" if mode else ""


def latents(inspection: Any) -> str:
    """The shape of the latents."""
    if not inspection.compression:
        return f"latent vector of {inspection.latent_channels} values (non-image data)"
    fewer = f"{inspection.compression:g}x fewer values than the image"
    if inspection.image_size is not None:
        side = inspection.image_size
        return f"latent vector of {inspection.latent_channels} values for {side}x{side} images only: {fewer}"
    return f"{inspection.latent_channels} channels at 1/{inspection.factor} size: {fewer}"


def unrunnable_facts(inspection: Any) -> dict[str, str]:
    """The rows for a VAE that is recognized but cannot be run."""
    channels = "an unknown number of" if inspection.latent_channels is None else f"{inspection.latent_channels}"
    size = "" if inspection.factor is None else f" at 1/{inspection.factor} size"
    return {
        "family": inspection.family,
        "runnable": "recognized, not runnable: " + " ".join(inspection.problems),
        "format": inspection.format + (f", prefix {inspection.prefix!r}" if inspection.prefix else ""),
        "parts": " and ".join(inspection.halves) or "unknown",
        "latents": f"{channels} channels{size}",
        "weights": f"{inspection.parameters:,} in {' and '.join(inspection.dtypes)}",
    }


def card_facts(card: dict[str, str], recognized: str) -> dict[str, str]:
    """The rows from the catalog."""
    trained = "; ".join(part for part in (card["data"], card["training"]) if part)
    return {
        "known as": f"{card['name']}, {recognized}\n{card['about']}",
        "fp16": {"safe": "safe", "unsafe": "unsafe: overflows"}.get(card["fp16"], ""),
        "trained on": trained,
        "measured": card["measured"],
        "license": card["license"],
    }


def how(source: str) -> str:
    """Where a fact comes from, for parentheses."""
    return source if source.startswith(("measured", "its ", "what you")) else f"from {source}"

"""`vaekit inspect`: identify the VAE in a file."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import Lines, print_facts, print_json, spinner
from vaekit.errors import counted
from vaekit.geometry import Geometry, size_text

TOKENS = "tokens"
"""The kind of likelihoods of sequences, whose length includes the end."""
PNG = ".png"
CATALOG_FACTS = ("name", "about", "latent_space", "license", "fp16", "data", "training", "measured")


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
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Identify the VAE in a file.

    Prints family, layout, domain, schema, config, channels, factor, latent normalization, fingerprint and problems,
    from the keys, shapes, metadata and weights of the file; its name is ignored. If normalization or padding is
    unknown, the VAE is run on built-in images to measure it. Results are cached until the file changes. Of an image
    that `vaekit generate` wrote, the settings are printed.
    """
    if Path(file).suffix.lower() == PNG and Path(file).is_file():
        inspect_image(Path(file), as_json)
        return
    facts = look(file, models, hashed, measured, weights) | {"path": file}
    if facts["catalog_entry"] is not None:  # the rest of the entry is for `list` and `get`
        facts["catalog_entry"] = {name: facts["catalog_entry"][name] for name in CATALOG_FACTS}
    if as_json:
        print_json(facts)
    else:
        print_facts(file, rows_of(SimpleNamespace(**facts)))


def inspect_image(path: Path, as_json: bool) -> None:
    """Print the settings in an image that vaekit generated."""
    from vaekit.domains.images.png_metadata import read_settings

    settings = read_settings(path)
    if as_json:
        print_json(settings)
    else:
        print_facts(str(path), {name: str(value) for name, value in settings.items() if value is not None})


def look(
    file: str, models: list[Path] | None, hashed: bool, measured: bool, weights: str | None = None
) -> dict[str, Any]:
    """The inspection of a file, by path or by name; a cached one does not import torch."""
    from vaekit.identification.cached_inspection import cached_inspection
    from vaekit.library.names import locate_vae

    with spinner("inspecting"), locate_vae(file, models) as path:
        return cached_inspection(path, hash=hashed, measure=hashed and measured, weights=weights)


def rows_of(facts: Any) -> dict[str, Lines]:
    """The rows of the table."""
    if not facts.runnable:
        return unrunnable_rows(facts)
    normalization = (
        "unknown" if facts.normalization is None else f"{facts.normalization_words} ({how(facts.normalization_source)})"
    )
    rows = catalog_rows(facts.catalog_entry, facts.recognized) if facts.catalog_entry else {}
    if facts.relatives:
        rows["relatives"] = tuple(facts.relatives)
    rows |= {
        "family": facts.family,
        "shapes of": " or ".join((*facts.candidate_models, *facts.twins)) or "no known model",
        "also used by": ", ".join(facts.used_by),
        "layout": f"{facts.layout}, {facts.format}" + (f", prefix {facts.prefix!r}" if facts.prefix else ""),
        "parts": " and ".join(facts.halves),
        "domain": facts.domain or unstated_domain(facts),
        "schema": tuple(facts.schema_records) or facts.schema,
        "latents": latents(facts),
        "codes": codes(facts),
        "normalization": normalization,
        "padding": padding(facts),
        "weights": weights(facts),
        "taken": taken(facts.selection),
        "fingerprint": facts.fingerprint or "not computed",
        "sha256": facts.sha256 or "",
        "config": tuple(f"{name} = {tuple(v) if isinstance(v, list) else v}" for name, v in facts.config.items()),
    }
    rows |= {"problems": tuple(facts.problems)}
    return {name: value for name, value in rows.items() if value}


def unstated_domain(facts: Any) -> str:
    """The domain of a file that names none, as other programs write them."""
    geometry = Geometry.from_json(facts.geometry)
    assert geometry is not None
    return "audio, from its family" if geometry.axes == 1 else "not stated"


def taken(selection: Any) -> str:
    """Which of several sets of weights was taken; empty if the file holds one."""
    return "" if selection is None else selection["text"]


def weights(facts: Any) -> str:
    """The number of weights, their number formats and quantizations in the file, and their dtype after loading."""
    quantized = f", quantized: {' and '.join(facts.quantization)}" if facts.quantization else ""
    converted = facts.loaded_dtype is not None and list(facts.dtypes) != [facts.loaded_dtype]
    loaded = f", loaded as {facts.loaded_dtype}" if converted else ""
    return f"{facts.parameters:,} in {' and '.join(facts.dtypes)}{quantized}{loaded}"


def padding(facts: Any) -> str:
    """The padding mode of the convolutions; empty if the family has only one."""
    mode = facts.config.get("padding")
    return f"{mode} ({how(facts.padding_source) if facts.padding_source else 'assumed'})" if mode else ""


def latents(facts: Any) -> str:
    """The shape of the latents."""
    geometry = Geometry.from_json(facts.geometry)
    assert geometry is not None
    fewer = fewer_values(geometry.compression)
    if not geometry.axes:
        vector = f"latent vector of {counted(geometry.latent_channels, 'value')} for items of"
        if facts.config.get("likelihood", {}).get("kind") == TOKENS:  # a token is no value
            return f"{vector} at most {counted(geometry.channels - 1, 'token')}"
        return f"{vector} {geometry.channels}: {fewer}"
    if geometry.size is not None:
        size = size_text(geometry.size)
        if geometry.size != geometry.factors:  # more than one position
            return f"{geometry.latent_text}, for items of size {size} only: {fewer}"
        return f"latent vector of {counted(geometry.latent_channels, 'value')} for items of size {size} only: {fewer}"
    return f"{geometry.latent_text}: {fewer}"


def codes(facts: Any) -> str:
    """The codes at each position of a residual quantizer, and the rate of those of sounds; empty for other VAEs."""
    stages, size, rate = (facts.config.get(name) for name in ("stages", "codes", "sample_rate"))
    geometry = Geometry.from_json(facts.geometry)
    if not stages or not size or geometry is None:
        return ""
    bits = math.log2(size)
    at_most = f", up to {geometry.positions_per(rate) * stages * bits / 1000:.3g} kbit/s" if rate else ""
    return f"{counted(stages, 'code')} of {bits:.3g} bits at each position{at_most}"


def fewer_values(compression: float) -> str:
    """How the number of values changes; small VAEs of tables have more latents than columns."""
    return f"{compression:.4g}x fewer values" if compression >= 1 else f"{1 / compression:.4g}x more values"


def unrunnable_rows(facts: Any) -> dict[str, Lines]:
    """The rows for a VAE that is recognized but cannot be run."""
    unknown = facts.latent_channels is None
    channels = "an unknown number of channels" if unknown else counted(facts.latent_channels, "channel")
    size = f" at {facts.size_of_latents}" if facts.size_of_latents else ""
    fewer = "" if facts.compression is None else f": {fewer_values(facts.compression)}"
    rows = {
        "family": facts.family,
        "used by": ", ".join(facts.used_by),
        "runnable": "recognized, not runnable: " + " ".join(facts.problems),
        "format": facts.format + (f", prefix {facts.prefix!r}" if facts.prefix else ""),
        "parts": " and ".join(facts.halves) or "unknown",
        "latents": f"{channels}{size}{fewer}",
        "normalization": facts.normalization_source,
        "weights": weights(facts),
    }
    return {name: value for name, value in rows.items() if value}


def catalog_rows(entry: dict[str, str], recognized: str) -> dict[str, Lines]:
    """The rows from the catalog."""
    trained = "; ".join(part for part in (entry["data"], entry["training"]) if part)
    return {
        "known as": (f"{entry['name']}, {recognized}", entry["about"]),
        "fp16": {"safe": "safe", "unsafe": "unsafe: overflows"}.get(entry["fp16"], ""),
        "trained on": trained,
        "measured": entry["measured"],
        "license": entry["license"],
    }


def how(source: str) -> str:
    """Where a fact comes from, for parentheses."""
    return source if source.startswith(("measured", "its ", "what you")) else f"from {source}"

"""The card of a fine-tuned VAE: a README.md as the Hub and model-sharing sites show it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from vaekit.comparison.records import Comparison, Report
from vaekit.errors import printable
from vaekit.families.padding import REFLECT
from vaekit.metrics.measure import Measure
from vaekit.records import as_toml
from vaekit.report.card_images import AFTER, BEFORE, CardImage

ROWS = ("psnr", "ssim", "lpips_alex", "delta_e", "red_shift", "green_shift", "blue_shift")
"""The measures of the table, as far as they were measured."""
IMAGES = "images"
HUB_LICENSES = {
    "mit": "mit",
    "apache-2.0": "apache-2.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "cc0-1.0": "cc0-1.0",
    "agpl-3.0": "agpl-3.0",
    "gpl-3.0": "gpl-3.0",
    "bsd-3-clause": "bsd-3-clause",
    "openrail": "openrail",
    "creativeml-openrail-m": "creativeml-openrail-m",
    "creativeml open rail-m": "creativeml-openrail-m",
    "openrail++": "openrail++",
    "creativeml open rail++-m": "openrail++",
    "unknown": "unknown",
}
"""Licenses as people write them, and as the Hub does; others are "other", with their name."""
DIFFUSERS_CLASSES = {"kl": "AutoencoderKL", "tiny": "AutoencoderTiny", "vq": "VQModel"}


@dataclass(frozen=True)
class About:
    """What a card tells beside what was measured."""

    title: str
    lineage: Mapping[str, Any]
    """Where the weights come from, as their metadata tells."""
    recipe: Mapping[str, Any]
    """As it was resolved."""
    files: Sequence[str]
    """Names of the result's files, weights first."""
    layout: str
    dtypes: Sequence[str]
    license: str
    """As the user or the parent's card tells it; empty where nobody does."""
    license_source: str
    base_model: str = ""
    """The repository on the Hub of the parent's makers, where it is known."""
    padding: str = ""
    """How the result's convolutions pad: "zeros" or "reflect"; empty where there is nothing to choose."""
    averaged: bool = True
    """Whether the weights are a moving average."""


def model_card(about: About, report: Report, images: Sequence[CardImage], histogram: CardImage) -> str:
    """The text of README.md."""
    sections = [
        header(about),
        f"# {about.title}",
        introduction(about),
        f"## Before and after\n\n{measured(report)}",
        "\n\n".join(f"![{each.says}]({IMAGES}/{each.file})" for each in images),
        f"![{histogram.says}]({IMAGES}/{histogram.file})\n\n{histogram.says}.",
        f"## How to use it\n\n{usage(about)}",
        f"## How it was trained\n\n{training(about)}",
        f"## License\n\n{license_words(about)}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def header(about: About) -> str:
    """The YAML at the top. JSON's strings are YAML's too."""
    name = about.license.strip()
    known = HUB_LICENSES.get(name.lower())
    lines = [f"license: {known or ('other' if name else 'unknown')}"]
    if name and known is None:
        lines.append(f"license_name: {quoted(re.sub(r'[^a-z0-9.+]+', '-', name.lower()).strip('-'))}")
    if about.base_model:
        lines += [f"base_model: {quoted(about.base_model)}", "base_model_relation: finetune"]
    if about.layout == "diffusers" and "config.json" in about.files:
        lines.append("library_name: diffusers")
    lines += ["tags:", *(f"- {tag}" for tag in ("vae", "autoencoder", "image-reconstruction", "vaekit"))]
    return "---\n" + "\n".join(lines) + "\n---"


def quoted(text: str) -> str:
    """A text as YAML takes it, whatever is in it."""
    return json.dumps(printable(text), ensure_ascii=False)


def introduction(about: About) -> str:
    """What it is, and whose child."""
    parent, data = about.lineage["parent"], about.lineage["data"]
    name = inline(parent["name"])
    linked = f"[{name}](https://huggingface.co/{about.base_model})" if about.base_model else f"`{name}`"
    facts = [
        f"A variational autoencoder of the family `{parent['family']}`, fine-tuned from "
        f"{linked} on {data_words(data)}. {latents_words(about.lineage)}",
        "Fingerprint of the parent's weights (SHA-256 over their names, shapes and values): "
        f"`{parent['fingerprint']}`.",
    ]
    return "\n\n".join(facts)


def latents_words(lineage: Mapping[str, Any]) -> str:
    """What was trained, and whether latents are still those of the parent."""
    whole = lineage["trained"] != "decoder"
    trained = "Encoder and decoder were trained" if whole else "Only the decoder was trained"
    padding, dtype = (lineage.get("changes", {}).get(name) for name in ("padding", "dtype"))
    if padding:
        trained += f", and the padding was changed from {padding['before']} to {padding['after']}, in the encoder too"
    if padding or whole:
        return f"{trained}: latents are not those of its parent any more."
    if dtype:
        return (
            f"{trained}, and the encoder was rounded from {dtype['before']} to {dtype['after']}: latents differ from "
            "those of its parent by that rounding. It decodes the latents of every model that works with its parent."
        )
    return (
        f"{trained}. The encoder is that of its parent, number for number, which was checked when the file was "
        "written: it decodes the latents of every model that works with its parent."
    )


def data_words(data: Mapping[str, Any]) -> str:
    """What it was trained on: "1,200 images (photos)". Those that were held out of them do not count."""
    count, place = data.get("items"), data.get("path")
    apart = 0 if data.get("of_its_own") else data.get("held_out", 0)
    told = f"{count - apart:,} images" if isinstance(count, int) else "images"
    return f"{told} ({inline(str(place))})" if place else told


def inline(text: str) -> str:
    """Foreign text inside Markdown: no markup, no HTML."""
    return re.sub(r"[`*_<>\[\]|]", " ", printable(text)).strip()


def measured(report: Report) -> str:
    """The table with its protocol."""
    sets = {one.name: one for one in report.candidates}
    titles = {each.name: each for each in report.measures}
    changes = {each.measure: each for each in report.comparisons if (each.first, each.second) == (AFTER, BEFORE)}
    rows = []
    for name in ROWS:
        if not all(name in sets[which].measures for which in (BEFORE, AFTER)):
            continue
        old, new = (sets[which].measures[name].value for which in (BEFORE, AFTER))
        digits = 2 if max(abs(old), abs(new)) >= 1 else 4
        cells = [f"{value:.{digits}f}" for value in (old, new)]
        rows.append(
            f"| {row_title(titles[name])} | {cells[0]} | {cells[1]} | {change_words(changes.get(name), digits)} |"
        )
    count, computed = len(sets[AFTER].images), report.protocol.get("dtype", "fp32")
    table = ["| | before | after | change, 95 % interval |", "|---|---:|---:|---:|", *rows]
    about = (
        f"Means over {count:,} held-out images, which were not trained on: encoded, the mode of the posterior "
        f"decoded, rounded to 8 bits; weights as in the file, computed in {computed}. "
        "Intervals are Student's t over pairs of images. Color shifts are mean changes in levels of 255."
    )
    return "\n".join(table) + "\n\n" + about


def row_title(measure: Measure) -> str:
    arrow = {"higher": ", higher is better", "lower": ", lower is better", "zero": ", 0 is best"}
    return f"{measure.title}{f' ({measure.unit})' if measure.unit else ''}{arrow.get(measure.better or '', '')}"


def change_words(change: Comparison | None, digits: int) -> str:
    """A difference with its interval, where there are images enough for one."""
    if change is None:
        return ""
    return f"{change.difference:+.{digits}f} ({change.low:+.{digits}f} to {change.high:+.{digits}f})"


def usage(about: About) -> str:
    """Commands and code, for this layout."""
    weights = [name for name in about.files if name != "config.json"]
    parts = [
        "With [vaekit](https://pypi.org/project/vaekit/), REPO being the name of this repository:\n\n"
        "```sh\nvaekit get REPO\nvaekit reconstruct image.jpg --vae NAME    # the name that get tells\n```"
    ]
    if about.padding == REFLECT:
        parts.append(
            "In other programs the borders of images come out wrong: its convolutions pad by reflection, and "
            "diffusers, ComfyUI and A1111's web UI pad with zeros."
        )
        return "\n\n".join(parts)
    kind = DIFFUSERS_CLASSES.get(about.lineage["parent"]["family"])
    if kind and "config.json" in about.files:
        parts.append(f"With diffusers:\n\n```python\n{python_lines(kind, 'REPO')}\n```")
    elif kind and about.layout == "ldm" and kind == "AutoencoderKL":
        call = f'from diffusers import {kind}\n\nvae = {kind}.from_single_file("{weights[0]}")'
        parts.append(f"With diffusers:\n\n```python\n{call}\n```")
    elif kind:
        parts.append(
            "With diffusers, in its own layout:\n\n"
            f"```sh\nvaekit convert NAME {PurePosixPath(weights[0]).stem}_diffusers --layout diffusers\n```\n\n"
            f"```python\n{python_lines(kind, f'{PurePosixPath(weights[0]).stem}_diffusers')}\n```"
        )
    names = " and ".join(f"`{name}`" for name in weights)
    if about.layout == "tiny":
        parts.append(
            f"With ComfyUI: put {names} into `models/vae_approx`; with A1111's web UI into `models/VAE-taesd`."
        )
    elif about.layout in ("ldm", "diffusers"):
        parts.append(f"With ComfyUI: put {names} into `models/vae`; with A1111's web UI into `models/VAE`.")
    return "\n\n".join(parts)


def python_lines(kind: str, place: str) -> str:
    return f'from diffusers import {kind}\n\nvae = {kind}.from_pretrained("{place}")'


def training(about: About) -> str:
    """Samples, seed, version and the recipe to the last value."""
    lineage = about.lineage
    words = as_toml(about.recipe)
    averaged = "averaged over the last steps and " if about.averaged else ""
    fence = "`" * max(max((len(run) for run in re.findall("`+", words)), default=0) + 1, 3)
    return (
        f"By `vaekit finetune`, version {lineage['vaekit']}: the {lineage['trained']}, {lineage['samples']:,} samples, "
        f"seed {lineage['seed']}, weights {averaged}stored as {' and '.join(about.dtypes)}. "
        f"The whole recipe:\n\n{fence}toml\n{words}\n{fence}"
    )


def license_words(about: About) -> str:
    """Under which terms, and how that is known."""
    if not about.license:
        return (
            "Nobody told a license. The weights are derived from those of its parent, whose license binds them; ask "
            "its makers before you pass them on."
        )
    return (
        f"{inline(about.license)}, {about.license_source}. The images that it was trained on have terms of their own."
    )

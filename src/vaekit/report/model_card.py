"""The model card of a fine-tuned VAE: a README.md for the Hub and model-sharing sites."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from vaekit.comparison.latent_space import GROUP
from vaekit.comparison.records import Comparison, Report
from vaekit.errors import counted, printable, visible
from vaekit.families.padding import REFLECT
from vaekit.metrics.measure import Measure
from vaekit.records import as_toml
from vaekit.report.card_images import AFTER, BEFORE, CardImage

ROWS = ("psnr", "ssim", "lpips_alex", "delta_e", "red_shift", "green_shift", "blue_shift")
"""The measures in the table, if they are available."""
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
"""The Hub's identifiers of licenses by their common names; others are "other", with their name."""


@dataclass(frozen=True)
class About:
    """The facts of a model card besides the measurements."""

    title: str
    lineage: Mapping[str, Any]
    """The origin of the weights, from their metadata."""
    recipe: Mapping[str, Any]
    """The resolved recipe."""
    files: Sequence[str]
    """The file names of the result, weights first."""
    layout: str
    dtypes: Sequence[str]
    license: str
    """The license as stated by the user or the base model's catalog entry; empty if unknown."""
    license_source: str
    base_model: str = ""
    """The base model's repository on the Hub, if it is known."""
    padding: str = ""
    """The padding of the result: "zeros" or "reflect"; empty if the family has a fixed padding."""
    averaged: bool = True
    """Whether the weights are a moving average."""
    diffusers_class: str = ""
    """The class of diffusers that builds the same network; empty if there is none."""


def model_card(about: About, report: Report, images: Sequence[CardImage], histogram: CardImage) -> str:
    """The text of README.md."""
    sections = [
        header(about),
        f"# {printable(about.title)}",
        introduction(about),
        f"## Before and after\n\n{measured(report)}",
        latent_space(report),
        "\n\n".join(f"![{each.alt}]({IMAGES}/{each.file})" for each in images),
        f"![{histogram.alt}]({IMAGES}/{histogram.file})\n\n{histogram.alt}.",
        f"## How to use it\n\n{usage(about)}",
        f"## How it was trained\n\n{training(about)}",
        f"## License\n\n{license_text(about)}",
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    return "\n".join(map(visible, text.split("\n")))  # names of files and values of the recipe are in it


def header(about: About) -> str:
    """The YAML header. JSON strings are valid YAML."""
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
    """A text as a quoted YAML string."""
    return json.dumps(printable(text), ensure_ascii=False)


def introduction(about: About) -> str:
    """The description, with the base model."""
    parent, data = about.lineage["parent"], about.lineage["data"]
    name = inline(parent["name"])
    linked = f"[{name}](https://huggingface.co/{about.base_model})" if about.base_model else f"`{name}`"
    facts = [
        f"A variational autoencoder of the family `{parent['family']}`, fine-tuned from "
        f"{linked} on {data_text(data)}. {latents_text(about.lineage)}",
        "Fingerprint of the base model's weights (SHA-256 over their names, shapes and values): "
        f"`{parent['fingerprint']}`.",
    ]
    return "\n\n".join(facts)


def latents_text(lineage: Mapping[str, Any]) -> str:
    """The trained parts, and whether latents are compatible with the base model."""
    whole = lineage["trained"] != "decoder"
    trained = "Encoder and decoder were trained" if whole else "Only the decoder was trained"
    padding, dtype = (lineage.get("changes", {}).get(name) for name in ("padding", "dtype"))
    if padding:
        trained += f", and the padding was changed from {padding['before']} to {padding['after']}, also in the encoder"
    if padding or whole:
        return f"{trained}: latents are not compatible with the base model."
    if dtype:
        return (
            f"{trained}, and the encoder was rounded from {dtype['before']} to {dtype['after']}: latents differ from "
            "those of the base model by that rounding. It decodes the latents of every model that uses the base model."
        )
    return (
        f"{trained}. The encoder is bit-identical to that of the base model, which was verified when the file was "
        "written: it decodes the latents of every model that uses the base model."
    )


def data_text(data: Mapping[str, Any]) -> str:
    """The training data: "1,200 images (photos)", without held-out images."""
    count, place = data.get("items"), data.get("path")
    held_out = 0 if data.get("of_its_own") else data.get("held_out", 0)
    images = counted(count - held_out, "image") if isinstance(count, int) else "images"
    return f"{images} ({inline(str(place))})" if place else images


def inline(text: str) -> str:
    """Untrusted text for Markdown, without markup and HTML."""
    return re.sub(r"[`*_<>\[\]|]", " ", printable(text)).strip()


def measured(report: Report) -> str:
    """The table with a description of the measurement."""
    by_name = {one.name: one for one in report.candidates}
    titles = {each.name: each for each in report.measures}
    changes = {each.measure: each for each in report.comparisons if (each.first, each.second) == (AFTER, BEFORE)}
    rows = []
    for name in ROWS:
        if not all(name in by_name[which].measures for which in (BEFORE, AFTER)):
            continue
        old, new = (by_name[which].measures[name].value for which in (BEFORE, AFTER))
        digits = 2 if max(abs(old), abs(new)) >= 1 else 4
        cells = [f"{value:.{digits}f}" for value in (old, new)]
        rows.append(
            f"| {row_title(titles[name])} | {cells[0]} | {cells[1]} | {change_text(changes.get(name), digits)} |"
        )
    count, computed = len(by_name[AFTER].images), report.protocol.get("dtype", "fp32")
    table = ["| | before | after | change, 95 % interval |", "|---|---:|---:|---:|", *rows]
    about = (
        f"Means over {counted(count, 'held-out image')}: encoded, the mode of the posterior "
        f"decoded, rounded to 8 bits; weights as in the file, computed in {computed}. "
        "Intervals are Student's t over pairs of images; a change is significant if its interval does not contain 0 "
        "and a paired sign-flip test gives p <= 0.05, which takes at least 6 images. Color shifts are mean changes in "
        "levels of 255."
    )
    return "\n".join(table) + "\n\n" + about


def latent_space(report: Report) -> str:
    """The section with the measures of latent spaces, before and after; empty if there are none."""
    by_name = {one.name: one.measures for one in report.candidates}
    rows = []
    for measure in report.measures:
        estimates = [by_name[which].get(measure.name) for which in (BEFORE, AFTER)]
        if measure.group == GROUP and any(estimates):
            cells = ["" if one is None else f"{one.value:.4g}" for one in estimates]
            rows.append(f"| {row_title(measure)} | {cells[0]} | {cells[1]} |")
    if not rows:
        return ""
    facts = report.protocol.get("latent_space", {})
    table = ["| | before | after |", "|---|---:|---:|", *rows]
    about = (
        f"Measured on {facts.get('items', 0):,} held-out images; definitions are in vaekit's docs/latent-space.md. "
        "Frechet distances from few images are too large, and comparable within this table only."
    )
    return "## Latent space\n\n" + "\n".join(table) + "\n\n" + about


def row_title(measure: Measure) -> str:
    arrow = {"higher": ", higher is better", "lower": ", lower is better", "zero": ", 0 is best", "one": ", 1 is best"}
    return f"{measure.title}{f' ({measure.unit})' if measure.unit else ''}{arrow.get(measure.better or '', '')}"


def change_text(change: Comparison | None, digits: int) -> str:
    """A difference with its interval, and whether it is significant; empty if there is none."""
    if change is None:
        return ""
    text = f"{change.difference:+.{digits}f} ({change.low:+.{digits}f} to {change.high:+.{digits}f})"
    return text if change.significant else f"{text}, not significant"


def usage(about: About) -> str:
    """Commands and code, for this layout."""
    weights = [name for name in about.files if name != "config.json"]
    parts = [
        "With [vaekit](https://pypi.org/project/vaekit/), where REPO is the name of this repository:\n\n"
        "```sh\nvaekit get REPO\nvaekit reconstruct image.jpg --vae NAME    # the name that get prints\n```"
    ]
    if about.padding == REFLECT:
        parts.append(
            "In other programs the borders of images are wrong: its convolutions use reflection padding, and "
            "diffusers, ComfyUI and A1111's web UI pad with zeros."
        )
        return "\n\n".join(parts)
    class_name = about.diffusers_class
    if class_name and "config.json" in about.files:
        parts.append(f"With diffusers:\n\n```python\n{python_lines(class_name, 'REPO')}\n```")
    elif class_name and about.layout == "ldm" and class_name == "AutoencoderKL":
        call = f'from diffusers import {class_name}\n\nvae = {class_name}.from_single_file("{weights[0]}")'
        parts.append(f"With diffusers:\n\n```python\n{call}\n```")
    elif class_name:
        parts.append(
            "With diffusers, in its own layout:\n\n"
            f"```sh\nvaekit convert NAME {PurePosixPath(weights[0]).stem}_diffusers --layout diffusers\n```\n\n"
            f"```python\n{python_lines(class_name, f'{PurePosixPath(weights[0]).stem}_diffusers')}\n```"
        )
    names = " and ".join(f"`{name}`" for name in weights)
    if about.layout == "tiny":
        parts.append(
            f"With ComfyUI: put {names} into `models/vae_approx`; with A1111's web UI into `models/VAE-taesd`."
        )
    elif about.layout in ("ldm", "diffusers"):
        parts.append(f"With ComfyUI: put {names} into `models/vae`; with A1111's web UI into `models/VAE`.")
    return "\n\n".join(parts)


def python_lines(class_name: str, place: str) -> str:
    return f'from diffusers import {class_name}\n\nvae = {class_name}.from_pretrained("{place}")'


def training(about: About) -> str:
    """Samples, seed, version and the complete recipe."""
    lineage = about.lineage
    recipe = as_toml(about.recipe)
    averaged = "averaged over the last steps and " if about.averaged else ""
    fence = "`" * max(max((len(run) for run in re.findall("`+", recipe)), default=0) + 1, 3)
    return (
        f"By `vaekit finetune`, version {lineage['vaekit']}: the {lineage['trained']}, {lineage['samples']:,} samples, "
        f"seed {lineage['seed']}, weights {averaged}stored as {' and '.join(about.dtypes)}. "
        f"The whole recipe:\n\n{fence}toml\n{recipe}\n{fence}"
    )


def license_text(about: About) -> str:
    """The license, and its source."""
    if not about.license:
        return (
            "The license is unknown. The weights are derived from those of the base model, whose license applies to "
            "them; ask its authors before you share them."
        )
    return f"{inline(about.license)}, {about.license_source}. The training images have their own terms."

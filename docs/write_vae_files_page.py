"""Write docs/vae-files.md from the package's families and tables; `make docs` runs this, a test checks the result."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vaekit.catalog.entries import LatentSpace, Twin, latent_spaces, twins
from vaekit.checkpoints.save import LAYOUT_NAMES
from vaekit.families import FAMILIES, HALVES, Family, Layout, layout_of
from vaekit.families.family import no_diffusers_class
from vaekit.identification.key_signatures import UnsupportedFamily, non_vae_signatures, unsupported_families

PAGE = Path(__file__).parent / "vae-files.md"


def page() -> str:
    """The whole page."""
    parts = [
        "# Supported VAE files",
        "`make docs` generates this page from `src/vaekit/families` and the tables in `src/vaekit/catalog`.",
        "## VAEs that run",
        "**identify**: family, config and latent space, from keys and shapes alone. The normalization maps between "
        "raw latents and what a diffusion model sees; where other latent spaces have the same shapes, shapes do not "
        "determine it. "
        "A file with only the encoder or only the decoder is read too. Every VAE of a family is read, whether or not "
        "its latent space is in this table, in every layout of the family.",
        table(
            ("latent space", "family", "identify", "encode", "decode", "convert to", "also used by"),
            (row(space) for space in by_family()),
        ),
        "Writing a VAE in a layout that cannot express it is an error that says why.",
        "These fine-tuned VAEs have the tensors of models above, and other latents. A `config.json` beside the weights "
        "tells them apart if it states the normalization; otherwise `vaekit inspect` lists them among the candidates.",
        table(("VAE", "family", "tensors of", "repository"), map(twin_row, twins())),
        "## VAEs that are recognized but not run",
        "`vaekit inspect` identifies them, by their tensors or else by the class in config.json; every other command "
        "refuses them with an error that names a program that runs them.",
        table(
            ("VAE", "used by", "latents", "normalization", "description", "runs in"),
            map(recognized_row, unsupported_families()),
        ),
        "## Other files that are recognized",
        "The error for a file without a VAE says what the file is, and where its VAE is found.",
        table(
            ("contents of the file", "what to do"),
            ((signature.name, signature.vae) for signature in non_vae_signatures()),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def by_family() -> list[LatentSpace]:
    """Every latent space, in the order of the families; a family without one has a row of its own."""
    ordered = [space for family in FAMILIES for space in latent_spaces() if space.family == family.name]
    missing = {family.name for family in FAMILIES} - {space.family for space in ordered}
    return ordered + [LatentSpace("any", name, {}, None) for name in sorted(missing)]


def row(space: LatentSpace) -> tuple[str, ...]:
    """What can be done with files of one latent space."""
    family = next(family for family in FAMILIES if family.name == space.family)
    does = ["yes" if holds(family, half) else "no" for half in HALVES]
    layouts = [name for name in layouts_to(family) if name not in space.not_in]
    return space.name, family.name, identify_word(space), *does, ", ".join(layouts), ", ".join(space.also)


def twin_row(twin: Twin) -> tuple[str, ...]:
    """What is known about a fine-tuned VAE."""
    spaces = (space.name for space in latent_spaces() if (space.family, space.match) == (twin.family, twin.match))
    return twin.name, twin.family, " and ".join(spaces), twin.repo


def identify_word(space: LatentSpace) -> str:
    """Whether files of a latent space are identified by their shapes, and where their normalization comes from."""
    same = [other for other in latent_spaces() if other.family == space.family and other.match == space.match]
    if space.normalization_in:
        in_file = "batch-norm statistics" in space.normalization_in
        return (
            "yes; normalization from the file's statistics"
            if in_file
            else f"yes; normalization from {space.normalization_in}"
        )
    if len({other.normalization for other in same}) > 1:
        return f"yes; same shapes as {' and '.join(other.name for other in same if other.name != space.name)}"
    return "yes; normalization from the shapes" if space.normalization else "yes; no normalization published"


def holds(family: Family, half: str) -> bool:
    """Whether files of a family have this half."""
    return any(native.startswith(f"{half}.") for layout in family.layouts for native, _ in layout.rules)


def layouts_to(family: Family) -> list[str]:
    """The layouts that a family's VAEs can be written in."""
    return [name for name in LAYOUT_NAMES if layout_for(name, family) is not None]


def layout_for(name: str, family: Family) -> Layout | None:
    if name == "diffusers" and family.diffusers is no_diffusers_class:
        return None
    halves = (layout_of(f"{name}-{half}", family.name) for half in HALVES)
    return layout_of(name, family.name) or next((layout for layout in halves if layout), None)


def recognized_row(known: UnsupportedFamily) -> tuple[str, ...]:
    """What is known about a VAE that does not run."""
    channels = "channels from the file" if known.channels_in else f"{known.channels} channels" if known.channels else ""
    latents = ", ".join(filter(None, (channels, known.compression)))
    return known.name, ", ".join(known.models), latents, known.normalization, known.why, known.runs_in


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")

"""Write docs/vae-files.md from the package's families and tables; `make docs` runs this, a test checks the result."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vaekit.catalog.entries import LatentSpace, latent_spaces
from vaekit.checkpoints.save import LAYOUT_NAMES
from vaekit.families import FAMILIES, HALVES, Family, Layout, layout_of
from vaekit.families.family import no_diffusers_class
from vaekit.identification.key_signatures import UnsupportedFamily, non_vae_signatures, unsupported_families

PAGE = Path(__file__).parent / "vae-files.md"


def page() -> str:
    """The whole page."""
    parts = [
        "# Which VAE files vaekit knows",
        "`make docs` generates this page from `src/vaekit/families` and the tables in `src/vaekit/catalog`.",
        "## VAEs that run",
        "**identify**: family, config and kind, from keys and shapes alone. The normalization is the scale and shift "
        "between raw latents and what a diffusion model sees; where other kinds have the same shapes, shapes cannot "
        "tell it. "
        "A file with only the encoder or only the decoder is read too, and does its half. Every VAE of a family is "
        "read, whether or not its kind is in this table, and in every layout of the family.",
        table(("kind", "family", "identify", "encode", "decode", "convert to"), (row(kind) for kind in by_family())),
        "A VAE that a layout cannot express is refused in words.",
        "## VAEs that are recognized, not run",
        "`vaekit inspect` says what they are; `vaekit.load` refuses and names what can run them.",
        table(
            ("VAE", "identify", "encode", "decode", "convert to", "what it is", "what runs it"),
            map(recognized_row, unsupported_families()),
        ),
        "## What else is called by its name",
        "A file without a VAE is refused with what it is, and with where the VAE is that goes with it.",
        table(
            ("what is in the file", "what to do"), ((stranger.name, stranger.vae) for stranger in non_vae_signatures())
        ),
    ]
    return "\n\n".join(parts) + "\n"


def by_family() -> list[LatentSpace]:
    """Every kind, in the order of the families; a family that has none stands for itself."""
    ordered = [kind for family in FAMILIES for kind in latent_spaces() if kind.family == family.name]
    missing = {family.name for family in FAMILIES} - {kind.family for kind in ordered}
    return ordered + [LatentSpace("any", name, {}, None) for name in sorted(missing)]


def row(kind: LatentSpace) -> tuple[str, ...]:
    """What can be done with files of one kind."""
    family = next(family for family in FAMILIES if family.name == kind.family)
    does = ["yes" if holds(family, half) else "no" for half in HALVES]
    layouts = [name for name in layouts_to(family) if name not in kind.not_in]
    return kind.name, family.name, identify_word(kind), *does, ", ".join(layouts)


def identify_word(kind: LatentSpace) -> str:
    """Whether files of a kind are known by their shapes, and where their normalization comes from."""
    twins = [other for other in latent_spaces() if other.family == kind.family and other.match == kind.match]
    if kind.normalization_in:
        in_file = "batch-norm statistics" in kind.normalization_in
        return (
            "yes; normalization from the file's statistics"
            if in_file
            else f"yes; normalization from {kind.normalization_in}"
        )
    if len({twin.normalization for twin in twins}) > 1:
        return f"yes; same shapes as {' and '.join(other.name for other in twins if other.name != kind.name)}"
    return "yes; normalization from the shapes" if kind.normalization else "yes; no normalization published"


def holds(family: Family, half: str) -> bool:
    """Whether files of a family have this half at all."""
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
    channels = "channels from the file" if known.channels_in else f"{known.channels} channels" if known.channels else ""
    factor = f"1/{known.factor} size" if known.factor else ""
    facts = ", ".join(filter(None, ("yes", channels, factor)))
    return known.name, facts, "no", "no", "no", known.why, known.runs_in


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")

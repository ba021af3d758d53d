"""Modes of `vaekit cache` for the files of other programs: options and output of export, import and audit."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli.output import Lines, log, print_facts, print_json, print_table, progress_bar
from vaekit.errors import counted
from vaekit.tasks.options import LatentOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.latent_cache.foreign.audit import Audit
    from vaekit.latent_cache.foreign.export import Export
    from vaekit.latent_cache.foreign.importing import Import

SHOWN = 40
"""Lines of a table of findings."""
ExportTo = Annotated[
    str | None,
    typer.Option(
        "--export",
        metavar="FORMAT",
        help="Write the cache DATA into the folder OUT as files of another program: kohya, musubi, ai-toolkit, comfyui "
        "or mds; or of one of its families of models, such as kohya:lumina.",
        show_default="none",
    ),
]
ImportFrom = Annotated[
    bool,
    typer.Option(
        "--import",
        help="Make the cache OUT of another program's files in the folder DATA. --vae is the VAE that made them.",
    ),
]
AuditOf = Annotated[
    bool,
    typer.Option(
        "--audit",
        help="Check the files of another program in the folder DATA, or the cache DATA: NaN, zeros, sizes, "
        "normalization, duplicate names, damage. The exit status is 1 if something is wrong.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="With --import: which files to read, if the folder holds several kinds.",
        show_default="what is there",
    ),
]


Sample = Annotated[
    bool, typer.Option("--sample", help="With --export: a sample of each posterior instead of its mean.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Random seed of these samples.")]


@dataclass(frozen=True)
class Exchange:
    """The modes of the command and their options, as given."""

    export: str | None
    importing: bool
    audit: bool
    of_format: str | None
    latents: LatentOptions
    vae: ModelOptions | None
    """The VAE; None if the user gave none."""

    def is_wanted(self, out: Path | None) -> bool:
        """Whether one of the modes is wanted.

        Raises:
            typer.BadParameter: modes exclude each other, or an argument is missing or meaningless.
        """
        modes = {"--export": self.export is not None, "--import": self.importing, "--audit": self.audit}
        wanted = [name for name, given in modes.items() if given]
        if len(wanted) > 1:
            raise typer.BadParameter(f"it excludes {wanted[1]}.", param_hint=wanted[0])
        if self.of_format is not None and not self.importing:
            raise typer.BadParameter("it is for --import.", param_hint="--format")
        if self.latents != LatentOptions() and self.export is None:
            raise typer.BadParameter("they are for --export.", param_hint="--sample and --seed")
        if wanted and (out is None) != self.audit:
            problem = "--audit writes nothing." if self.audit else f"{wanted[0]} needs the folder that is written."
            raise typer.BadParameter(problem, param_hint="OUT")
        if self.importing and self.vae is None:
            raise typer.BadParameter("--import needs the VAE that made the files.", param_hint="--vae")
        return bool(wanted)

    def run(self, data: Path, out: Path | None, as_json: bool) -> None:
        """Run the mode that is wanted."""
        if self.audit:
            run_audit(data, self.vae, as_json)
        elif out is not None and self.export is not None:
            run_export(data, out, self.export, self.latents, as_json)
        elif out is not None and self.vae is not None:
            run_import(data, out, self.vae, self.of_format, as_json)


def run_export(cache: Path, out: Path, name: str, latents: LatentOptions, as_json: bool) -> None:
    """Export a cache, and print what was written."""
    from vaekit.tasks.cache_exchange import export, export_json

    with progress_bar("items", "opening the cache") as progress:
        result = export(cache, out, name, latents, progress)
    for item, error in result.failures:
        log(f"vaekit: {item}: {error}")
    for note in result.notes:
        log(note)
    if as_json:
        print_json({**export_json(result), "latents": "sample" if latents.sampled else "mean"})
    else:
        show_export(result, latents)
    if result.failures:
        raise typer.Exit(1)


def show_export(result: "Export", latents: LatentOptions) -> None:
    """Print what was exported."""
    family = f"{result.format.name}:{result.variant.name}"
    facts: dict[str, Lines] = {
        "items": f"{result.written:,}" + (f", {len(result.failures):,} left out" if result.failures else ""),
        "format": f"{result.format.title} ({family})",
        "latents": f"{result.variant.stored}, "
        + (f"a sample of each posterior (seed {latents.seed})" if latents.sampled else "the mean of each posterior"),
        "mirrored": "yes" if result.flips else "no",
        "expected": result.format.place,
        "not kept": result.format.loses,
    }
    print_facts(f"{result.folder}: exported latents", facts)


def run_import(folder: Path, out: Path, source: ModelOptions, of_format: str | None, as_json: bool) -> None:
    """Import files of another program, and print what became of them."""
    from vaekit.tasks.cache_exchange import import_json, import_latents

    with progress_bar("files", "loading the VAE") as progress:
        result = import_latents(folder, out, source, of_format, progress)
    for each in result.quarantine:
        log(f"vaekit: left out: {each.name}: {each.reason}")
    for note in result.notes:
        log(note)
    if as_json:
        print_json({"vae": source.vae, **import_json(result)})
    else:
        show_import(result)


def show_import(result: "Import") -> None:
    """Print what was imported."""
    facts: dict[str, Lines] = {
        "items": f"{result.items:,} in {counted(result.shards, 'shard')}"
        + (f", {len(result.quarantine):,} files left out (quarantine.jsonl)" if result.quarantine else ""),
        "format": f"{result.format.title} ({result.format.name}:{result.variant.name})",
        "stored": f"{result.variant.stored} latents",
        "latents": "raw, without variance: one sample or mean of each posterior was stored",
        "mirrored": "yes" if result.flips else "no",
        "keys": f"{result.by_image:,} by image, {result.items - result.by_image:,} by latents",
    }
    print_facts(f"{result.folder}: imported latents", facts)


def run_audit(folder: Path, vae: ModelOptions | None, as_json: bool) -> None:
    """Audit a folder, and print what was found."""
    from vaekit.tasks.cache_exchange import audit, audit_json

    with progress_bar("files", "examining the files") as progress:
        result = audit(folder, vae, progress)
    if as_json:
        print_json(audit_json(result))
    else:
        show_audit(result)
    if not result.clean:
        raise typer.Exit(1)


def show_audit(result: "Audit") -> None:
    """Print an audit."""
    from statistics import fmean

    from vaekit.latent_cache.foreign.audit import KINDS

    facts: dict[str, Lines] = {
        "files": f"{counted(result.files, 'file')} with {counted(result.items, 'item')}; {result.ignored:,} others"
    }
    for family, count in sorted(result.contents.items()):
        measured = result.statistics.get(family)
        std = f", standard deviation of channels {fmean(measured.std):.3g}" if measured else ""
        facts[family] = f"{counted(count, 'file')} of {result.stored.get(family, '?')} latents{std}"
    if result.not_judged:
        facts["not judged"] = result.not_judged
    facts["findings"] = [f"{count:,}: {KINDS[kind]}" for kind, count in result.counts.items()] or "none"
    print_facts(f"{result.folder}: audit of cached latents", facts)
    if result.findings:
        rows = [(each.file, each.kind, each.message) for each in result.findings[:SHOWN]]
        print_table("findings", ("file", "kind", "what is wrong"), rows, left=3)
        if len(result.findings) > SHOWN:
            log(f"{len(result.findings) - SHOWN:,} more findings; --json prints them all.")

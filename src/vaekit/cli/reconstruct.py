"""`vaekit reconstruct`: encode and decode items."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import format_bytes, print_lines, print_table, progress_bar, show_results, spinner
from vaekit.geometry import size_text
from vaekit.tasks.options import CodingOptions, DecodingOptions, EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.runtime.plan import Explanation

PLAN_TEXTS = ("size", "half", "device", "dtype", "backend")
PLAN_COLUMNS = (*PLAN_TEXTS, "memory", "prepared", "to disk", "passes", "rows")


@options.with_records
def reconstruct(
    items: options.Given,
    *,
    source: ModelOptions,
    out: options.Out = Path("reconstructed"),
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Also write original and reconstruction next to each other.")
    ] = False,
    only_missing: Annotated[
        bool,
        typer.Option(
            "--only-missing",
            help="Tables: fill in missing cells only, with 90 % intervals, and leave all others as they are.",
        ),
    ] = False,
    coding: CodingOptions,
    decoding: DecodingOptions,
    engine: EngineOptions,
    correct: options.Correct = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="First print how items of each size will be run, and the memory needed.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Encode and decode items, and measure the difference.

    Images become upright PNG files in sRGB; transparency is copied unchanged. PSNR and SSIM compare the 8-bit result
    with the 8-bit original. The shift is the mean difference of red, green and blue, in levels of 255. With --correct,
    all of them are measured on the corrected image. Tables become CSV files, and text becomes text files; measures are
    means over their items, and the columns with the largest errors are named. The time is that of encoding and
    decoding. --only-missing writes NAME.csv, in which missing cells are filled in from the other cells of the row, and
    NAME.imputed.csv with the interval or probability of each.
    """
    from vaekit.tasks import reconstruct as tasks
    from vaekit.tasks.given import first_lines, given_files
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source, engine, correct, decoding, coding)
    paths = given_files(model, items, out)
    plans = tasks.explain(model, paths) if explain else []
    if plans and not as_json:
        print_plans(plans)
    with progress_bar(model.items.files) as progress:
        if only_missing:
            batch = tasks.impute(model, paths, out, progress=progress)
        else:
            batch = tasks.reconstruct(model, paths, out, side_by_side, progress)
    facts: dict[str, Any] = {"vae": source.vae} | ({"plans": [plan_facts(plan) for plan in plans]} if explain else {})
    if model.items.correction is not None:
        facts["correction"] = model.items.correction.as_json()
    remarks = [f"{source.vae}: {note}" for note in model.notes]
    show_results(batch, facts, model.items.files, f"{source.vae}: reconstructions", remarks, out, as_json)
    if paths != [*map(Path, items)] and not as_json:
        print_lines(line for result in batch.results for line in first_lines(model, result.output))


def plan_facts(plan: "Explanation") -> dict[str, Any]:
    """A plan as plain values."""
    sides = dict(zip(("height", "width"), plan.size, strict=True)) if len(plan.size) == 2 else {}
    return {**sides, **vars(plan)}


def print_plans(plans: Sequence["Explanation"]) -> None:
    """A table of plans, without the columns that say nothing about these."""
    rows = [plan_row(plan) for plan in plans]
    columns = [name for name in PLAN_COLUMNS if any(row[name] for row in rows)]
    left = sum(name in PLAN_TEXTS for name in columns)
    print_table("Plan", columns, [[row[name] for name in columns] for row in rows], left=left)


def plan_row(plan: "Explanation") -> dict[str, str]:
    """The cells of a plan by column. Items without axes, such as rows of tables, have no size; a network that can only
    run whole has no predicted memory."""
    rows = "-".join(str(rows) for rows in sorted(set(plan.slab_rows)))
    predicted = plan.predicted_peak is not None
    return {
        "size": size_text(plan.size),
        "half": plan.half,
        "device": plan.device,
        "dtype": plan.dtype,
        "backend": plan.backend,
        "memory": "not predicted" if plan.predicted_peak is None else format_bytes(plan.predicted_peak),
        "prepared": format_bytes(plan.prepared) if predicted else "",
        "to disk": format_bytes(plan.to_file) if predicted else "",
        "passes": str(plan.stages),
        "rows": rows if plan.size else "",
    }

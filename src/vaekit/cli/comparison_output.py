"""A comparison in the terminal: the ranked table, verdicts, and what was left out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaekit.cli.output import log, print_table
from vaekit.errors import counted

if TYPE_CHECKING:
    from vaekit.comparison.records import MeasuredCandidate, Report

KEY_MEASURES = 5
"""The maximum number of measures in the table."""


def print_report(report: "Report") -> None:
    """The ranked table on stdout, and verdicts and notes on stderr."""
    keys = [measure for measure in report.measures if measure.key][:KEY_MEASURES]
    rows = []
    for candidate in report.candidates:
        estimates = [candidate.measures.get(key.name) for key in keys]
        values = ["" if estimate is None else f"{estimate.value:.4g}" for estimate in estimates]
        defects = [", ".join(defect.name for defect in candidate.defects) or "none"] if report.defects_sought else []
        rows.append([str(candidate.rank), candidate.name, *values, *defects])
    title = counted(len(report.candidates[0].images), report.item, report.items)
    last = ["defects"] if report.defects_sought else []
    print_table(title, ("rank", "VAE", *(key.title for key in keys), *last), rows, left=2)
    for candidate in report.candidates:
        log(f"{candidate.name}, rank {candidate.rank}. {candidate.reason}")
        for sentence in candidate.verdict:
            log(f"  {sentence}")
        for note in candidate.about.get("notes", ()):
            log(f"vaekit: {candidate.name}: {note}")
    for image in report.skipped:
        log(f"vaekit: skipped {image.name}: {image.reason}")


def print_latent_spaces(report: "Report") -> None:
    """A table of the measures of latent spaces, a column for each VAE; nothing if they were not measured."""
    from vaekit.comparison.latent_space import GROUP

    rows = []
    for measure in report.measures:
        if measure.group == GROUP:
            estimates = [candidate.measures.get(measure.name) for candidate in report.candidates]
            values = ["" if estimate is None else f"{estimate.value:.4g}" for estimate in estimates]
            rows.append([measure.title, measure.unit, *values])
    if rows:
        names = (candidate.name for candidate in report.candidates)
        print_table("Latent space", ("measure", "unit", *names), rows, left=2)


def candidate_json(candidate: "MeasuredCandidate") -> Mapping[str, Any]:
    """One candidate for a program, without its single images."""
    return {
        "name": candidate.name,
        "rank": candidate.rank,
        "reason": candidate.reason,
        "verdict": list(candidate.verdict),
        "defects": [vars(defect) for defect in candidate.defects],
        "measures": {name: estimate.value for name, estimate in candidate.measures.items()},
    }

"""What a check found: one record, the same for all checks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "wrong", "skipped"]
WORST_FIRST: tuple[Status, ...] = ("wrong", "warning", "ok", "skipped")


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    """Of the check, as in the JSON: `fp16_range`."""
    status: Status
    """`skipped`: this VAE has nothing to check there, or it could not be checked; `words` say why."""
    words: str
    """What was seen, with its numbers, for a person."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs."""
    remedy: str = ""
    """What to do; empty where nothing has to be done."""


def skipped(name: str, why: str) -> Finding:
    """A check that says nothing about this VAE, and why."""
    return Finding(name, "skipped", why)


def worst(findings: Iterable[Finding]) -> Status:
    """The worst status among findings; `skipped` where none says anything."""
    statuses = {finding.status for finding in findings}
    return next((status for status in WORST_FIRST if status in statuses), "skipped")

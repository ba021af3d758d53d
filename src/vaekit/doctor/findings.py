"""The result of a check."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "wrong", "skipped"]
WORST_FIRST: tuple[Status, ...] = ("wrong", "warning", "ok", "skipped")


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    """The name of the check, as in the JSON: `fp16_range`."""
    status: Status
    """`skipped`: the check does not apply or could not run; `message` states the reason."""
    message: str
    """A description of the result with its values."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The values for programs."""
    remedy: str = ""
    """What to do; empty if nothing has to be done."""


def skipped(name: str, why: str) -> Finding:
    """The finding of a skipped check, with the reason."""
    return Finding(name, "skipped", why)


def worst(findings: Iterable[Finding]) -> Status:
    """The worst status among findings; `skipped` if all were skipped."""
    statuses = {finding.status for finding in findings}
    return next((status for status in WORST_FIRST if status in statuses), "skipped")

"""Options for where work is done: in this process, on the workers of Ray, or in parts by a job array."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vaekit.shards import Runner

AUTO = "auto"
ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
"""What Slurm tells the tasks of a job array."""


class RunnerName(StrEnum):
    """Ways to run shards."""

    LOCAL = "local"
    RAY = "ray"


RunnerOption = Annotated[
    RunnerName,
    typer.Option(
        "--runner",
        help="Where the work is done: in this process, or on the workers of Ray, one for each GPU or for a part of the "
        "CPUs. See docs/cluster.md.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="With --runner ray: the running cluster.",
        show_default="RAY_ADDRESS, else this machine",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="With --runner ray: the number of workers.",
        show_default="one for each GPU, else as many as the CPUs allow",
    ),
]
Rank = Annotated[
    str,
    typer.Option(
        "--rank",
        metavar="R",
        help="Do only the R-th of --of parts, from 0; auto in the tasks of a Slurm job array.",
    ),
]
Of = Annotated[
    int | None,
    typer.Option(
        "--of",
        metavar="N",
        min=1,
        help="Number of parts; with --rank auto, that of the tasks of the array.",
        show_default="1",
    ),
]


@dataclass(frozen=True)
class RunnerOptions:
    """Where work is done."""

    runner: RunnerName
    address: str | None
    workers: int | None

    def make(self, device: str | None) -> "Runner":
        """The runner.

        Args:
            device: that the work is done on; None for a GPU, if there is one.

        Raises:
            typer.BadParameter: an option of another runner was given, or a device that workers do not have.
        """
        from vaekit.shards import InProcess

        if self.runner is RunnerName.LOCAL:
            for name, value in (("--address", self.address), ("--workers", self.workers)):
                if value is not None:
                    raise typer.BadParameter("it is an option of --runner ray, which is not given.", param_hint=name)
            return InProcess()
        from vaekit.cli.output import log
        from vaekit.cluster.ray_runner import RayRunner

        if device is not None and ":" in device:
            raise typer.BadParameter(
                f"{device} is one device of one machine, and each worker of Ray has a device of its own; expected a "
                f"kind of device, such as {device.split(':')[0]}.",
                param_hint="--device",
            )
        return RayRunner(self.address, self.workers, device in (None, "cuda"), say=log)


@dataclass(frozen=True)
class PartOptions:
    """The part of the work that this process does."""

    rank: str
    of: int | None

    def chosen(self) -> tuple[int, int]:
        """The number of this part, from 0, and that of all parts.

        Raises:
            typer.BadParameter: there is no such part.
        """
        if self.rank == AUTO:
            rank, count = array_task(os.environ)
            if self.of not in (None, count):
                raise typer.BadParameter(
                    f"it is {self.of}, and the job array has {count} tasks; omit it, or give --rank.",
                    param_hint="--of",
                )
            return rank, count
        count = 1 if self.of is None else self.of
        if not (self.rank.isascii() and self.rank.isdigit()) or int(self.rank) >= count:
            raise typer.BadParameter(
                f"{self.rank!r} is no part of {count}; expected {AUTO}, or a number from 0 to {count - 1}."
                + ("" if self.of is not None else " Give the number of parts by --of."),
                param_hint="--rank",
            )
        return int(self.rank), count


def array_task(environment: Mapping[str, str]) -> tuple[int, int]:
    """The number of a task of a Slurm job array, from 0, and that of all tasks. Arrays may start at any number, and
    have steps.

    >>> array_task(dict(zip(ARRAY, ["5", "1", "9", "3"])))
    (1, 3)

    Raises:
        typer.BadParameter: this is no such task, or the numbers of the array have gaps.
    """
    try:
        task, least, most, count = (int(environment[name]) for name in ARRAY)
        step = (most - least) // (count - 1) if count > 1 else 1
        rank = (task - least) // step
    except (KeyError, ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"{AUTO} needs a task of a Slurm job array, with {ARRAY[0]} and {ARRAY[-1]} in its environment; elsewhere "
            "give a number, and --of.",
            param_hint="--rank",
        ) from None
    if least + (count - 1) * step != most or least + rank * step != task or not 0 <= rank < count:
        raise typer.BadParameter(
            f"the numbers of this job array, {count} from {least} to {most}, have gaps, so that {AUTO} cannot number "
            f"its tasks; give --rank ${ARRAY[0]}, and by --of the number of all parts.",
            param_hint="--rank",
        )
    return rank, count


RUNNER_FLAGS: dict[str, tuple[Any, Any]] = {
    "runner": (RunnerOption, RunnerName.LOCAL),
    "address": (Address, None),
    "workers": (Workers, None),
}
PART_FLAGS: dict[str, tuple[Any, Any]] = {"rank": (Rank, "0"), "of": (Of, None)}
"""The option and the default of each field, for `vaekit.cli.options`."""

"""How many workers a cluster gets, and which share of its machines each of them."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_PER_MACHINE = 8
"""Workers of a machine without GPUs, unless their number is given: each holds the weights."""


@dataclass(frozen=True)
class Machine:
    """The free and busy parts of one machine."""

    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class Share:
    """The number of workers, and what each of them has."""

    workers: int
    cpus: int
    """Also the number of threads of its operations."""
    gpus: float = 0.0


def share_of(machines: Sequence[Machine], workers: int | None = None, use_gpus: bool = True) -> Share:
    """Divide machines among workers: one for each GPU; where there are none, equal parts of CPUs.

    >>> share_of([Machine(16, gpus=2)]), share_of([Machine(64)])
    (Share(workers=2, cpus=8, gpus=1.0), Share(workers=8, cpus=8, gpus=0.0))
    >>> share_of([Machine(2)]), share_of([Machine(2)], workers=1), share_of([Machine(1), Machine(1)], workers=1)
    (Share(workers=2, cpus=1, gpus=0.0), Share(workers=1, cpus=2, gpus=0.0), Share(workers=1, cpus=1, gpus=0.0))

    Args:
        machines: of the cluster.
        workers: their number; None to choose it.
        use_gpus: False if the work is to be done on CPUs.
    """
    gpus = sum(machine.gpus for machine in machines) if use_gpus else 0
    if gpus:
        count = workers or gpus
        on_each = -(-count // gpus)
        cpus = min(machine.cpus // (machine.gpus * on_each) for machine in machines if machine.gpus)
        return Share(count, max(1, cpus), 1 / on_each)
    most = max((machine.cpus for machine in machines), default=1)
    if workers is None:
        cpus = max(1, -(-most // MOST_PER_MACHINE))
        return Share(max(1, sum(machine.cpus // cpus for machine in machines)), cpus)
    fitting = [cpus for cpus in range(1, most + 1) if sum(machine.cpus // cpus for machine in machines) >= workers]
    return Share(workers, max(fitting, default=1))

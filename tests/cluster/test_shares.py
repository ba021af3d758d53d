"""How machines are divided among workers."""

import pytest

from vaekit.cluster.shares import Machine, Share, share_of


@pytest.mark.parametrize(
    ("machines", "workers", "use_gpus", "expected"),
    [
        ([Machine(1)], None, True, Share(1, 1)),
        ([Machine(4)], None, True, Share(4, 1)),
        ([Machine(64)], None, True, Share(8, 8)),
        ([Machine(64), Machine(32)], None, True, Share(12, 8)),
        ([Machine(0), Machine(4), Machine(4)], None, True, Share(8, 1)),
        ([Machine(16)], 3, True, Share(3, 5)),
        ([Machine(5), Machine(3)], 2, True, Share(2, 3)),
        ([Machine(1), Machine(1)], 1, True, Share(1, 1)),
        ([Machine(2)], 5, True, Share(5, 1)),
        ([], None, True, Share(1, 1)),
        ([Machine(0)], None, True, Share(1, 1)),
        ([Machine(16, 2)], None, True, Share(2, 8, 1.0)),
        ([Machine(64), Machine(16, 2), Machine(8, 2)], None, True, Share(4, 4, 1.0)),
        ([Machine(16, 2)], 1, True, Share(1, 8, 1.0)),
        ([Machine(16, 2)], 4, True, Share(4, 4, 0.5)),
        ([Machine(16, 2)], 3, True, Share(3, 4, 0.5)),
        ([Machine(1, 4)], None, True, Share(4, 1, 1.0)),
        ([Machine(16, 2)], None, False, Share(8, 2)),
    ],
)
def test_workers_and_what_each_has(
    machines: list[Machine], workers: int | None, use_gpus: bool, expected: Share
) -> None:
    assert share_of(machines, workers, use_gpus) == expected

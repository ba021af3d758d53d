"""Tables of integer probabilities."""

import math
import zlib

import numpy as np
import pytest

from vaekit.codec.scale_tables import TOTAL_BITS, step_of, table

LEVELS = [0, 1, 5, 17, 30, 44]
CHECKSUM = 1791167643


@pytest.mark.parametrize("level", LEVELS)
def test_a_table_has_the_masses_of_a_gaussian(level: int) -> None:
    parts, scale = table(level), 2 ** (-3 + level / 6)
    assert parts.sum() == 2**TOTAL_BITS
    assert (parts >= 1).all()
    reach = (len(parts) - 2) // 2
    ends = (np.arange(-reach, reach + 2) - 0.5) / scale
    cumulative = np.array([0.5 * math.erfc(-end / math.sqrt(2)) for end in ends])
    masses = np.diff(cumulative)
    assert np.abs(parts[:-1] / 2**TOTAL_BITS - masses).max() < 3e-4 * masses.max() + 3e-7
    assert (parts[:-1] == parts[:-1][::-1]).all(), "symmetric"
    entropy = -(masses[masses > 0] * np.log2(masses[masses > 0])).sum()
    coded = -(masses * np.log2(parts[:-1] / 2**TOTAL_BITS)).sum()
    assert coded < entropy + 1e-3


def test_tables_are_these_integers() -> None:
    """What files were written with: any other result would make them unreadable."""
    assert table(0).tolist() == [1, 532, 16776149, 532, 1, 1]
    ones = [1, 1, 57, 3846, 100278, 1016657, 4055559]
    assert table(18).tolist() == [*ones, 6424417, *ones[::-1], 1]
    assert zlib.crc32(np.concatenate([table(level) for level in range(45)]).astype("<i8").tobytes()) == CHECKSUM


def test_steps_are_roots_of_two() -> None:
    assert step_of(0) == 1
    assert step_of(64) == 2
    assert step_of(-64) == 0.5
    for code in range(-600, 200, 37):
        assert 0 <= 2 ** (code / 64) - step_of(code) < 2**-20

"""Seeds follow from a seed, a purpose and a position, and stay the same from version to version."""

import hashlib
import itertools

import pytest
import torch

from vaekit.training.seeds import derive_seed, generator_for


@pytest.mark.parametrize(
    ("seed", "purpose", "position", "expected"),
    [
        (0, "noise", 128, 7397419362549897741),
        (7, "order", 0, 5837400783163704034),
        (0, "photo \udcff.png", 3, 4391533525875188698),
    ],
)
def test_runs_that_go_on_depend_on_these_values(seed: int, purpose: str, position: int, expected: int) -> None:
    assert derive_seed(seed, purpose, position) == expected


def test_a_seed_is_63_bits_of_a_hash_of_all_three() -> None:
    digest = hashlib.blake2b(b"3\nitems\n14", digest_size=8).digest()
    assert derive_seed(3, "items", 14) == int.from_bytes(digest, "little") >> 1


def test_seeds_differ_in_each_part() -> None:
    parts = list(itertools.product((0, 1, 11), ("noise", "order", "1"), (0, 1, 10)))
    seeds = {derive_seed(*each) for each in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_draws_the_same_wherever_it_is_made() -> None:
    draws = [torch.rand(3, generator=generator_for(0, "noise", 5)) for _ in range(2)]
    assert torch.equal(*draws)
    assert torch.equal(draws[0], torch.rand(3, generator=torch.Generator().manual_seed(derive_seed(0, "noise", 5))))
    assert not torch.equal(draws[0], torch.rand(3, generator=generator_for(0, "noise", 6)))
    assert generator_for(0, "noise", 5).device.type == "cpu"

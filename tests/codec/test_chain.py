"""Chains as bytes: the smaller of two ways, and damage."""

import random

import numpy as np
import pytest
import torch
from coded_images import SIDE, as_items, gray_images, image_vae

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.bits_back import push_items
from vaekit.codec.chain import BITS_BACK, HEADER, PLAIN, bits_back_chain, chain_items, chain_of
from vaekit.codec.latents import latent_grid
from vaekit.codec.level_cells import Levels
from vaekit.codec.rounding import Recording
from vaekit.codec.vae_coding import LevelCoding

X = as_items(gray_images(5))


@pytest.fixture(scope="module")
def coding() -> LevelCoding:
    vae = image_vae(prior={"kind": "mixture", "components": 3}).double()
    return LevelCoding(vae, latent_grid(vae, X), (3, 1, 1), Levels(-1, 1, 256), (1, SIDE, SIDE))


def test_the_smaller_way_is_taken(coding: LevelCoding) -> None:
    constant = torch.zeros_like(X)
    plain, coded = chain_of(coding, constant, 1), bits_back_chain(coding, constant, 1)
    assert plain.content[0] == PLAIN and plain.initial_bits == 0 and len(plain.content) < len(coded.content)
    assert coded.content[0] == BITS_BACK
    for chain in (plain, coded):
        assert torch.equal(chain_items(coding, chain.content, len(X)), coding.canonical(constant))


def test_initial_bits_are_what_a_longer_chain_saves(coding: LevelCoding) -> None:
    """An item costs as many bits less behind others, on average over the latents that it takes from the stack."""
    alone, behind = [], []
    for number in range(len(X) - 1):
        item, other = X[number : number + 1], X[number + 1 : number + 2]
        stacks = [BitStack(np.zeros(0, dtype=np.uint32)) for _ in range(3)]
        initial = push_items(stacks[0], coding, [item], Recording())
        push_items(stacks[1], coding, [other], Recording())
        push_items(stacks[2], coding, [item, other], Recording())
        alone.append(stacks[0].bits - initial)
        behind.append(stacks[2].bits - stacks[1].bits)
    assert np.mean(behind) == pytest.approx(np.mean(alone), rel=0.2)


def test_damage_is_an_error_or_nothing(coding: LevelCoding) -> None:
    """Without the checksums of sections. The initial bits are the only part that nothing depends on."""
    content, expected = bits_back_chain(coding, X, 2).content, coding.canonical(X)
    draw = random.Random(0)
    for _ in range(60):
        place = draw.randrange(len(content) * 8)
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        if HEADER.size + 4 <= place // 8 < HEADER.size + 8:
            assert torch.equal(chain_items(coding, bytes(damaged), len(X)), expected)
            continue
        with pytest.raises(ValueError, match=r"chain|items|LZMA|corrections"):
            chain_items(coding, bytes(damaged), len(X))
    for end in (0, 3, HEADER.size, HEADER.size + 5, len(content) - 4, len(content) - 1):
        with pytest.raises(ValueError, match=r"chain|items"):
            chain_items(coding, content[:end], len(X))
    for more in (bytes(4), b"more"):
        with pytest.raises(ValueError, match=r"chain|items|ANS"):
            chain_items(coding, content + more, len(X))

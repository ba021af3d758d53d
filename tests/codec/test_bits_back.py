"""Items through the stack and back: exact, and as small as the ELBO says."""

import math

import numpy as np
import pytest
import torch
from coded_images import SIDE, as_items, gray_images, image_vae

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.bits_back import pop_items, push_items
from vaekit.codec.latent_cells import LatentGrid
from vaekit.codec.latents import gaussian
from vaekit.codec.level_cells import Levels
from vaekit.codec.rounding import Recording, Replaying
from vaekit.codec.vae_coding import LevelCoding
from vaekit.distributions import StandardNormal

EMPTY = np.zeros(0, dtype=np.uint32)
GRAY = Levels(-1, 1, 256)


def coding_of(likelihood: str, x: torch.Tensor) -> LevelCoding:
    vae = image_vae(likelihood).double()
    with torch.no_grad():
        grid = LatentGrid.of(gaussian(vae, x.double()))
    return LevelCoding(vae, grid, (3, 1, 1), GRAY, (1, SIDE, SIDE))


@pytest.mark.parametrize("likelihood", ["normal", "laplace", "logistic", "logistic-mixture", "subscale"])
def test_items_come_back(likelihood: str) -> None:
    x = as_items(gray_images(20))
    coding, rounding, stack = coding_of(likelihood, x), Recording(), BitStack(EMPTY)
    batches = coding.canonical(x).split(8)
    push_items(stack, coding, batches, rounding)
    again = BitStack(stack.words)
    found = list(pop_items(again, coding, [8, 8, 4], Replaying(rounding.corrections)))
    assert torch.equal(torch.cat(found), torch.cat(batches))
    assert again.bits == 0


@pytest.mark.parametrize("likelihood", ["logistic", "subscale"])
def test_a_chain_is_as_large_as_the_negative_elbo(likelihood: str) -> None:
    x = as_items(gray_images(400))
    coding, stack = coding_of(likelihood, x), BitStack(EMPTY)
    push_items(stack, coding, x.split(4), Recording())
    with torch.no_grad():
        q = gaussian(coding.vae, x.double())
        draws = [coding.vae.likelihood(q.sample()).log_prob(x.double()) for _ in range(16)]
        elbo = torch.stack(draws).mean(dim=0) - q.kl(StandardNormal())
    assert stack.bits == pytest.approx(-elbo.sum().item() / math.log(2), rel=0.01)


def test_one_item_has_the_most_probable_latent() -> None:
    x = as_items(gray_images(1))
    coding, stack = coding_of("logistic", x), BitStack(EMPTY)
    push_items(stack, coding, [x], Recording())
    with torch.no_grad():
        q = gaussian(coding.vae, x.double())
        z = coding.grid.values(coding.mode(x)).view(q.mean.shape)
        cell = math.log2(coding.grid.step) * z.numel()
        expected = -(coding.vae.likelihood(z).log_prob(x.double()) + StandardNormal().log_prob(z)) / math.log(2) - cell
    assert stack.bits == pytest.approx(expected.item(), abs=40)


def test_batches_and_threads_of_the_reader_do_not_matter() -> None:
    x = as_items(gray_images(12))
    coding, rounding, stack = coding_of("subscale", x), Recording(), BitStack(EMPTY)
    push_items(stack, coding, x.split(1), rounding)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = torch.cat(list(pop_items(BitStack(stack.words), coding, [1] * 12, Replaying(rounding.corrections))))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found, coding.canonical(x))

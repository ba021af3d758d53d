"""The network of `meaning` takes latents of every shape."""

import pytest
import torch

from vaekit.retrieval.head import DIMENSION, Head, Standardize, digest_of


@pytest.mark.parametrize("shape", [(4, 8, 8), (3, 33, 17), (16, 2, 2), (10, 1, 1), (7,), (2, 5), (1, 2, 3, 4)])
def test_latents_of_any_shape_become_vectors(shape: tuple[int, ...]) -> None:
    assert Head(shape).eval()(torch.randn(3, *shape)).shape == (3, DIMENSION)


def test_channels_are_standardized_and_constant_ones_keep_their_scale() -> None:
    z = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    z[:, 1] = 7
    standardize = Standardize(2)
    standardize.fit(z)
    made = standardize(z)
    torch.testing.assert_close(made[:, 0].std(correction=0), torch.ones(()))
    torch.testing.assert_close(made.mean(dim=(0, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    assert made[:, 1].abs().max() < 1e-5


def test_the_digest_follows_the_weights() -> None:
    head = Head((4,))
    before = digest_of(head)
    assert before == digest_of(head)
    with torch.no_grad():
        head.out.bias[0] += 1
    assert digest_of(head) != before

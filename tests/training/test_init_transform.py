"""A codec as an orthonormal transform; what it gives is tested in tests/families/hyperprior."""

from dataclasses import replace

import pytest
import torch
from family_examples import EXAMPLES

from vaekit.families import assemble, family_of
from vaekit.training.init_transform import init_transform, principal


def test_components_are_orthonormal_and_sorted() -> None:
    images = torch.randn(20, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    components, variances = principal(images, 4)
    torch.testing.assert_close(components @ components.T, torch.eye(32), atol=1e-5, rtol=0)
    assert (variances.diff() <= 0).all()
    blocks = torch.nn.functional.unfold(images, 4, stride=4).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close((blocks @ components.T).square().mean(dim=0), variances, rtol=1e-3, atol=1e-5)


def test_as_many_channels_as_values_lose_nothing() -> None:
    torch.manual_seed(0)
    config = replace(EXAMPLES["hyperprior"], image_channels=1, slices=(56, 200))  # type: ignore[type-var]
    vae = assemble(family_of("hyperprior"), config).eval()
    images = torch.rand(40, 1, 32, 32) * 2 - 1
    init_transform(vae.encoder, vae.decoder, vae.to_prior, images)  # type: ignore[arg-type]
    with torch.no_grad():
        torch.testing.assert_close(vae.decode(vae.encode(images).mean), images, atol=1e-4, rtol=0)


def test_more_channels_than_values_are_refused() -> None:
    config = replace(EXAMPLES["hyperprior"], image_channels=1, slices=(57, 200))  # type: ignore[type-var]
    vae = assemble(family_of("hyperprior"), config)
    with pytest.raises(ValueError, match="256 values"):
        init_transform(vae.encoder, vae.decoder, vae.to_prior, torch.zeros(2, 1, 32, 32))  # type: ignore[arg-type]

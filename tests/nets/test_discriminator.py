"""The discriminator of patches has the published shape, and judges each image by itself."""

import pytest
import torch
from torch import Tensor, nn

from vaekit.nets.discriminator import Discriminator, DiscriminatorConfig, renew


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_shape_and_weights_are_the_published_ones() -> None:
    """NLayerDiscriminator(3, 64, 3): kernels of 4x4, biases in the first and last, a scale and a shift in each norm."""
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1)
    net = Discriminator(DiscriminatorConfig(groups=32))
    assert sum(each.numel() for each in net.parameters()) == kernels + 64 + 1 + 2 * (128 + 256 + 512)
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 6, 6)
    assert net(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_a_logit_sees_seventy_pixels() -> None:
    net = Discriminator(DiscriminatorConfig(width=2, norm="none"))
    x = torch.zeros(1, 3, 128, 128, requires_grad=True)
    logits = net(x + torch.rand(1, 3, 128, 128))
    (slope,) = torch.autograd.grad(logits[0, 0, 7, 7], x)
    rows = slope.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == 70


@pytest.mark.parametrize("norm", ["group", "none"])
@pytest.mark.parametrize("spectral", [False, True])
def test_a_image_is_judged_by_itself(images: Tensor, norm: str, spectral: bool) -> None:
    net = Discriminator(DiscriminatorConfig(width=4, layers=2, norm=norm, groups=4, spectral=spectral))
    alone = torch.cat([net(image) for image in images.split(1)])
    torch.testing.assert_close(net(images), alone)


def test_spectral_norm_follows_changed_weights_and_only_when_told(images: Tensor) -> None:
    torch.manual_seed(0)
    net = Discriminator(DiscriminatorConfig(width=4, layers=1, norm="none", spectral=True))
    with torch.no_grad():
        net.convs[0].parametrizations.weight.original.mul_(torch.rand(4, 1, 1, 1) * 9)
    before = {name: each.clone() for name, each in net.state_dict().items()}
    net(images)
    assert all(torch.equal(before[name], each) for name, each in net.state_dict().items())
    for _ in range(50):
        renew(net)
    for conv in net.convs:
        assert isinstance(conv, nn.Conv2d)
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=1e-3)
    assert not net.training


@pytest.mark.parametrize("wrong", [{"norm": "batch"}, {"groups": 3}, {"layers": 0}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        DiscriminatorConfig(**wrong)

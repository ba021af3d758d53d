import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from vaekit.distributions import Normal, Point
from vaekit.doctor.equivariance import check_equivariance
from vaekit.doctor.observe import Observation, observe
from vaekit.doctor.smoothness import check_smoothness
from vaekit.families.tiny.net import TinyConfig
from vaekit.vae import VAE

CONFIG = TinyConfig(3, 3, (), (4, 4, 4), (4, 4, 4), (1, 1, 1), (1, 1, 1), False)


class Blocks(nn.Module):
    """Means of blocks, and back: as equivariant as can be."""

    def __init__(self, encodes: bool, step: float | None = None) -> None:
        super().__init__()
        self.config = CONFIG
        self.encodes = encodes
        self.step = step
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.encodes:
            return nn.functional.avg_pool2d(x, 4) * self.weight
        made = nn.functional.interpolate(x, scale_factor=4.0) * self.weight
        return made if self.step is None else (made * self.step).sign() * 0.5


class Placed(Blocks):
    """A decoder that adds a slope over the image: it matters where something stands."""

    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        return made * 0.3 + 0.7 * torch.linspace(-1, 1, made.shape[3])


def seen(decoder: nn.Module) -> Observation:
    return observe(VAE(Blocks(True), Point, decoder, Normal).eval(), side=64)


def test_blocks_are_equivariant() -> None:
    finding = check_equivariance(seen(Blocks(False)))
    assert finding.status == "ok"
    assert min(finding.values[name] for name in ("shift", "flip", "turn")) > 80


def test_a_image_that_depends_on_the_place_is_a_warning() -> None:
    finding = check_equivariance(seen(Placed(False)))
    assert finding.status == "warning"
    assert "mirrored" in finding.message.split("far below known VAEs in")[1]


def test_known_vaes_are_within_the_thresholds(observed: Observation) -> None:
    assert check_equivariance(observed).status == "ok"


def test_even_steps_are_even() -> None:
    finding = check_smoothness(seen(Blocks(False)))
    assert finding.status == "ok"
    assert 0.99 < finding.values["ratio"] < 1.2


def test_a_jump_is_a_warning() -> None:
    observation = seen(Blocks(False, step=1e6))
    dark, light = torch.full((1, 3, 16, 16), -0.1), torch.full((1, 3, 16, 16), 0.9)
    finding = check_smoothness(replace(observation, latents=torch.cat([dark, light])))
    assert finding.status == "warning"
    assert len([step for step in finding.values["steps"] if step]) == 1


def test_the_vae_is_left_as_it_is(healthy: VAE) -> None:
    before = copy.deepcopy(healthy.state_dict())
    observe(healthy, side=64)
    assert all(torch.equal(tensor, before[name]) for name, tensor in healthy.state_dict().items())

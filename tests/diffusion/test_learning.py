"""A whole training in memory, on clusters whose density is known: samples are where the class is."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vaekit.diffusion.batches import Conditioned, LatentBatch, LatentsInMemory, channel_statistics
from vaekit.diffusion.conditions import Classes
from vaekit.diffusion.flow import Times
from vaekit.diffusion.model import ModelConfig, guided_velocity
from vaekit.diffusion.objective import FlowMatching
from vaekit.diffusion.samplers import follow, time_grid
from vaekit.latent_cache.statistics import statistics_of, sums_of
from vaekit.nets.dit import DiTConfig
from vaekit.training.data import Stream
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run, train_in_memory
from vaekit.training.schedule import Schedule

CLASSES, EACH, STD = 4, 256, 0.3
CENTERS = torch.tensor([[10.0, 3.0], [14.0, 3.0], [10.0, 5.0], [14.0, 5.0]])
"""In other units along each axis: normalization by channel has to take care of that."""
UNIT = torch.tensor([2.0, 1.0])


def clusters() -> tuple[Tensor, Tensor]:
    labels = torch.arange(CLASSES).repeat(EACH)
    noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0))
    return CENTERS[labels] + STD * UNIT * noise, labels


@pytest.mark.nightly
def test_samples_are_drawn_from_the_class(tmp_path: Path) -> None:
    z, labels = clusters()
    statistics = statistics_of([sums_of(z, None)])
    assert statistics is not None
    config = ModelConfig(DiTConfig(2, (), 2, 32, 2, 1), Classes(tuple("abcd")))
    run: Run = Run(
        Recipe("clusters", {}),
        tmp_path,
        Stream(Conditioned(LatentsInMemory(LatentBatch(z)), labels), 0),
        {},
        FlowMatching(Times()),
        Schedule(64 * 500, 64, 4e-3, warmup_samples=640, averages=(0.98,)),
        begin=partial(config.build, channel_statistics(statistics)),
    )
    model = train_in_memory(run)
    wanted = torch.arange(CLASSES).repeat(50)
    noise = torch.randn(len(wanted), 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for scale in (1.0, 2.0):
            velocity = guided_velocity(model, wanted, torch.full_like(wanted, CLASSES), scale)
            made = model.denormalize(follow(velocity, noise, time_grid(10)))
            nearest = ((made[:, None] - CENTERS) / UNIT).square().sum(dim=2).argmin(dim=1)
            assert (nearest == wanted).float().mean() > 0.97
            spread = ((made - CENTERS[wanted]) / UNIT).std().item()
            assert spread == pytest.approx(STD, rel=0.25) if scale == 1 else spread < 2 * STD
        free = model.denormalize(
            follow(lambda x, t: model(x, t, torch.full_like(wanted, CLASSES)), noise, time_grid(10))
        )
    kinds = ((free[:, None] - CENTERS) / UNIT).square().sum(dim=2).argmin(dim=1).bincount(minlength=CLASSES)
    assert kinds.min() > len(wanted) / CLASSES / 2

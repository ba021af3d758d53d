"""The loop: it learns, it repeats itself, it follows the schedule, and it stops at NaN."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import StandardNormal
from vaekit.metrics.lpips import LPIPS
from vaekit.training.ema import EMA
from vaekit.training.loop import Objective, Progress, Schedule, train
from vaekit.training.objectives import Losses, PictureObjective
from vaekit.vae import VAE

STEPS = 25
SCHEDULE = Schedule(
    samples=4 * STEPS,
    batch_size=4,
    learning_rate=5e-3,
    warmup_samples=12,
    ema_decay=0.9,
    gradient_clip=1.0,
)
SHORT = Schedule(samples=12, batch_size=4, learning_rate=1e-3, warmup_samples=4, ema_decay=0.9, gradient_clip=0.5)

Draw = Callable[[int, int, Generator], Tensor]


@pytest.fixture
def objective(lpips: LPIPS) -> PictureObjective:
    return PictureObjective(StandardNormal(), lpips, beta=0.05, perceptual_weight=0.1)


def batches(draw: Draw) -> Iterator[Tensor]:
    generator = Generator().manual_seed(1)
    while True:
        yield draw(4, 32, generator)


def run(
    vae: VAE, draw: Draw, objective: Objective, schedule: Schedule, autocast: torch.dtype | None = None
) -> tuple[list[Progress], VAE]:
    """Everything that the loop reported, and the moving average."""
    reports: list[Progress] = []

    def keep(progress: Progress, ema: EMA) -> None:
        reports.append(progress)

    averaged = train(
        vae,
        batches(draw),
        objective,
        schedule,
        Generator().manual_seed(0),
        autocast,
        report=keep,
    )
    return reports, averaged


def total(progress: Progress) -> float:
    return progress.losses["nll"] + 0.05 * progress.losses["kl"] + 0.1 * progress.losses["lpips"]


def test_it_learns(fresh_vae: Callable[[], VAE], smooth_pictures: Draw, objective: PictureObjective) -> None:
    reports, _ = run(fresh_vae(), smooth_pictures, objective, SCHEDULE)
    assert len(reports) == STEPS
    first, last = (sum(map(total, part)) / 3 for part in (reports[:3], reports[-3:]))
    assert last < 0.75 * first
    assert reports[-1].losses["psnr"] > reports[0].losses["psnr"] + 2


def test_it_learns_in_bfloat16_with_master_weights_in_fp32(
    fresh_vae: Callable[[], VAE], smooth_pictures: Draw, objective: PictureObjective
) -> None:
    vae = fresh_vae()
    reports, averaged = run(vae, smooth_pictures, objective, SCHEDULE, torch.bfloat16)
    assert total(reports[-1]) < total(reports[0])
    for model in (vae, averaged):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_same_seeds_give_the_same_losses(
    fresh_vae: Callable[[], VAE], smooth_pictures: Draw, objective: PictureObjective
) -> None:
    one, _ = run(fresh_vae(), smooth_pictures, objective, SHORT)
    other, _ = run(fresh_vae(), smooth_pictures, objective, SHORT)
    assert [progress.losses for progress in one] == [progress.losses for progress in other]


def test_it_reports_every_step(
    fresh_vae: Callable[[], VAE], smooth_pictures: Draw, objective: PictureObjective
) -> None:
    reports, _ = run(fresh_vae(), smooth_pictures, objective, SHORT)
    assert [progress.samples for progress in reports] == [4, 8, 12]
    assert [progress.learning_rate for progress in reports] == [SHORT.rate_at(samples) for samples in (0, 4, 8)]
    assert sorted(reports[0].losses) == ["kl", "lpips", "nll", "psnr"]
    assert 0 < reports[0].seconds <= reports[1].seconds <= reports[2].seconds


def test_the_average_trails_the_trained_model(
    fresh_vae: Callable[[], VAE], smooth_pictures: Draw, objective: PictureObjective
) -> None:
    vae = fresh_vae()
    _, averaged = run(vae, smooth_pictures, objective, SHORT)
    assert averaged is not vae
    assert vae.training
    assert not averaged.training
    assert not any(parameter.requires_grad for parameter in averaged.parameters())
    differing = [not torch.equal(a, b) for a, b in zip(averaged.parameters(), vae.parameters(), strict=True)]
    assert all(differing)


def test_gradients_are_clipped(fresh_vae: Callable[[], VAE], smooth_pictures: Draw) -> None:
    vae, norms = fresh_vae(), []

    def steep(vae: VAE, x: Tensor, generator: Generator) -> Losses:
        return Losses(1e6 * (vae.reconstruct(x) - x).square().mean(), {})

    def measure(progress: Progress, ema: EMA) -> None:
        gradients = [parameter.grad.flatten() for parameter in vae.parameters() if parameter.grad is not None]
        norms.append(torch.cat(gradients).norm().item())

    train(vae, batches(smooth_pictures), steep, SHORT, Generator(), report=measure)
    assert norms == pytest.approx([0.5] * 3, rel=1e-3)


def test_the_first_step_is_as_long_as_the_schedule_says(
    fresh_vae: Callable[[], VAE], smooth_pictures: Draw, objective: PictureObjective
) -> None:
    schedule = replace(SHORT, samples=4, warmup_samples=40)
    before, after = fresh_vae(), fresh_vae()
    run(after, smooth_pictures, objective, schedule)
    moved = [(a - b).abs().max() for a, b in zip(after.parameters(), before.parameters(), strict=True)]
    # The first step of Adam is the learning rate itself, whatever the gradient.
    assert max(moved).item() == pytest.approx(schedule.learning_rate / 10, rel=0.02)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_stops_before_a_bad_loss_harms_the_weights(
    fresh_vae: Callable[[], VAE], smooth_pictures: Draw, value: float
) -> None:
    vae = fresh_vae()
    before = {key: tensor.clone() for key, tensor in vae.state_dict().items()}

    def broken(vae: VAE, x: Tensor, generator: Generator) -> Losses:
        loss = vae.reconstruct(x).sum() * value
        return Losses(loss, {"nll": loss})

    with pytest.raises(FloatingPointError, match=r"after 0 samples.*nll"):
        run(vae, smooth_pictures, broken, SHORT)
    assert all(torch.equal(tensor, before[key]) for key, tensor in vae.state_dict().items())


def test_the_rate_warms_up_and_ends_near_zero() -> None:
    rates = [SCHEDULE.rate_at(samples) for samples in range(0, SCHEDULE.samples, SCHEDULE.batch_size)]
    peak = max(rates)
    assert rates[0] == pytest.approx(SCHEDULE.learning_rate / 3)
    assert rates.index(peak) == 2  # the step that brings the samples to `warmup_samples`
    assert 0.95 * SCHEDULE.learning_rate < peak <= SCHEDULE.learning_rate
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 <= rates[-1] < 0.02 * SCHEDULE.learning_rate
    assert SCHEDULE.rate_at(SCHEDULE.samples) == pytest.approx(0, abs=1e-12)

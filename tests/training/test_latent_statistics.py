"""The measured normalization, against torch's mean and standard deviation."""

import pytest
import torch
from refusals import refuses
from torch import Generator, Tensor, nn

from vaekit.distributions import Normal, Point
from vaekit.errors import TrainingStopped
from vaekit.normalization import LatentNormalization
from vaekit.training.data import Stream, Tensors
from vaekit.training.latent_statistics import measure_normalizations, measured_normalization
from vaekit.vae import VAE

ITEMS = torch.randn(50, 3, generator=Generator().manual_seed(0)) * 2 + 0.7


def stream() -> Stream:
    return Stream(Tensors(ITEMS), seed=3)


def scaled(factor: float) -> VAE:
    """A VAE whose latents are its items times a factor."""
    layer = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(factor * torch.eye(3))
    return VAE(layer, Point, nn.Identity(), Normal)


def digits(value: float) -> float:
    return float(f"{value:.5g}")


@pytest.mark.parametrize("batch", [50, 16, 7])
def test_it_is_the_mean_and_the_standard_deviation_of_all_latents(batch: int) -> None:
    found = measured_normalization(scaled(0.5), stream(), 50, batch)
    latents = 0.5 * ITEMS.double()
    mean, deviation = latents.mean().item(), latents.std(correction=0).item()
    assert found == LatentNormalization((digits(mean),), (digits(1 / deviation),))


def test_only_so_many_items_are_seen_in_the_order_of_the_run() -> None:
    found = measured_normalization(scaled(1.0), stream(), 10, 4)
    assert found is not None
    assert found.shift[0] == pytest.approx(stream().batch(0, 10).mean().item(), rel=1e-4)


def test_latents_that_do_not_vary_have_none() -> None:
    assert measured_normalization(scaled(0.0), stream(), 50, 16) is None


def test_progress_is_counted_over_all_models() -> None:
    models, calls, messages = [scaled(1.0), scaled(2.0)], [], []
    measure_normalizations(
        models, stream(), 10, 4, messages.append, measuring=lambda done, total: calls.append((done, total))
    )
    assert calls == [(4, 20), (8, 20), (10, 20), (14, 20), (18, 20), (20, 20)]
    first, second = (model.normalization for model in models)
    assert first is not None and second is not None
    assert second.scale[0] == pytest.approx(first.scale[0] / 2, rel=1e-4)
    assert len(messages) == 1 and "10" in messages[0] and "2 averages" in messages[0]


def test_it_can_be_stopped_after_any_batch() -> None:
    stops = iter([False, True])
    model = scaled(1.0)
    seen: list[int] = []
    with refuses(TrainingStopped):
        measure_normalizations(
            [model], stream(), 50, 10, stop=lambda: next(stops), measuring=lambda done, _: seen.append(done)
        )
    assert seen == [10, 20]
    assert model.normalization is None


def test_weights_get_no_gradient() -> None:
    model = scaled(1.0)
    measured_normalization(model, stream(), 10, 5)
    assert all(weight.grad is None for weight in model.parameters())


def test_the_mode_is_measured_and_not_a_draw() -> None:
    class Wide(Point):
        def sample(self, generator: Generator | None = None) -> Tensor:
            pytest.fail("drew")

    layer = nn.Linear(3, 3)
    assert measured_normalization(VAE(layer, Wide, nn.Identity(), Normal), stream(), 10, 5) is not None

"""The model: what it is before training, guidance, and the kinds of conditions."""

import pytest
import torch
from torch import Tensor

from vaekit.diffusion.batches import ChannelStatistics, LatentBatch
from vaekit.diffusion.conditions import Captions, Classes, ConditionConfig, NoCondition, Vectors
from vaekit.diffusion.flow import Times
from vaekit.diffusion.model import DiffusionModel, ModelConfig, guided_velocity
from vaekit.diffusion.objective import FlowMatching, validate_flow, without
from vaekit.nets.dit import DiTConfig
from vaekit.nets.unet import UNetConfig

NET = DiTConfig(3, (4, 4), patch=2, width=16, depth=2, heads=2)
KINDS: dict[str, tuple[ConditionConfig, Tensor | None]] = {
    "none": (NoCondition(), None),
    "classes": (Classes(("a", "b")), torch.tensor([0, 1])),
    "captions": (Captions(6, 5, width=8, heads=2), torch.tensor([[2, 3, 4, 0, 0], [5, 0, 0, 0, 0]])),
    "vectors": (Vectors(3, 4), torch.randn(2, 3, 4) * torch.tensor([1.0, 1.0, 0.0])[:, None]),
}


def model_with(condition: ConditionConfig, awake: bool = True) -> DiffusionModel:
    """A model with random weights; where it is awake, also those that are 0 at first."""
    torch.manual_seed(0)
    model = ModelConfig(NET, condition).build(ChannelStatistics((1.0, 2.0, 3.0), (2.0, 4.0, 8.0))).eval()
    if awake:
        for each in model.parameters():
            torch.nn.init.normal_(each, std=0.2)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_velocities_are_zero_before_training(kind: str) -> None:
    config, condition = KINDS[kind]
    assert not model_with(config, awake=False)(torch.randn(2, 3, 4, 4), torch.rand(2), condition).any()


@pytest.mark.parametrize("kind", ["classes", "captions", "vectors"])
def test_velocities_depend_on_the_condition(kind: str) -> None:
    config, condition = KINDS[kind]
    model, x, t = model_with(config), torch.randn(1, 3, 4, 4).expand(2, -1, -1, -1), torch.full((2,), 0.5)
    assert condition is not None
    one, other = model(x, t, condition)
    assert not torch.allclose(one, other)
    null = config.null()
    assert null is not None
    one, other = model(x, t, null.expand(2, *null.shape))
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, model(x, t, condition)[0])


def test_padding_of_captions_does_not_matter() -> None:
    config = KINDS["captions"][0]
    model, x, t = model_with(config), torch.randn(1, 3, 4, 4), torch.rand(1)
    short, long = torch.tensor([[2, 3, 0]]), torch.tensor([[2, 3, 0, 0, 0]])
    torch.testing.assert_close(model(x, t, short), model(x, t, long))
    both = torch.tensor([[2, 3, 0, 0, 0], [4, 4, 4, 4, 0]])
    torch.testing.assert_close(model(x.expand(2, -1, -1, -1), t.expand(2), both)[:1], model(x, t, short))


def test_latents_are_normalized_by_channel() -> None:
    model, raw = model_with(NoCondition()), torch.randn(2, 3, 4, 4)
    normalized = model.normalize(raw)
    torch.testing.assert_close(normalized[:, 1], (raw[:, 1] - 2) / 4)
    torch.testing.assert_close(model.denormalize(normalized), raw)


def test_guidance_extrapolates_from_the_other_condition() -> None:
    config, condition = KINDS["classes"]
    model, x, t = model_with(config), torch.randn(2, 3, 4, 4), torch.rand(2)
    other = torch.tensor([2, 2])
    towards, away = model(x, t, condition), model(x, t, other)
    for scale, expected in ((1.0, towards), (0.0, away), (3.0, away + 3 * (towards - away))):
        torch.testing.assert_close(guided_velocity(model, condition, other, scale)(x, t), expected)
    free = model_with(NoCondition())
    torch.testing.assert_close(guided_velocity(free, None, None, 3.0)(x, t), free(x, t, None))


@pytest.mark.parametrize("drop", [0.0, 1.0])
def test_conditions_are_left_out_as_often_as_they_should(drop: float) -> None:
    config, condition = KINDS["classes"]
    seen: list[Tensor] = []
    model = model_with(config)
    model.conditioner.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = LatentBatch(torch.randn(2, 3, 4, 4), None, condition)
    FlowMatching(Times(), drop)(model, batch, 0, torch.Generator().manual_seed(0))
    assert seen[0].tolist() == ([0, 1] if drop == 0 else [2, 2])
    assert without(None, torch.ones(2).bool(), None) is None


def test_the_loss_of_zero_velocities_is_that_of_data_and_noise() -> None:
    """E |noise - x|^2 = 2 for normalized latents; posteriors are sampled."""
    model = model_with(NoCondition(), awake=False)
    raw = model.denormalize(torch.randn(512, 3, 4, 4, generator=torch.Generator().manual_seed(1)))
    loss = FlowMatching(Times())
    plain = validate_flow(model, LatentBatch(raw), loss, 0, 100, torch.Generator().manual_seed(0))
    assert plain["flow"] == pytest.approx(2, abs=0.1)
    log_variance = (2 * model.std.log()).expand(raw.shape).contiguous()
    noisy = validate_flow(model, LatentBatch(raw, log_variance), loss, 0, 100, torch.Generator().manual_seed(0))
    assert noisy["flow"] == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    "net", [NET, DiTConfig(5, (), 2, 8, 1, 2), UNetConfig(3, (5, 3), (8, 16), heads=2)], ids=["map", "vector", "unet"]
)
def test_everything_is_trained(net: DiTConfig | UNetConfig) -> None:
    torch.manual_seed(0)
    model = ModelConfig(net, Captions(6, 5, width=8, heads=2)).build()
    for each in model.parameters():
        torch.nn.init.normal_(each, std=0.2)
    batch = LatentBatch(torch.randn(2, *net.shape), None, torch.tensor([[2, 3, 0, 0, 0], [4, 0, 0, 0, 0]]))
    FlowMatching(Times(), 0.0)(model, batch, 0, torch.Generator().manual_seed(0)).total.backward()
    assert [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()] == []

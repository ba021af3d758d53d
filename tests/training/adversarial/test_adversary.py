"""The adversary: closed forms, its time, its weight, and that it leaves no traces where it should not."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from family_examples import IMAGES, daily
from refusals import refuses
from torch import Generator, Tensor, nn

from vaekit.errors import BadRecipe
from vaekit.families import assemble, family_of
from vaekit.nets.discriminator import Discriminator, DiscriminatorConfig
from vaekit.training.adversarial.adversary import (
    LOSSES,
    Adversarial,
    Adversary,
    hinge,
    hinge_generator_loss,
    last_layer,
    lecam_penalty,
    r1_penalty,
)
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import Step, initial_train_state, train
from vaekit.training.objectives import Losses, Objective
from vaekit.training.processes import ProcessGroup
from vaekit.training.schedule import Schedule
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight
from vaekit.vae import VAE

Draw = Callable[[int, int, Generator], Tensor]
ALONE = ProcessGroup()


@pytest.fixture(scope="module")
def images(smooth_images: Draw) -> Tensor:
    return smooth_images(32, 16, Generator().manual_seed(0))


def make_adversary(dtype: torch.dtype = torch.float32, **settings: Any) -> Adversary:
    torch.manual_seed(1)
    config = Adversarial(**{"learn_from": 0, "pull_from": 0, **settings})
    return Adversary(config, Discriminator(DiscriminatorConfig(width=4, layers=1, groups=4)).to(dtype))


def objective() -> Objective:
    weights = {"l1": Weight.constant(1.0), "kl": Weight.constant(1e-3)}
    return Objective({name: TERMS[name]() for name in weights}, weights, per_dimension=True)


def losses_of(vae: VAE, x: Tensor, seed: int = 0) -> Losses:
    return objective()(vae, x, 0, Generator().manual_seed(seed))


def trained(vae: VAE, images: Tensor, adversary: Adversary | None, after: Any = None, **schedule: Any) -> VAE:
    settings = {"samples": 64, "batch_size": 8, "learning_rate": 1e-3, "averages": (), **schedule}
    plan = Schedule(**settings)
    train(
        initial_train_state(vae, plan), Stream(Tensors(images), 0), objective(), plan, adversary=adversary, after=after
    )
    return vae


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_hinge_is_the_closed_form() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, -0.5, 1.0])
    assert hinge(real, fake).item() == pytest.approx(0.5 * ((0 + 0.5 + 2) / 3 + (0 + 0.5 + 2) / 3))
    assert hinge_generator_loss(fake).item() == pytest.approx(2.5 / 3)


def test_the_other_loss_is_the_cross_entropy() -> None:
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.0, -0.7])
    judge, pull = LOSSES["non-saturating"]
    log = nn.functional.logsigmoid
    assert judge(real, fake).item() == pytest.approx(-0.5 * (log(real).mean() + log(-fake).mean()).item())
    assert pull(fake).item() == pytest.approx(-log(fake).mean().item())


def test_r1_of_a_linear_judge_is_known(images: Tensor) -> None:
    """|d D / d x|^2 is |w|^2 for every image, and its gradient 2w: half of both."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 1))
    linear: Any = net[1]
    penalty = r1_penalty(net, images)
    penalty.backward()
    assert penalty.item() == pytest.approx(0.5 * linear.weight.square().sum().item(), rel=1e-5)
    torch.testing.assert_close(linear.weight.grad, linear.weight.detach())


def test_r1_is_what_autograd_says_image_by_image(images: Tensor) -> None:
    net = make_adversary().net
    squares = []
    for image in images[:4]:
        x = image[None].clone().requires_grad_()
        logits = net(x)
        squares.append(torch.autograd.grad(logits.sum(), x)[0].square().sum() / logits.numel())
    torch.testing.assert_close(r1_penalty(net, images[:4]), 0.5 * torch.stack(squares).mean())


def test_lecam_draws_each_to_the_average_of_the_other() -> None:
    anchors = torch.tensor([1.0, -1.0])
    assert lecam_penalty(torch.tensor([-1.0]), torch.tensor([1.0]), anchors).item() == 0
    assert lecam_penalty(torch.tensor([1.0, 0.0]), torch.tensor([-1.0]), anchors).item() == pytest.approx(2.5 + 4)


def test_anchors_are_the_running_averages_of_what_was_said(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    adversary = make_adversary(lecam=1.0, memory=0.75)
    wanted: list[float] = []
    vae = fresh_vae()
    for turn in range(3):
        told = adversary.collect(losses_of(vae, images[8 * turn : 8 * turn + 8]), 1.0, 0)
        said = [told["logits_real"].item(), told["logits_fake"].item()]
        wanted = [0.75 * old + 0.25 * new for old, new in zip(wanted, said, strict=True)] if wanted else said
        adversary.step(ALONE, 0)
        assert adversary.anchors.tolist() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("settings", [{"r1": 0.1, "r1_every": 2}, {"lecam": 0.1}, {"loss": "non-saturating"}])
def test_it_learns_to_tell_results_from_data(
    fresh_vae: Callable[[], VAE], images: Tensor, settings: dict[str, Any]
) -> None:
    adversary, vae = make_adversary(learning_rate=1e-2, **settings), fresh_vae()
    for turn in range(20):
        told = adversary.collect(losses_of(vae, images, turn), 1.0, 0)
        adversary.step(ALONE, 0)
    assert told["logits_real"] > told["logits_fake"] + 0.3


def test_a_pull_leaves_nothing_in_the_discriminator(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    adversary, vae = make_adversary(adaptive=False), fresh_vae()
    before = {name: each.clone() for name, each in adversary.net.state_dict().items()}
    pulled, _ = adversary.generator_loss(losses_of(vae, images), vae, 0)
    pulled.backward()
    assert all(each.grad is None for each in adversary.net.parameters())
    assert all(torch.equal(each, before[name]) for name, each in adversary.net.state_dict().items())
    assert all(each.grad is not None for each in vae.decoder.parameters())


def test_the_gradient_of_a_pull_is_that_of_the_weighted_loss(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    adversary, vae = make_adversary(adaptive=False, weight=0.3), fresh_vae()
    pulled, _ = adversary.generator_loss(losses_of(vae, images), vae, 0)
    last = vae.decoder.conv_out.weight
    (found,) = torch.autograd.grad(pulled, last)
    direct = 0.3 * -adversary.net(losses_of(vae, images).forward.result).mean()
    torch.testing.assert_close(found, torch.autograd.grad(direct, last)[0])


def test_the_adaptive_weight_is_the_one_computed_by_hand(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    adversary, vae = make_adversary(weight=0.5), fresh_vae()
    first, told = adversary.generator_loss(losses_of(vae, images), vae, 0)
    assert first.item() == 0 and told["adversarial_weight"].item() == 0, "the first step only measures"
    adversary.step(ALONE, 0)
    _, told = adversary.generator_loss(losses_of(vae, images), vae, 0)

    by_hand = losses_of(vae, images)
    conv = vae.decoder.conv_out.weight
    (fidelity,) = torch.autograd.grad((by_hand.forward.result - images).abs().mean(), conv, retain_graph=True)
    torch.manual_seed(1)
    judge = Discriminator(DiscriminatorConfig(width=4, layers=1, groups=4))
    (pull,) = torch.autograd.grad(-judge(by_hand.forward.result).mean(), conv)
    wanted = 0.5 * fidelity.norm().item() / (pull.norm().item() + 1e-6)
    assert told["adversarial_weight"].item() == pytest.approx(wanted, rel=1e-5)


def test_the_adaptive_factor_is_bounded(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    adversary, vae = make_adversary(largest=0.25, weight=1.0), fresh_vae()
    adversary.generator_loss(losses_of(vae, images), vae, 0)
    adversary.step(ALONE, 0)
    assert adversary.balance.item() == 0.25


def test_a_pull_can_be_earned(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    adversary, vae = make_adversary(adaptive=False, weight=0.5, earned=True), fresh_vae()
    for anchors, wanted in (
        ([0.0, 0.0], 0),
        ([-1.0, 1.0], 0),
        ([0.2, -0.2], 0.1),
        ([1.0, -1.0], 0.5),
        ([9.0, 0.0], 0.5),
    ):
        adversary.anchors = torch.tensor(anchors)
        _, told = adversary.generator_loss(losses_of(vae, images), vae, 0)
        assert told["adversarial_weight"].item() == pytest.approx(wanted)


@pytest.mark.parametrize("adaptive", [True, False])
def test_nothing_happens_before_its_time(fresh_vae: Callable[[], VAE], images: Tensor, adaptive: bool) -> None:
    alone = trained(fresh_vae(), images, None)
    adversary = make_adversary(learn_from=32, pull_from=64, adaptive=adaptive)
    start = {name: each.clone() for name, each in adversary.net.state_dict().items()}
    told: dict[int, dict[str, float]] = {}

    def after(step: Step) -> None:
        told[step.state.samples] = step.parts
        unchanged = all(torch.equal(each, start[name]) for name, each in adversary.net.state_dict().items())
        assert unchanged == (step.state.samples <= 32)

    assert same(trained(fresh_vae(), images, adversary, after), alone), "the VAE has not seen it"
    assert "discriminator" not in told[32] and "discriminator" in told[40]
    assert all("adversarial" not in parts for parts in told.values())
    seen = trained(fresh_vae(), images, make_adversary(learn_from=32, pull_from=40, adaptive=adaptive))
    assert not same(seen, alone)


def test_the_weight_rises_along_its_ramp() -> None:
    config = Adversarial(learn_from=10, pull_from=100, ramp=50, weight=0.8)
    assert [config.weight_at(place) for place in (0, 99, 100, 125, 150, 10**9)] == pytest.approx(
        [0, 0, 0, 0.4, 0.8, 0.8]
    )
    assert replace(config, ramp=0).weight_at(100) == 0.8


@pytest.mark.parametrize("settings", [{}, {"adaptive": False}, {"lecam": 0.1, "r1": 1.0, "r1_every": 2}])
def test_an_accumulated_step_is_that_of_the_whole_batch(
    fresh_vae: Callable[[], VAE], images: Tensor, settings: dict[str, Any]
) -> None:
    """In double precision and from posteriors without noise, as noise belongs to a micro-batch."""
    found = []
    for micro_batch in (8, 2):
        vae, adversary = fresh_vae().double(), make_adversary(torch.float64, **settings)
        noiseless(vae)
        trained(vae, images.double(), adversary, samples=40, micro_batch=micro_batch)
        found.append((vae, adversary))
    (vae, adversary), (other_vae, other) = found
    assert adversary.balance.item() == pytest.approx(other.balance.item(), rel=1e-4)
    for a, b in ((vae, other_vae), (adversary.net, other.net)):
        for one, another in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(one, another, atol=2e-5, rtol=1e-3)


class Twins(ProcessGroup):
    """Two processes that happen to see the same items."""

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            tensor *= 2


@pytest.mark.parametrize("settings", [{}, {"lecam": 0.1, "r1": 1.0}])
def test_processes_agree_on_one_step(fresh_vae: Callable[[], VAE], images: Tensor, settings: dict[str, Any]) -> None:
    found = []
    for processes in (ALONE, Twins(0, 2)):
        vae, adversary = fresh_vae(), make_adversary(**settings)
        for _ in range(3):
            losses = losses_of(vae, images)
            adversary.generator_loss(losses, vae, 0)
            adversary.collect(losses, 1 / processes.count, 0)
            adversary.step(processes, 0)
        found.append(adversary)
    one, other = (each.tensors() for each in found)
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-6, rtol=1e-4, msg=name)


def noiseless(vae: VAE) -> None:
    posterior = vae.to_posterior

    def without_noise(moments: Tensor) -> Any:
        found = posterior(moments)
        object.__setattr__(found, "sample", lambda _generator=None: found.mode)
        return found

    vae.to_posterior = without_noise


def test_a_gradient_that_is_no_number_is_passed_over(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    adversary, vae = make_adversary(), fresh_vae()
    before = {name: each.clone() for name, each in adversary.net.state_dict().items()}
    adversary.collect(losses_of(vae, images * float("nan")), 1.0, 0)
    adversary.step(ALONE, 0)
    assert all(torch.equal(each, before[name]) for name, each in adversary.net.state_dict().items())
    assert adversary.steps == 0 and torch.isfinite(adversary.anchors).all()


def test_a_restored_adversary_goes_on_as_the_first(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    vae, adversary = fresh_vae(), make_adversary(lecam=0.1)
    trained(vae, images, adversary)
    twin = make_adversary(lecam=0.1)
    twin.restore({name: each.clone() for name, each in adversary.tensors().items()}, adversary.values())
    for each in (adversary, twin):
        each.collect(losses_of(vae, images), 1.0, 64)
        each.step(ALONE, 64)
    assert same(adversary.net, twin.net)
    assert torch.equal(adversary.anchors, twin.anchors) and adversary.values() == twin.values()


LAST = {"wan": "conv_out", "kl": "conv_out", "vq": "conv_out", "asymmetric": "conv_out", "hunyuan-image": "conv_out"}
"""What the last layer is called, in families that have a name for it."""


@pytest.mark.parametrize("name", daily(IMAGES))
def test_the_last_layer_is_the_one_that_paints(name: str) -> None:
    """A change of its weight alone moves what the decoder says, along a straight line: nothing bent comes after it."""
    config: Any = IMAGES[name]
    torch.manual_seed(0)
    decoder = assemble(family_of(name), config).decoder
    assert decoder is not None
    z = torch.randn(1, config.geometry.latent_channels, *([1, 1] if config.geometry.size else [4, 4]))
    last = last_layer(decoder, decoder(z))
    found = next(key for key, each in decoder.named_parameters() if each is last)
    assert LAST.get(name, "") in found
    if name not in ("burgess", "joint", "approx"):  # whose nets end with a sigmoid or a bent line
        with torch.no_grad():
            start, change = decoder(z), torch.randn_like(last)
            last += change
            once = decoder(z)
            last += change
            torch.testing.assert_close(decoder(z) - once, once - start, rtol=1e-3, atol=1e-4)


def test_a_frozen_decoder_has_no_last_layer(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    vae = fresh_vae()
    vae.decoder.requires_grad_(False)
    with refuses(BadRecipe, "decoder"):
        make_adversary().generator_loss(losses_of(vae, images), vae, 0)


@pytest.mark.parametrize(
    "wrong", [{"loss": "w"}, {"learn_from": 5, "pull_from": 4}, {"weight": -1.0}, {"r1_every": 0}, {"ramp": -1}]
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Adversarial(**{"learn_from": 0, "pull_from": 10, **wrong})


def test_an_adaptive_weight_needs_something_to_be_measured_against(
    fresh_vae: Callable[[], VAE], images: Tensor
) -> None:
    vae = fresh_vae()
    only_latents = Objective({"kl": TERMS["kl"]()}, {"kl": Weight.constant(1.0)})
    with pytest.raises(BadRecipe):
        make_adversary().generator_loss(only_latents(vae, images, 0, Generator().manual_seed(0)), vae, 0)
    assert math.isfinite(make_adversary(adaptive=False).generator_loss(losses_of(vae, images), vae, 0)[0].item())


COMPILED = """
import torch
from torch import nn
from vaekit.errors import BadRecipe
from vaekit.training.adversarial.adversary import last_layer
class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
    def forward(self, z):
        return self.last(torch.tanh(self.first(z)))
decoder = Decoder()
assert last_layer(decoder, decoder(torch.ones(1, 3))) is decoder.last.weight
decoder.compile(backend="aot_eager")
try:
    last_layer(decoder, decoder(torch.ones(1, 3)))
except BadRecipe as error:
    assert "schedule.compiled=false" in str(error)
else:
    raise AssertionError
"""


@pytest.mark.nightly
def test_a_compiled_decoder_has_no_last_layer_to_be_found() -> None:
    """In a process of its own: the checks of types that tests run with are not for the compiler."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True)

"""Activations made anew: the same bits of all gradients from fewer kept numbers, and a plain VAE afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from family_examples import IMAGES, daily
from torch import Generator, Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from vaekit.domains.recipes import recipe
from vaekit.families import assemble, family_of
from vaekit.nets.discriminator import Discriminator, DiscriminatorConfig
from vaekit.training.adversarial.adversary import Adversarial, Adversary
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import initial_train_state, train
from vaekit.training.recipe import Recipe
from vaekit.training.recompute import blocks, recompute_activations
from vaekit.training.schedule import Schedule
from vaekit.vae import VAE

LEFT = {"tiny": 0.6, "ltx": 0.45, "rae": 0.45}
"""The share of the kept values that may be left, where that is not 0.4: blocks without group norms keep less."""


@contextmanager
def kept(sizes: list[int], weights: nn.Module) -> Iterator[None]:
    """Notes the bytes that wait for the backward pass, each once, without weights."""
    known = {each.untyped_storage().data_ptr() for each in weights.parameters()}
    held: list[Tensor] = []  # so that no place is given out twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            sizes.append(storage.nbytes())
        held.append(tensor)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        yield


def gradients(vae: VAE, inputs: dict[str, Tensor]) -> tuple[list[Tensor], int]:
    """Of all weights, and the bytes kept for them."""
    sizes: list[int] = []
    vae.zero_grad()
    with kept(sizes, vae):
        said = [net(inputs[name]) for name in inputs if (net := getattr(vae, name)) is not None]
    total = sum(each.square().mean() for one in said for each in (one if isinstance(one, tuple) else [one]))
    total.backward()
    return [each.grad.clone() for each in vae.parameters() if each.grad is not None], sum(sizes)


@pytest.mark.parametrize("name", daily(IMAGES))
def test_every_family_has_the_same_gradients(name: str) -> None:
    config: Any = IMAGES[name]
    torch.manual_seed(0)
    vae = assemble(family_of(name), config).train()
    geometry = config.geometry
    image = torch.randn(2, geometry.channels, *(geometry.size or (32, 32)))
    positions = geometry.latent_size(geometry.size) if geometry.size else (8, 8)
    latent = torch.randn(2, geometry.latent_channels, *positions)
    inputs = {"encoder": image, "decoder": latent}
    plain, before = gradients(vae, inputs)
    with recompute_activations(vae):
        again, after = gradients(vae, inputs)
    assert len(plain) == len(again) > 0
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert after <= LEFT.get(name, 0.4) * before


def test_batch_norm_counts_a_batch_once() -> None:
    torch.manual_seed(0)
    vae = assemble(family_of("dcae"), IMAGES["dcae"]).train()
    norms = [each for each in vae.modules() if isinstance(each, nn.BatchNorm2d)]
    assert norms and vae.decoder is not None
    with recompute_activations(vae):
        vae.decoder(torch.randn(2, 4, 8, 8)).sum().backward()
    assert {int(each.num_batches_tracked or 0) for each in norms} == {1}


def test_the_vae_is_plain_again_after_an_error(fresh_vae: Callable[[], VAE]) -> None:
    vae = fresh_vae()
    assert vae.decoder is not None
    inside = blocks(vae.decoder)
    assert inside

    def fail() -> None:
        with recompute_activations(vae):
            assert all("forward" in vars(each) for each in inside)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any("forward" in vars(each) for each in vae.modules())


def test_a_net_that_is_one_block_counts_as_one() -> None:
    vae = recipe("mnist-mlp").vae()
    assert vae.encoder is not None
    assert len(blocks(vae.encoder)) == 1


def test_a_run_with_an_adversary_ends_with_the_same_bits(
    fresh_vae: Callable[[], VAE], smooth_images: Callable[[int, int, Generator], Tensor], table: dict[str, Any]
) -> None:
    stream = Stream(Tensors(smooth_images(16, 16, Generator().manual_seed(0))), 0)
    table["objective"]["terms"] = {"l1": {"weight": 1}, "kl": {"weight": 1e-3}}
    found = []
    for recompute in (False, True):
        torch.manual_seed(1)
        net = Discriminator(DiscriminatorConfig(width=4, layers=1, groups=4))
        schedule = Schedule(samples=32, batch_size=8, micro_batch=4, learning_rate=1e-3, recompute=recompute)
        state = initial_train_state(fresh_vae(), schedule)
        adversary = Adversary(Adversarial(learn_from=0, pull_from=8, adaptive=True), net)
        train(state, stream, Recipe("small", table).objective(), schedule, adversary=adversary)
        found.append({**state.tensors(), **net.state_dict(prefix="adversary.")})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_it_does_not_go_with_a_compiler() -> None:
    with pytest.raises(ValueError):
        Schedule(samples=1, batch_size=1, learning_rate=1.0, recompute=True, compiled=True)

"""ncnn's convolutions give what torch's give, and a backend that does not is refused."""

from collections.abc import Callable

import pytest
import torch
from refusals import lacks, refuses
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import BadPlan, MissingPackage
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.runtime import ncnn_backend
from vaekit.runtime.engine import Engine
from vaekit.runtime.ncnn_backend import NcnnBackend
from vaekit.runtime.plan import Plan
from vaekit.runtime.streaming.operations import Convolve
from vaekit.vae import VAE


@pytest.fixture(scope="module")
def vae() -> VAE:
    """A KL autoencoder of factor 2 whose channels are enough for Winograd."""
    torch.manual_seed(0)
    config = KLConfig(3, 4, 4, (32, 32), (32, 48), 1, 2, (), (), True, True, True, 16)
    encoder, decoder = kl.build(config)
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()


def convolution(inputs: int, outputs: int, bias: bool = True, relu: bool = False) -> Convolve:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator) / (3 * inputs**0.5)
    return Convolve(weight, torch.randn(outputs, generator=generator) if bias else None, (1, 1), (1, 1), 1, relu)


def engine(vae: VAE, backend: str, memory: str | None = None) -> Engine:
    return Engine(vae, Plan(device="cpu", backend=backend, memory=memory))


@pytest.mark.parametrize(("bias", "relu"), [(True, False), (False, False), (True, True), (False, True)])
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (16, 40), (33, 17), (64, 128), (40, 3)])
@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (5, 4), (18, 131), (64, 10)])
def test_one_convolution_is_torchs(inputs: int, outputs: int, rows: int, columns: int, bias: bool, relu: bool) -> None:
    one = convolution(inputs, outputs, bias, relu)
    x = torch.randn(1, inputs, rows, columns, generator=torch.Generator().manual_seed(1))
    backend = NcnnBackend()
    assert backend.supports(one)
    ready = backend.prepare(one, 1)
    torch.testing.assert_close(ready(x), one.run((0, 0), [x]), atol=1e-4, rtol=1e-4)
    # A view, as slabs often are, and what was made before stays what it was.
    first, before = ready(x), ready(x).clone()
    ready(x * 2)
    assert torch.equal(first, before)
    wide = torch.cat([x, x], dim=3)[..., :columns]
    torch.testing.assert_close(ready(wide), before)


@pytest.mark.parametrize(
    "other",
    [
        Convolve(torch.zeros(32, 32, 1, 1), None, (1, 1), (1, 1), 1),
        Convolve(torch.zeros(32, 32, 3, 3), None, (2, 2), (1, 1), 1),
        Convolve(torch.zeros(32, 32, 3, 3), None, (1, 1), (2, 2), 1),
        Convolve(torch.zeros(32, 1, 3, 3), None, (1, 1), (1, 1), 32),
        Convolve(torch.zeros(32, 3, 3, 3), None, (1, 1), (1, 1), 1),
        Convolve(torch.zeros(32, 32, 3, 3, dtype=torch.bfloat16), None, (1, 1), (1, 1), 1),
    ],
)
def test_what_it_cannot_do_is_left_to_torch(other: Convolve) -> None:
    assert not NcnnBackend().supports(other)


@pytest.mark.parametrize("memory", [None, "48MiB"])
def test_a_vae_gives_the_same_through_either(vae: VAE, memory: str | None) -> None:
    x = torch.rand(2, 3, 37, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    running = engine(vae, "ncnn", memory)
    expected, got = engine(vae, "torch").reconstruct(x), running.reconstruct(x)
    assert (expected - got).abs().max() <= 1e-4 * 2
    assert torch.equal(running.reconstruct(x[1:]), got[1:])


def broken(how: Callable[[Tensor], Tensor]) -> Callable[..., Callable[[Tensor], Tensor]]:
    """A way to prepare convolutions that come out wrong."""
    return lambda _backend, one, _threads: lambda x: how(one.run((0, 0), [x]))


@pytest.mark.parametrize("how", [lambda y: y * 1.5, lambda y: y.roll(1, 3), lambda y: y * torch.nan])
def test_a_backend_that_gives_other_numbers_is_refused(
    vae: VAE, how: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NcnnBackend, "prepare", broken(how))
    z = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with refuses(BadPlan, "ncnn", "torch"):
        engine(vae, "ncnn").decode(z)
    chosen = engine(vae, "auto")
    assert torch.equal(chosen.decode(z), engine(vae, "torch").decode(z))
    (note,) = chosen.notes
    assert not lacks(note, "decoder", "ncnn", "torch")


def test_ncnn_is_asked_for_where_it_cannot_run(vae: VAE) -> None:
    with refuses(BadPlan, "ncnn", "bfloat16", "cpu", "fp32"):
        Engine(vae, Plan(device="cpu", dtype="bf16", backend="ncnn"))


def test_without_ncnn_torch_serves(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ncnn", None)
    with refuses(MissingPackage, "pip install 'vaekit[cpu]'"):
        engine(vae, "ncnn")
    monkeypatch.setattr("vaekit.runtime.engine.find_spec", lambda _: None)
    assert {plan.backend for plan in engine(vae, "auto").explain(1024, 1024)} == {"torch"}


def test_prepared_weights_are_counted(vae: VAE) -> None:
    plans = {plan.half: plan for plan in engine(vae, "ncnn").explain(64, 64)}
    taken = [
        weight
        for name, weight in vae.decoder.named_parameters()
        if weight.dim() == 4 and weight.shape[2] == 3 and weight.shape[1] >= ncnn_backend.LEAST_CHANNELS
    ]
    assert plans["decode"].prepared == sum(weight.numel() for weight in taken) * 4 * 4


def test_it_runs_on_the_threads_of_its_caller(vae: VAE) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    running, before = engine(vae, "ncnn"), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = running.reconstruct(x)
        torch.set_num_threads(3)
        together = running.reconstruct(x)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert (alone - together).abs().max() <= 1e-4 * 2

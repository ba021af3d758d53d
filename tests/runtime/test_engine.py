"""Any size comes back the same size, in any batch, and the given VAE is left alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from torch import Tensor, nn

from vaekit.distributions import DiagonalGaussian, GaussianAndCategoricals, Laplace, Normal, Point, SignedBernoulli
from vaekit.errors import BadItem, HalfMissing, LatentMismatch
from vaekit.families import PARTS, assemble
from vaekit.families.burgess import net as burgess
from vaekit.families.joint import net as joint
from vaekit.families.kl import net as kl
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.geometry import Geometry
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.sequence import SequenceConfig
from vaekit.runtime.engine import Engine, converted
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

Images = Callable[[int, int, int], Tensor]
CPU = torch.device("cpu")


def engine(vae: VAE, dtype: str = "fp32", batch_size: int = 1) -> Engine:
    return Engine(vae, Plan(device="cpu", dtype=dtype, batch_size=batch_size))


@pytest.mark.parametrize("size", [(1, 1), (4, 30), (30, 3), (17, 9)])
def test_reflection_has_something_to_reflect_in_the_smallest_image(
    vae: VAE, size: tuple[int, int], images: Images
) -> None:
    encoder, decoder = kl.build(replace(vae.config, padding="reflect"))
    running = engine(VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval())
    x = images(2, *size)
    z = running.encode(x).mean
    assert min(z.shape[2:]) >= 2
    assert z.shape[2:] == running.latent_size(*size)
    assert running.reconstruct(x).shape == x.shape
    assert running.decode(z[:, :, :1, :1]).shape == (2, 3, 4, 4)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=5, deadline=None)
def test_any_size_comes_back_the_same_size(
    vae: VAE, images: Images, height: int, width: int, batch: int, batch_size: int
) -> None:
    x = images(batch, height, width)
    running = engine(vae, batch_size=batch_size)
    y = running.reconstruct(x)
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    assert y.isfinite().all()
    z = running.encode(x).mean
    assert z.shape == (batch, 4, *running.latent_size(height, width))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (8, 3), (9, 12)])
def test_padding_repeats_the_edge(vae: VAE, height: int, width: int, images: Images) -> None:
    x = images(2, height, width)
    padded = x
    while padded.shape[2] % 4:
        padded = torch.cat([padded, padded[:, :, -1:]], dim=2)
    while padded.shape[3] % 4:
        padded = torch.cat([padded, padded[:, :, :, -1:]], dim=3)
    with torch.no_grad():
        expected = vae.reconstruct(padded)[:, :, :height, :width]
    torch.testing.assert_close(engine(vae, batch_size=2).reconstruct(x), expected)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_same_call_twice_is_equal_to_the_last_bit(vae: VAE, dtype: str, images: Images) -> None:
    running, x = engine(vae, dtype, 2), images(3, 13, 22)
    assert torch.equal(running.reconstruct(x), running.reconstruct(x))
    assert torch.equal(running.reconstruct(x), engine(vae, dtype, 2).reconstruct(x))


@pytest.mark.parametrize("member", ["vae", "tiny_vae"])
def test_batches_change_nothing(member: str, images: Images, request: pytest.FixtureRequest) -> None:
    given, x = request.getfixturevalue(member), images(5, 9, 14)
    alone = engine(given)
    one_by_one = torch.cat([alone.reconstruct(item) for item in x.split(1)])
    torch.testing.assert_close(alone.reconstruct(x), one_by_one, atol=1e-5, rtol=0)
    for batch_size in (2, 3, 5, 8):
        batched = engine(given, batch_size=batch_size).reconstruct(x)
        torch.testing.assert_close(batched, one_by_one, atol=1e-5, rtol=0)


def test_every_part_of_the_posterior_is_joined(vae: VAE, images: Images) -> None:
    x = images(3, 8, 8)
    posterior = engine(vae, batch_size=2).encode(x)
    assert isinstance(posterior, DiagonalGaussian)
    with torch.no_grad():
        expected = vae.encode(x)
    assert isinstance(expected, DiagonalGaussian)
    torch.testing.assert_close(posterior.mean, expected.mean)
    torch.testing.assert_close(posterior.log_variance, expected.log_variance)


def test_nothing_is_recorded_for_gradients(vae: VAE, images: Images) -> None:
    x = images(1, 8, 8).requires_grad_()
    assert not engine(vae).reconstruct(x).requires_grad


def test_half_precision_leaves_the_given_vae_alone(vae: VAE, images: Images) -> None:
    before = {key: tensor.clone() for key, tensor in vae.state_dict().items()}
    x = images(2, 12, 16)
    exact, half = engine(vae).reconstruct(x), engine(vae, "bf16").reconstruct(x)
    assert half.dtype == torch.float32
    assert half.isfinite().all()
    assert not torch.equal(half, exact)
    torch.testing.assert_close(half, exact, atol=0.03, rtol=0.03)
    for key, tensor in vae.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[key]), key
    assert all(parameter.requires_grad for parameter in vae.parameters())


def test_nothing_to_convert_means_the_same_object(vae: VAE) -> None:
    assert converted(vae, CPU, torch.float32, torch.float32) is vae


def test_a_vae_in_training_is_run_in_evaluation_without_a_second_copy(vae: VAE) -> None:
    vae.train()
    try:
        running = converted(vae, CPU, torch.float32, torch.float32)
        assert vae.training
        assert not running.training
        for ours, theirs in zip(running.parameters(), vae.parameters(), strict=True):
            assert ours.data_ptr() == theirs.data_ptr()
            assert not ours.requires_grad
            assert theirs.requires_grad
    finally:
        vae.eval()


def test_conversion_reaches_heads_and_buffers() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("spread", torch.ones(1))
            self.register_buffer("count", torch.ones(1, dtype=torch.long))

        def forward(self, mean: Tensor) -> Normal:
            return Normal(mean, self.spread)

    vae = VAE(None, Point, nn.Linear(2, 2), Head()).double()
    running = converted(vae, CPU, torch.bfloat16, torch.bfloat16)
    assert {key: tensor.dtype for key, tensor in running.state_dict().items()} == {
        "decoder.weight": torch.bfloat16,
        "decoder.bias": torch.bfloat16,
        "to_likelihood.spread": torch.float32,
        "to_likelihood.count": torch.long,
    }


def test_decoding_crops(vae: VAE) -> None:
    z = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    whole = engine(vae).decode(z)
    assert whole.shape == (2, 3, 12, 8)
    assert torch.equal(engine(vae).decode(z, (9, 5)), whole[:, :, :9, :5])


@pytest.mark.parametrize("size", [(13, 8), (0, 8), (12, 8, 1), (12,)])
def test_a_size_that_latents_do_not_hold_is_refused(vae: VAE, size: tuple[int, ...]) -> None:
    with refuses(ValueError, 12, 8):
        engine(vae).decode(torch.zeros(2, 4, 3, 2), size)
    with refuses(ValueError, 12, 8):
        engine(vae).likelihood(torch.zeros(2, 4, 3, 2), size)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes as they are outside of the test suite: not checked against the annotations."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (1, 8, 4, 4), (4, 4, 4)])
def test_latents_of_another_vae_are_refused_in_words(vae: VAE, shape: tuple[int, ...]) -> None:
    with refuses(LatentMismatch, "4"):
        engine(vae).decode(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3, 8, 8), (0, 3, 8, 8), (1, 3, 0, 8)])
def test_what_is_not_a_batch_of_images_is_refused(vae: VAE, shape: tuple[int, ...]) -> None:
    with refuses(ValueError, "(b, 3, h, w)"):
        engine(vae).encode(torch.zeros(shape))


@pytest.fixture
def vector_vae() -> VAE:
    """A VAE of gray images of one size, whose latent is one vector."""
    torch.manual_seed(0)
    encoder, decoder = burgess.build(burgess.BurgessConfig(1, 32, 4, 8, 5))
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, SignedBernoulli).eval()


def test_images_of_one_size_go_through_a_vector(vector_vae: VAE) -> None:
    engine = Engine(vector_vae, Plan(batch_size=2))
    x = torch.rand(3, 1, 32, 32) * 2 - 1
    z = engine.encode(x).mean
    assert z.shape == (3, 5, 1, 1)
    assert engine.latent_size(32, 32) == (1, 1)
    torch.testing.assert_close(engine.decode(z), vector_vae.decode(z).detach())
    torch.testing.assert_close(engine.reconstruct(x), vector_vae.reconstruct(x).detach())


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (32, 16)])
def test_images_of_another_size_than_the_only_one_are_refused_in_words(vector_vae: VAE, size: tuple[int, int]) -> None:
    with refuses(BadItem, f"{size[1]}x{size[0]}", "32x32"):
        Engine(vector_vae).encode(torch.zeros(1, 1, *size))
    with refuses(LatentMismatch, "5", "1, 1"):
        Engine(vector_vae).decode(torch.zeros(1, 5, 2, 2))


def test_choices_are_batched_as_any_posterior() -> None:
    torch.manual_seed(0)
    config = joint.JointConfig(1, 32, 4, 8, 2, (3, 2))
    encoder, decoder = joint.build(config)
    head = partial(GaussianAndCategoricals.from_moments, categories=config.categories)
    vae = VAE(encoder, head, decoder, SignedBernoulli).eval()
    x = torch.rand(5, 1, 32, 32) * 2 - 1
    q = Engine(vae, Plan(batch_size=2)).encode(x)
    assert isinstance(q, GaussianAndCategoricals)
    assert (q.categories, q.mode.shape) == ((3, 2), (5, 7, 1, 1))
    torch.testing.assert_close(Engine(vae, Plan(batch_size=2)).reconstruct(x), vae.reconstruct(x).detach())


def test_images_of_another_number_of_channels_are_refused_in_words(vae: VAE) -> None:
    with refuses(BadItem, "4"):
        engine(vae).encode(torch.zeros(1, 4, 8, 8))


def test_half_a_vae_does_its_half(vae: VAE, images: Images) -> None:
    x, z = images(1, 8, 8), torch.zeros(1, 4, 2, 2)
    encoder_only = engine(VAE(vae.encoder, vae.to_posterior, None, vae.to_likelihood).eval())
    decoder_only = engine(VAE(None, vae.to_posterior, vae.decoder, vae.to_likelihood).eval())
    assert torch.equal(encoder_only.encode(x).mean, engine(vae).encode(x).mean)
    assert torch.equal(decoder_only.decode(z), engine(vae).decode(z))
    with refuses(HalfMissing, "encoder"):
        encoder_only.decode(z)
    with refuses(HalfMissing, "decoder"):
        decoder_only.encode(x)


@dataclass(frozen=True)
class Shapes:
    """A config that tells a geometry and nothing else."""

    geometry: Geometry


class Convolution(nn.Module):
    """Strided convolutions over one, two or three axes, or the transposed ones."""

    def __init__(self, geometry: Geometry, transposed: bool) -> None:
        super().__init__()
        self.config = Shapes(geometry)
        ours, theirs = geometry.channels, geometry.latent_channels
        kinds: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
            1: (nn.Conv1d, nn.ConvTranspose1d),
            3: (nn.Conv3d, nn.ConvTranspose3d),
        }
        plain, mirrored = kinds[geometry.axes]
        self.net = (
            mirrored(theirs, ours, geometry.factors, geometry.factors)
            if transposed
            else plain(ours, 2 * theirs, geometry.factors, geometry.factors)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


AUDIO, VIDEO = Geometry(2, 5, (8,)), Geometry(3, 4, (2, 4, 4))


def convolutional(geometry: Geometry) -> VAE:
    torch.manual_seed(0)
    halves = Convolution(geometry, False), Convolution(geometry, True)
    return VAE(halves[0], DiagonalGaussian.from_moments, halves[1], Laplace).eval()


@pytest.mark.parametrize(
    ("geometry", "size"), [(AUDIO, (37,)), (AUDIO, (1,)), (AUDIO, (16,)), (VIDEO, (3, 5, 9)), (VIDEO, (4, 8, 8))]
)
@pytest.mark.parametrize("batch_size", [1, 2])
def test_items_of_one_axis_and_of_three(geometry: Geometry, size: tuple[int, ...], batch_size: int) -> None:
    vae, x = convolutional(geometry), torch.randn(3, geometry.channels, *size)
    running = Engine(vae, Plan(device="cpu", batch_size=batch_size))
    padded = x
    for axis, (whole, extent) in enumerate(zip(geometry.padded_size(size), size, strict=True), start=2):
        last = padded.narrow(axis, extent - 1, 1)
        padded = torch.cat([padded, *[last] * (whole - extent)], dim=axis)
    with torch.no_grad():
        expected = vae.reconstruct(padded)
    z = running.encode(x).mean
    assert z.shape == (3, geometry.latent_channels, *running.latent_size(*size))
    torch.testing.assert_close(running.decode(z), expected)
    crop = (..., *(slice(extent) for extent in size))
    torch.testing.assert_close(running.reconstruct(x), expected[crop])
    torch.testing.assert_close(running.likelihood(z, size).mode, expected[crop])
    assert {plan.size for plan in running.explain(*size)} == {size}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_rows_are_batched_without_padding(batch_size: int) -> None:
    torch.manual_seed(0)
    config = PartsConfig(MLPConfig((5,), 2, (8,)), GaussianPart(), ColumnsPart(("normal:3", "bernoulli:2")))
    vae, x = assemble(PARTS, config).eval(), torch.randn(7, 5)
    seen: list[int] = []
    assert isinstance(vae.encoder, nn.Module)
    vae.encoder.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    running = Engine(vae, Plan(device="cpu", batch_size=batch_size))
    z = running.encode(x).mean
    assert seen == ([1] * 7 if batch_size == 1 else [4, 3])
    assert (z.shape, running.latent_size()) == ((7, 2), ())
    torch.testing.assert_close(z, vae.encode(x).mean.detach())
    torch.testing.assert_close(running.reconstruct(x), vae.reconstruct(x).detach())
    torch.testing.assert_close(running.likelihood(z).log_prob(x), vae.likelihood(z).log_prob(x).detach())


def test_sentences_come_back_as_tokens() -> None:
    torch.manual_seed(0)
    vae = assemble(PARTS, PartsConfig(SequenceConfig(11, 6, 2, 8, 4), GaussianPart(), TokensPart())).eval()
    x = torch.randint(11, (5, 6), generator=torch.Generator().manual_seed(0))
    running = Engine(vae, Plan(device="cpu", batch_size=2))
    posterior = running.encode(x)
    torch.testing.assert_close(posterior.mean, vae.encode(x).mean.detach())
    y = running.reconstruct(x)
    assert (y.shape, y.dtype) == (x.shape, torch.int64)
    assert torch.equal(y, vae.reconstruct(x))
    likelihood = running.likelihood(posterior.mean)
    torch.testing.assert_close(likelihood.log_prob(x), vae.likelihood(posterior.mean).log_prob(x).detach())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("geometry", "shape"),
    [(AUDIO, (1, 2, 4, 4)), (AUDIO, (2, 8)), (VIDEO, (1, 3, 8, 8)), (AUDIO, (1, 2, 0)), (VIDEO, (0, 3, 2, 4, 4))],
)
def test_batches_with_other_axes_are_refused(geometry: Geometry, shape: tuple[int, ...]) -> None:
    running = Engine(convolutional(geometry), Plan(device="cpu"))
    with refuses(ValueError, geometry.batch_text):
        running.encode(torch.zeros(shape))
    with refuses(BadItem, "7"):
        running.encode(torch.zeros(1, 7, *[8] * geometry.axes))
    with refuses(LatentMismatch, geometry.latent_channels):
        running.decode(torch.zeros(1, geometry.latent_channels, *[2] * (geometry.axes + 1)))


def test_a_vae_without_a_geometry_is_refused() -> None:
    with pytest.raises(TypeError):
        Engine(VAE(None, Point, nn.Linear(2, 2), Normal))

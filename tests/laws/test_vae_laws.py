"""Two equations carry everything: one line of code is the ELBO of a photograph, of codes and of a sentence.

The members are as awkward as they come: a convolutional VAE, a plain autoencoder, a vector quantizer with its codebook
in the head, and an autoregressive text model with a network in the head.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from torch import Generator, Tensor, nn

from vaekit.distributions import (
    AutoregressiveCategorical,
    Bernoulli,
    DiagonalGaussian,
    GaussianAndCategoricals,
    Laplace,
    Normal,
    NormalAndUniform,
    Point,
    Posterior,
    Prior,
    Quantized,
    SignedBernoulli,
    StandardNormal,
    UniformCodes,
)
from vaekit.errors import HalfMissing
from vaekit.families.joint import net as joint
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny import net as tiny
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE, denormalize, normalize

TINY = tiny.TinyConfig(
    image_channels=3,
    latent_channels=4,
    stem_widths=(),
    encoder_widths=(8, 8),
    decoder_widths=(8, 8),
    encoder_blocks=(1, 1),
    decoder_blocks=(1, 1),
    pool=False,
)


@dataclass(frozen=True)
class Member:
    """A VAE, data for it, and the prior over its latents."""

    vae: VAE
    x: Tensor
    prior: Prior


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def images() -> Tensor:
    return torch.rand(3, 3, 8, 12, generator=seeded()) * 2 - 1


class SentenceEncoder(nn.Module):
    """Token ids (b, t) -> moments (b, 2z): the last state of a GRU."""

    def __init__(self, vocabulary: int, width: int, latent: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, 2 * latent)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.recurrent(self.embedding(tokens))
        return self.out(states[:, -1])


class SentenceHead(nn.Module):
    """Context (b, width) -> a sequence of `length` tokens."""

    def __init__(self, next_token: nn.Module, length: int) -> None:
        super().__init__()
        self.next_token = next_token
        self.length = length

    def forward(self, context: Tensor) -> AutoregressiveCategorical:
        return AutoregressiveCategorical(self.next_token, context, self.length)


def convolutional(config: KLConfig) -> Member:
    encoder, decoder = kl.build(config)
    return Member(VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace), images(), StandardNormal())


def plain() -> Member:
    encoder, decoder = tiny.build(TINY)
    return Member(VAE(encoder, Point, decoder, Normal), images(), StandardNormal())


def choices() -> Member:
    config = joint.JointConfig(image_channels=1, image_size=32, width=4, hidden=8, continuous=2, categories=(3, 2))
    encoder, decoder = joint.build(config)
    head = partial(GaussianAndCategoricals.from_moments, categories=config.categories)
    shades = torch.rand(3, 1, 32, 32, generator=seeded()) * 2 - 1
    return Member(VAE(encoder, head, decoder, SignedBernoulli), shades, NormalAndUniform(config.categories))


def vector_quantized(quantizer: nn.Module) -> Member:
    encoder = nn.Sequential(nn.Conv2d(1, 8, 4, stride=4), nn.SiLU(), nn.Conv2d(8, 4, 1))
    decoder = nn.Sequential(nn.ConvTranspose2d(4, 8, 4, stride=4), nn.SiLU(), nn.Conv2d(8, 1, 3, padding=1))
    bits = torch.rand(3, 1, 8, 12, generator=seeded()).round()
    return Member(VAE(encoder, quantizer, decoder, Bernoulli), bits, UniformCodes(5))


def sentences(next_token: nn.Module) -> Member:
    encoder, head = SentenceEncoder(3, 8, 2), SentenceHead(next_token, 5)
    tokens = torch.randint(3, (3, 5), generator=seeded())
    return Member(VAE(encoder, DiagonalGaussian.from_moments, nn.Linear(2, 6), head), tokens, StandardNormal())


@pytest.fixture(params=["convolutional", "plain", "choices", "quantized", "sentences"])
def build(
    request: pytest.FixtureRequest, small_kl: KLConfig, quantizer: nn.Module, next_token: nn.Module
) -> Callable[[int], Member]:
    """A member from the seed of its weights."""

    def fresh(seed: int) -> Member:
        torch.manual_seed(seed)
        members: dict[str, Callable[[], Member]] = {
            "convolutional": lambda: convolutional(small_kl),
            "plain": plain,
            "choices": choices,
            "quantized": lambda: vector_quantized(reinitialized(quantizer)),
            "sentences": lambda: sentences(reinitialized(next_token)),
        }
        return members[request.param]()

    return fresh


def reinitialized(module: nn.Module) -> nn.Module:
    """Another one of the same kind, its weights drawn anew."""
    other = copy.deepcopy(module)
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.5)
    return other


@pytest.fixture
def member(build: Callable[[int], Member]) -> Member:
    return build(0)


def elbo(vae: VAE, q: Posterior, x: Tensor, prior: Prior) -> Tensor:
    return vae.likelihood(q.sample(seeded())).log_prob(x) - q.kl(prior)


def loss(member: Member) -> tuple[Tensor, Tensor]:
    """What is minimized, and the ELBO of each item.

    A vector quantizer's codebook is behind an argmin, and so has no gradient from the ELBO: its own objective adds
    the distance between what the encoder said and the codes (arXiv 1711.00937, eq. 3, both of its terms in one).
    """
    q = member.vae.encode(member.x)
    bound = elbo(member.vae, q, member.x, member.prior)
    codebook = (q.continuous - q.embedded).square().sum() if isinstance(q, Quantized) else torch.zeros(())
    return codebook - bound.sum(), bound


def test_the_elbo_is_the_same_line_for_all(member: Member) -> None:
    _, bound = loss(member)
    assert bound.shape == (3,)
    assert bound.isfinite().all()


def test_gradients_reach_every_weight(member: Member) -> None:
    total, _ = loss(member)
    total.backward()
    for name, parameter in member.vae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_few_steps_raise_the_elbo(member: Member) -> None:
    optimizer = torch.optim.Adam(member.vae.parameters(), lr=3e-3)
    bounds = []
    for _ in range(15):
        total, bound = loss(member)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        bounds.append(bound.mean().item())
    assert bounds[-1] > bounds[0]


def test_what_is_decoded_looks_like_the_data(member: Member) -> None:
    with torch.no_grad():
        decoded = member.vae.decode(member.vae.encode(member.x).mode)
    assert decoded.shape == member.x.shape
    assert decoded.dtype == member.x.dtype
    assert torch.equal(decoded, member.vae.reconstruct(member.x))


@torch.no_grad()
def test_the_state_dict_holds_everything(build: Callable[[int], Member]) -> None:
    one, other = build(0), build(1)
    before, wanted = (m.vae.likelihood(m.vae.encode(m.x).mean).log_prob(m.x) for m in (other, one))
    assert not torch.equal(before, wanted)
    other.vae.load_state_dict(one.vae.state_dict(), strict=True)
    assert torch.equal(other.vae.likelihood(other.vae.encode(other.x).mean).log_prob(other.x), wanted)


def test_heads_that_are_modules_are_saved(build: Callable[[int], Member], request: pytest.FixtureRequest) -> None:
    parts = {key.split(".")[0] for key in build(0).vae.state_dict()}
    heads = {"quantized": {"to_posterior"}, "sentences": {"to_likelihood"}}
    assert parts == {"encoder", "decoder"} | heads.get(request.node.callspec.params["build"], set())


def test_a_missing_half_is_told_in_words(member: Member) -> None:
    whole = member.vae
    decoder_only = VAE(None, whole.to_posterior, whole.decoder, whole.to_likelihood)
    encoder_only = VAE(whole.encoder, whole.to_posterior, None, whole.to_likelihood)
    z = encoder_only.encode(member.x).mean
    assert decoder_only.decode(z).shape == member.x.shape
    with refuses(HalfMissing, "encoder", "decoder"):
        encoder_only.decode(z)
    with refuses(HalfMissing, "decoder", "encoder"):
        decoder_only.encode(member.x)


@st.composite
def normalizations(draw: st.DrawFn) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Shift, scale and patch for raw latents of 4 channels: scalar, per channel, or rearranged 2x2 and per channel."""
    entries, patch = draw(st.sampled_from([(1, 1), (4, 1), (1, 2), (16, 2)]))
    shift = draw(st.tuples(*[st.floats(-3, 3)] * entries))
    return shift, draw(st.tuples(*[st.floats(0.1, 10)] * entries)), patch


@given(normalizations(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_normalization_has_an_inverse(
    values: tuple[tuple[float, ...], tuple[float, ...], int], rows: int, columns: int, seed: int
) -> None:
    normalization = LatentNormalization(*values)
    raw = torch.randn(2, 4, 2 * rows, 2 * columns, generator=seeded(seed))
    latents = normalize(raw, normalization)
    assert latents.shape == (
        2,
        4 * normalization.patch**2,
        2 * rows // normalization.patch,
        2 * columns // normalization.patch,
    )
    torch.testing.assert_close(denormalize(latents, normalization), raw, rtol=1e-4, atol=1e-4)


def test_the_scalar_normalization_is_that_of_latent_diffusion() -> None:
    raw = torch.randn(2, 16, 4, 6, generator=seeded())
    flux = LatentNormalization((0.1159,), (0.3611,))
    torch.testing.assert_close(normalize(raw, flux), (raw - 0.1159) * 0.3611)
    torch.testing.assert_close(denormalize(raw, flux), raw / 0.3611 + 0.1159)


def test_the_normalization_per_channel_is_mean_and_deviation() -> None:
    raw = torch.randn(2, 3, 4, 6, generator=seeded())
    mean, std = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([2.0, 0.5, 4.0])
    normalization = LatentNormalization(tuple(mean.tolist()), tuple((1 / std).tolist()))
    torch.testing.assert_close(normalize(raw, normalization), (raw - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))


def test_the_rearranged_normalization_is_that_of_flux_2() -> None:
    raw = torch.randn(2, 4, 6, 4, generator=seeded())
    mean, variance = torch.randn(16, generator=seeded(1)), torch.rand(16, generator=seeded(2)) + 0.1
    normalization = LatentNormalization(tuple(mean.tolist()), tuple((variance + 1e-4).rsqrt().tolist()), patch=2)
    # As diffusers' Flux2Pipeline writes it: _patchify_latents, then the batch norm's statistics.
    patches = raw.view(2, 4, 3, 2, 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 16, 3, 2)
    expected = (patches - mean.view(1, -1, 1, 1)) / torch.sqrt(variance + 1e-4).view(1, -1, 1, 1)
    torch.testing.assert_close(normalize(raw, normalization), expected)


def test_a_normalization_takes_latents_without_positions() -> None:
    normalization = LatentNormalization((1.0, 2.0), (3.0, 4.0))
    assert normalize(torch.tensor([[2.0, 3.0]]), normalization).tolist() == [[3.0, 4.0]]


def test_the_elbo_is_a_lower_bound() -> None:
    """For a linear Gaussian model log p(x) is known: z ~ N(0, 1), x ~ N(2z, 1), so x ~ N(0, 5)."""
    decoder = nn.Linear(1, 1, bias=False)
    nn.init.constant_(decoder.weight, 2.0)
    vae = VAE(nn.Identity(), lambda x: DiagonalGaussian(x, torch.zeros_like(x)), decoder, Normal)
    x = torch.full((40_000, 1), 1.5)
    evidence = Normal(torch.zeros(1, 1), math.sqrt(5)).log_prob(x[:1]).item()
    # The true posterior is N(2x/5, 1/5); its ELBO is the evidence itself, any other's is less.
    exact = DiagonalGaussian(0.4 * x, torch.full_like(x, math.log(0.2)))
    assert elbo(vae, exact, x, StandardNormal()).mean().item() == pytest.approx(evidence, abs=0.02)
    assert elbo(vae, vae.encode(x), x, StandardNormal()).mean().item() < evidence - 0.5

"""The models of `three_ways.py` that vaekit does not have: a small GAN, and an autoregressive prior over codes.

Both train for a given time and then sample; images are (b, 1, 32, 32) in [-1, 1].
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import Decoding
from vaekit.nets.sequence import SequenceConfig
from vaekit.nets.token_models import TOKEN_MODELS

BATCH = 128
GRADIENT_PENALTY_EVERY, GRADIENT_PENALTY = 16, 5.0
"""Steps between two penalties of the discriminator, and the weight of one (Karras et al. 2020, arXiv 1912.04958)."""


@dataclass(frozen=True)
class Trained:
    """A trained generator."""

    sample: Callable[[int, torch.Generator], Tensor]
    """(number, generator) -> images."""
    parameters: int
    steps: int
    seconds_per_step: float


def batches(items: Tensor, seconds: float, generator: torch.Generator) -> Iterator[Tensor]:
    """Random batches until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield items[torch.randint(len(items), (BATCH,), generator=generator)]


def size(*nets: nn.Module) -> int:
    """The number of parameters."""
    return sum(each.numel() for net in nets for each in net.parameters())


def generator_net(latent: int, width: int) -> nn.Sequential:
    """z (b, latent) -> images, as in DCGAN (Radford et al. 2016, arXiv 1511.06434)."""
    layers: list[nn.Module] = [
        nn.Linear(latent, 4 * width * 16),
        nn.Unflatten(1, (4 * width, 4, 4)),
    ]
    for before, after in ((4, 4), (4, 2), (2, 1)):
        layers += [
            nn.BatchNorm2d(before * width),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(before * width, after * width, 3, padding=1),
        ]
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1), nn.Tanh())


def discriminator_net(width: int) -> nn.Sequential:
    """Images -> logits (b, 1)."""
    layers: list[nn.Module] = []
    for before, after in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * 16, 1))


def trained_gan(images: Tensor, seconds: float, latent: int = 64, width: int = 32) -> Trained:
    """A GAN with the non-saturating loss (Goodfellow et al. 2014) and a gradient penalty on data (Mescheder et al.
    2018, arXiv 1801.04406)."""
    torch.manual_seed(0)
    net, adversary = generator_net(latent, width), discriminator_net(width)
    ours = torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999))
    theirs = torch.optim.Adam(adversary.parameters(), 2e-4, (0.5, 0.999))
    started, step = time.monotonic(), 0
    for real in batches(images, seconds, torch.Generator().manual_seed(0)):
        fake = net(torch.randn(BATCH, latent))
        loss = F.softplus(-adversary(real)).mean() + F.softplus(adversary(fake.detach())).mean()
        if step % GRADIENT_PENALTY_EVERY == 0:
            given = real.clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(adversary(given).sum(), given, create_graph=True)
            loss = loss + GRADIENT_PENALTY * slope.square().sum(dim=(1, 2, 3)).mean()
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        ours.zero_grad()
        F.softplus(-adversary(fake)).mean().backward()
        ours.step()
        step += 1
    net.eval()
    each = (time.monotonic() - started) / max(step, 1)

    def sample(count: int, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            return net(torch.randn(count, latent, generator=generator))

    return Trained(sample, size(net), step, each)


def trained_code_prior(
    codes: Tensor,
    vocabulary: int,
    decode: Callable[[Tensor], Tensor],
    seconds: float,
    width: int = 192,
    layers: int = 4,
) -> Trained:
    """A transformer over codes in raster order (van den Oord et al. 2017, arXiv 1711.00937, section 3.3).

    Args:
        codes: of the training images (n, h, w).
        vocabulary: the number of codes.
        decode: codes (b, h, w) -> images.
        seconds: the duration of the training.
        width, layers: of the transformer.
    """
    torch.manual_seed(0)
    count, height, wide = codes.shape
    flat = codes.flatten(1) + 1  # END is 0
    config = SequenceConfig(vocabulary + 1, height * wide + 1, 1, width, width, layers, decoder="transformer")
    model = TOKEN_MODELS["transformer"](config, 0.0, 0.1)
    context = nn.Parameter(torch.zeros(1, width))
    optimizer = torch.optim.AdamW([*model.parameters(), context], 1e-3, weight_decay=0.01)
    ended = torch.cat([flat, torch.zeros(count, 1, dtype=flat.dtype)], dim=1)
    started, step = time.monotonic(), 0
    for batch in batches(ended, seconds, torch.Generator().manual_seed(0)):
        passed = min(1.0, (time.monotonic() - started) / seconds)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 100) * (1 - passed)
        likelihood = AutoregressiveCategorical(model, context.expand(BATCH, -1), config.length, Decoding())
        loss = -likelihood.log_prob(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
    model.eval()
    each = (time.monotonic() - started) / max(step, 1)

    def sample(number: int, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            likelihood = AutoregressiveCategorical(model, context.expand(number, -1), config.length, Decoding())
            tokens = likelihood.sample(generator)[:, : height * wide]
            # A sequence that ended early is filled with the first code.
            return decode((tokens - 1).clamp(min=0).unflatten(1, (height, wide)))

    return Trained(sample, size(model), step, each)

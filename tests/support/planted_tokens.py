"""A VAE of sentences of "a" and "b" whose decoder is known: the token at a place follows from one latent value."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import END, State
from vaekit.domains.domain import Domain
from vaekit.domains.item_functions import ItemSimilarity
from vaekit.domains.text.domain import TEXT, Text
from vaekit.domains.text.schema import TextSchema
from vaekit.families import assemble, family_with
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.sequence import SequenceConfig
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.model import OpenModel
from vaekit.vae import VAE, Origin

PLACES = 6
"""Characters of every sentence, and values of its latent."""
A, B = 2, 3
SCHEMA = TextSchema("characters", ("a", "b"), PLACES + 1)
SURE = 8.0
"""The logit of "a" for a latent value of 1."""


class Places(nn.Module):
    """A model of tokens without memory: states are logits."""

    def hidden(self, context: Tensor, previous: Tensor) -> Tensor:
        return torch.stack([self.at(context, place) for place in range(previous.shape[1] + 1)], dim=1)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden

    def start(self, context: Tensor) -> tuple[Tensor, State]:
        return self.at(context, 0), (context, torch.zeros(len(context), dtype=torch.long))

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        context, places = state
        return self.at(context, int(places[0]) + 1), (context, places + 1)

    def at(self, context: Tensor, place: int) -> Tensor:
        """Logits (b, 4) at a place."""
        logits = context.new_full((len(context), 4), -60.0)
        if place >= PLACES:
            logits[:, END] = 60.0
        else:
            logits[:, A], logits[:, B] = SURE * context[:, place], -SURE * context[:, place]
        return logits


class Encoder(nn.Module):
    """The mean 1 for "a" and -1 for "b" at each place, with a small variance."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        mean = self.one * ((x[:, :PLACES] == A).float() - (x[:, :PLACES] == B).float())
        return torch.cat([mean, torch.full_like(mean, -6.0)], dim=1)


class Decoder(nn.Module):
    """The latent itself."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor) -> Tensor:
        return self.one * z


class Likelihood(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Places()

    def forward(self, context: Tensor) -> AutoregressiveCategorical:
        return AutoregressiveCategorical(self.model, context, PLACES + 1)


def agreement(one: Sequence[str], other: Sequence[str]) -> list[float]:
    """The share of places with equal characters."""
    return [sum(map(str.__eq__, a, b)) / max(len(a), len(b)) for a, b in zip(one, other, strict=True)]


def count_of_a(sentences: Sequence[str]) -> list[float]:
    return [float(sentence.count("a")) for sentence in sentences]


def planted_tokens(valid: bool = True) -> OpenModel:
    """The VAE, with a domain whose items have a similarity and a property; without `valid`, sentences that start with
    "a" are invalid."""
    torch.manual_seed(0)
    config = PartsConfig(SequenceConfig(4, PLACES + 1, PLACES, 4, 4), GaussianPart(), TokensPart())
    family = family_with(config)
    assert family is not None
    built = assemble(family, config)
    origin = Origin("", lambda _: "", "text", SCHEMA.as_plain())
    vae = VAE(
        Encoder(),
        built.to_posterior,
        Decoder(),
        Likelihood(),
        origin=origin,
        to_prior=built.to_prior,
        config=config,
    ).eval()
    engine = Engine(vae, Plan(device="cpu", batch_size=256))
    domain = domain_with(valid)
    return OpenModel(engine, domain, SCHEMA, domain.files(engine, SCHEMA))


class Odd(Text):
    """Text of which some sentences are invalid."""

    def is_valid(self, item: str) -> bool:
        return not item.startswith("a")


def domain_with(valid: bool) -> Domain:
    """Text with a measure of similarity and a property."""
    kind = Text if valid else Odd
    return kind(
        TEXT.name,
        TEXT.item,
        TEXT.items,
        TEXT.records,
        TEXT.ending,
        TEXT.settings,
        similarity=ItemSimilarity("agreement", agreement),
        properties={"as": count_of_a},
    )

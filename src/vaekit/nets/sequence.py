"""Nets for sequences of tokens: VAEs of sentences (Bowman et al. 2016, arXiv 1511.06349) and of molecules.

Data are integers (b, t) below the size of the vocabulary, with END and padding as in `distributions.sequences`; latents
are vectors (b, z). The decoder outputs a context (b, c), or one for each position (b, t, c), from which the likelihood
head `NextToken` generates tokens.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import END, Decoding, before_padding
from vaekit.geometry import Geometry
from vaekit.nets.attention import Blocks
from vaekit.nets.token_models import TOKEN_MODELS, by_position
from vaekit.shapes import Codes

MAX_LENGTH = 2**14
"""Tokens of a sequence at most: they are decoded one after the other."""


@dataclass(frozen=True)
class SequenceConfig:
    """The architecture of encoder and decoder."""

    vocabulary: int
    """The number of tokens, with END."""
    length: int
    """The maximum number of tokens of a sequence, with END."""
    latent_channels: int
    width: int = 256
    """The size of recurrent states, of both directions together, and of the vectors of transformers; 2 or more."""
    embedding: int = 128
    """The size of token embeddings, and of the context that a latent becomes."""
    layers: int = 1
    """Of the encoder, and of the decoder."""
    heads: int = 4
    """Of the attention of transformers."""
    encoder: str = "gru"
    """"gru" in both directions, "groups": the same over groups of tokens, "transformer", or "none": latents do not
    depend on data, as in a language model."""
    decoder: str = "gru"
    """"gru", "lstm" or "transformer"."""
    group: int = 0
    """Tokens that the decoder makes contexts for at once, such as those of a bar of music, so that each position has
    its own; at least `length` for all at once, and 0 for one context of the whole sequence."""
    decoder_width: int = 0
    """The width of the model of the next token, where it differs from `width`; 0 where it does not."""
    kind: str = field(default="tokens", init=False)
    data_shape: ClassVar[None] = None
    """None: items are tokens."""

    def __post_init__(self) -> None:
        sizes = (
            self.vocabulary,
            self.length,
            self.latent_channels,
            self.width,
            self.embedding,
            self.layers,
            self.heads,
        )
        if min(sizes) < 1 or self.width < 2:
            raise ValueError("the sizes of a sequence net must be at least 1, and its width 2")
        if min(self.group, self.decoder_width) < 0:
            raise ValueError("group and decoder_width must be at least 0")
        if self.encoder == "groups" and not self.group:
            raise ValueError('the encoder "groups" requires a group of 1 or more tokens')
        if self.length > MAX_LENGTH:
            raise ValueError(f"length is {self.length}, and at most {MAX_LENGTH}")
        for name, kinds in (("encoder", ENCODERS), ("decoder", TOKEN_MODELS)):
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not {', '.join(kinds)}")
        for kind, width in ((self.encoder, self.width), (self.decoder, self.decoder_width or self.width)):
            if kind == "transformer" and width % self.heads:
                raise ValueError(f"width is {width}, not a multiple of {self.heads} heads")

    @property
    def blocks(self) -> int:
        """Embedding, layers in two directions, output."""
        return 2 + 2 * self.layers

    @property
    def groups(self) -> tuple[int, int]:
        """The number of groups of a sequence, and that of tokens of a group; the last one may be shorter."""
        size = min(self.group, self.length)
        return -(-self.length // size), size

    @property
    def latents_of_group(self) -> int:
        """The number of latent values that belong to a group; the last groups may have fewer."""
        return -(-self.latent_channels // self.groups[0])

    @property
    def geometry(self) -> Geometry:
        """Sequences with one channel per token and a global latent."""
        return Geometry(self.length, self.latent_channels)

    def build(self, moments: int, outputs: int) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder, with `moments` encoder outputs per latent value and `outputs` contexts."""
        decoder = Conductor(self, outputs) if self.group else Decoder(self, outputs)
        return ENCODERS[self.encoder](self, moments), decoder

    def token_head(self, word_dropout: float, dropout: float, bag: bool) -> "NextToken":
        """The likelihood head."""
        return NextToken(self, word_dropout, dropout, bag)


class RecurrentEncoder(nn.Module):
    """Tokens (b, t) -> moments (b, m z), from the last states of a GRU in both directions, each with half the width."""

    def __init__(self, config: SequenceConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        self.recurrent = nn.GRU(
            config.embedding, config.width // 2, config.layers, batch_first=True, bidirectional=True
        )
        self.out = nn.Linear(2 * (config.width // 2), moments * config.latent_channels)

    def forward(self, x: Codes) -> Tensor:
        lengths = before_padding(x).sum(dim=1)
        # Lengths on the CPU, as torch requires. Packed, padding takes no time.
        packed = pack_padded_sequence(self.embedding(x), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.recurrent(packed)
        return self.out(last[-2:].transpose(0, 1).flatten(1))


class GroupEncoder(nn.Module):
    """Tokens (b, t) -> moments (b, m z): two layers for the tokens of each group together, a GRU in both directions
    over the groups, with half the width each, and an equal part of the latent for each group. Far fewer steps than
    tokens, places in a bar have their own weights, and a long latent is as easy to learn as a short one."""

    def __init__(self, config: SequenceConfig, moments: int) -> None:
        super().__init__()
        self.config, self.moments = config, moments
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        _, size = config.groups
        self.group = nn.Sequential(
            nn.Linear(size * config.embedding, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
            nn.GELU(),
        )
        self.recurrent = nn.GRU(config.width, config.width // 2, config.layers, batch_first=True, bidirectional=True)
        self.out = nn.Linear(config.width + 2 * (config.width // 2), moments * config.latents_of_group)

    def forward(self, x: Codes) -> Tensor:
        groups, size = self.config.groups
        x = nn.functional.pad(x.masked_fill(~before_padding(x), END), (0, groups * size - x.shape[1]), value=END)
        vectors = self.group(self.embedding(x).unflatten(1, (groups, size)).flatten(2))
        states, _ = self.recurrent(vectors)
        parts = self.out(torch.cat([vectors, states], dim=2)).unflatten(2, (self.moments, -1))
        return parts.transpose(1, 2).flatten(2)[:, :, : self.config.latent_channels].flatten(1)


class TransformerEncoder(nn.Module):
    """Tokens (b, t) -> moments (b, m z), from the mean of the last states of a transformer."""

    def __init__(self, config: SequenceConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = Blocks(config.width, config.heads, config.layers, config.length)
        self.out = nn.Linear(config.width, moments * config.latent_channels)

    def forward(self, x: Codes) -> Tensor:
        mask = before_padding(x)
        longest = max(1, int(mask.sum(dim=1).max()))
        x, mask = x[:, :longest], mask[:, :longest]
        states = self.blocks(self.embedding(x), mask[:, None, None, :])
        weights = mask.to(states.dtype).unsqueeze(2)
        return self.out((states * weights).sum(dim=1) / weights.sum(dim=1))


class NoEncoder(nn.Module):
    """Moments (b, m z) that are learned and the same for all tokens (b, t): with a posterior without noise ("point"),
    the decoder is a language model."""

    def __init__(self, config: SequenceConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        self.moments = nn.Parameter(torch.zeros(moments * config.latent_channels))

    def forward(self, x: Codes) -> Tensor:
        return self.moments.expand(len(x), -1)


ENCODERS: dict[str, type[nn.Module]] = {
    "gru": RecurrentEncoder,
    "groups": GroupEncoder,
    "transformer": TransformerEncoder,
    "none": NoEncoder,
}


class Decoder(nn.Module):
    """Raw latents (b, z) -> contexts (b, k c)."""

    def __init__(self, config: SequenceConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.out = nn.Linear(config.latent_channels, outputs * config.embedding)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(z)


class Conductor(nn.Module):
    """Raw latents (b, z) -> contexts (b, t, k c), one for each position, from a GRU over groups of tokens.

    Its initial state depends on the whole latent, and its inputs are the parts of the latent that belong to the groups
    (see `GroupEncoder`). Each state is divided into contexts of the positions of its group. A hierarchical decoder as
    MusicVAE's (Roberts et al. 2018, arXiv 1803.05428, section 3.2), where all positions of a bar share a context.
    """

    def __init__(self, config: SequenceConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        _, size = config.groups
        self.initial = nn.Linear(config.latent_channels, config.width)
        self.part = nn.Sequential(nn.Linear(config.latents_of_group, config.width), nn.GELU())
        self.recurrent = nn.GRU(config.width, config.width, batch_first=True)
        self.out = nn.Linear(2 * config.width, size * outputs * config.embedding)

    def forward(self, z: Tensor) -> Tensor:
        groups, size = self.config.groups
        missing = groups * self.config.latents_of_group - self.config.latent_channels
        parts = self.part(nn.functional.pad(z, (0, missing)).unflatten(1, (groups, -1)))
        states, _ = self.recurrent(parts, torch.tanh(self.initial(z)).unsqueeze(0))
        contexts = self.out(torch.cat([parts, states], dim=2)).unflatten(2, (size, -1)).flatten(1, 2)
        return contexts[:, : self.config.length]


class NextToken(nn.Module):
    """Contexts (b, c), or (b, t, c) for each position, -> p(x|z), token by token.

    In training, previous tokens are replaced at random by an unknown token, so that the model depends on the context
    (word dropout: arXiv 1511.06349, section 3.1). Random numbers come from torch's global generator.

    Args:
        config: the sizes.
        word_dropout: the probability of hiding a previous token.
        dropout: the probability of hiding an element of the inputs and outputs of the decoder.
        bag: whether there is a second output, which predicts the tokens of a sequence in any order; see `bag_logits`.
    """

    def __init__(self, config: SequenceConfig, word_dropout: float, dropout: float, bag: bool) -> None:
        super().__init__()
        self.length = config.length
        self.model = TOKEN_MODELS[config.decoder](config, word_dropout, dropout)
        self.bag = nn.Linear(config.embedding, config.vocabulary) if bag else None
        self.decoding = Decoding()

    def forward(self, context: Tensor) -> AutoregressiveCategorical:
        return AutoregressiveCategorical(self.model, context, self.length, self.decoding)

    def bag_logits(self, context: Tensor) -> Tensor | None:
        """Logits (b, vocabulary) of a token at any place of the sequence; None without a bag."""
        return None if self.bag is None else self.bag(by_position(context).mean(dim=1))

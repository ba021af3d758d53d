"""Heads that say codes without one codebook: rounded numbers, signs, several codebooks in turn, and choices."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vaekit.distributions import Choices, Quantized, Signs
from vaekit.distributions.mixed import TEMPERATURE
from vaekit.nets.code_head import CodeHead
from vaekit.nets.codebooks import CodebookLearning
from vaekit.nets.vector_quantizer import VectorQuantizer
from vaekit.shapes import Codes

BEYOND = 1e-3
"""By this share the bounded range of a rounded number is wider than its outermost levels, which are so reached."""


class FiniteScalarQuantizer(CodeHead):
    """Moments (b, d, ...) -> each of d numbers bounded and rounded to a few levels (Mentzer et al. 2023, arXiv
    2309.15505, section 3.1 and appendix A.1). Latents are from -1 to 1 and contain 0; nothing is learned.

    The code of a position counts its levels, the first channel fastest.

    Args:
        levels: of each channel, three to a thousand.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(math.prod(levels))
        self.levels = tuple(levels)

    def forward(self, moments: Tensor) -> Quantized:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        levels, half = self._per_channel(exact)
        reach = (levels - 1) * (1 + BEYOND) / 2
        # An even number of levels has none in its middle: half a step aside there is one.
        offset = torch.where(levels % 2 == 0, 0.5, 0.0).to(exact)
        bounded = torch.tanh(exact + torch.atanh(offset / reach)) * reach - offset
        rounded = bounded.detach().round()
        codes = self._codes(rounded + half)
        self.note(codes)
        return Quantized(bounded / half, codes, rounded / half)

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> their latents (b, d, ...)."""
        places = zip(self._places, self.levels, strict=True)
        return torch.stack([(codes // place % levels - levels // 2) / (levels // 2) for place, levels in places], dim=1)

    def _codes(self, digits: Tensor) -> Codes:
        places = torch.tensor(self._places, device=digits.device)
        return (digits.movedim(1, -1).long() * places).sum(dim=-1)

    @property
    def _places(self) -> list[int]:
        places = [1]
        for levels in self.levels[:-1]:
            places.append(places[-1] * levels)
        return places

    def _per_channel(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The levels, and half of them rounded down, shaped as a factor of (b, d, ...)."""
        levels = torch.tensor(self.levels, device=like.device).view(1, -1, *[1] * (like.dim() - 2))
        return levels.to(like), (levels // 2).to(like)


class SignQuantizer(CodeHead):
    """Moments (b, d, ...) -> their signs: 2^d codes without a codebook (Yu et al. 2023, arXiv 2310.05737, sec. 3)."""

    def __init__(self, width: int) -> None:
        super().__init__(2**width)

    def forward(self, moments: Tensor) -> Signs:
        found = Signs.of(moments.to(torch.promote_types(moments.dtype, torch.float32)))
        self.note(found.codes)
        return found

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> their latents (b, d, ...)."""
        width = self.size.bit_length() - 1
        return torch.stack([(codes >> bit & 1) * 2.0 - 1.0 for bit in range(width)], dim=1)


class ResidualQuantizer(nn.Module):
    """Moments (b, d, ...) -> the sum of n codebook vectors at every position, each the nearest to what those before it
    left over (Zeghidour et al. 2021, arXiv 2107.03312, algorithm 1). Codes are (b, n, ...)."""

    def __init__(self, codes: int, width: int, stages: int) -> None:
        super().__init__()
        self.size = codes
        self.stages = nn.ModuleList(VectorQuantizer(codes, width) for _ in range(stages))

    @property
    def choices(self) -> int:
        """Codes at each position."""
        return len(self.stages)

    @property
    def quantizers(self) -> list[VectorQuantizer]:
        """The stages, in their order."""
        return [cast(VectorQuantizer, stage) for stage in self.stages]

    def learn(self, learning: CodebookLearning) -> None:
        """As a `VectorQuantizer` does. Each stage gets its first codes a step after the one whose rest it quantizes."""
        for delay, stage in enumerate(self.quantizers):
            stage.learn(learning, delay)

    def forward(self, moments: Tensor) -> Quantized:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        rest, codes, embedded = exact.detach(), [], torch.zeros_like(exact)
        for stage in self.quantizers:
            found: Quantized = stage(rest)
            rest = rest - found.embedded.detach()
            codes.append(found.codes)
            embedded = embedded + found.embedded
        return Quantized(exact, torch.stack(codes, dim=1), embedded)

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, n, ...) -> the sums of their vectors (b, d, ...)."""
        parts = [stage.embed(each) for stage, each in zip(self.quantizers, codes.unbind(dim=1), strict=True)]
        return torch.stack(parts).sum(dim=0)


class ChoiceQuantizer(CodeHead):
    """Logits (b, K, ...) -> a choice among K codes at every position, relaxed in training: the discrete VAE of DALL-E
    (Ramesh et al. 2021, arXiv 2102.12092, appendix A.2).

    The temperature is a function of the samples seen, and whoever trains says how many these are: `at`. So it is no
    state. Outside training, samples are choices.

    Args:
        codes: K, also the channels of the latent.
        relaxed: whether latents in training are relaxed choices; else they are choices, with the gradients of relaxed
            ones.
    """

    def __init__(self, codes: int, relaxed: bool) -> None:
        super().__init__(codes)
        self.relaxed = relaxed
        self.temperature: Callable[[int | float], float] = _customary
        self.samples: int | float = 0

    def anneal(self, temperature: Callable[[int | float], float]) -> None:
        """From now on, take the temperature from this function of the samples seen."""
        self.temperature = temperature

    def at(self, samples: int | float) -> None:
        """So many samples were seen."""
        self.samples = samples

    def forward(self, moments: Tensor) -> Choices:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        found = Choices(exact, self.temperature(self.samples), self.relaxed and self.training)
        self.note(found.codes)
        return found

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> one-hot latents (b, K, ...)."""
        return nn.functional.one_hot(codes, self.size).movedim(-1, 1).float()


def _customary(_: int | float) -> float:
    return TEMPERATURE

"""Quantizers other than a single codebook: finite scalar, sign, residual and categorical."""

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
"""The share by which the bounded range exceeds the outermost levels, so that they can be reached."""


class FiniteScalarQuantizer(CodeHead):
    """Moments (b, d, ...) -> values bounded and rounded to a few levels (FSQ: Mentzer et al. 2023, arXiv 2309.15505,
    section 3.1 and appendix A.1). Latents are in [-1, 1], including 0; nothing is learned.

    The code of a position is the mixed-radix number of its levels, the first channel least significant.

    Args:
        levels: the number of levels of each channel, 3 to 1000.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(math.prod(levels))
        self.levels = tuple(levels)

    def forward(self, moments: Tensor) -> Quantized:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        levels, half = self._per_channel(exact)
        reach = (levels - 1) * (1 + BEYOND) / 2
        # An even number of levels has none at the center: shift by half a step.
        offset = torch.where(levels % 2 == 0, 0.5, 0.0).to(exact)
        bounded = torch.tanh(exact + torch.atanh(offset / reach)) * reach - offset
        rounded = bounded.detach().round()
        codes = self._codes(rounded + half)
        self.note(codes)
        return Quantized(bounded / half, codes, rounded / half)

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> their latents (b, d, ...)."""
        digits = zip(self._radices, self.levels, strict=True)
        return torch.stack([(codes // radix % levels - levels // 2) / (levels // 2) for radix, levels in digits], dim=1)

    def _codes(self, digits: Tensor) -> Codes:
        radices = torch.tensor(self._radices, device=digits.device)
        return (digits.movedim(1, -1).long() * radices).sum(dim=-1)

    @property
    def _radices(self) -> list[int]:
        """The weight of each channel's level in a code."""
        radices = [1]
        for levels in self.levels[:-1]:
            radices.append(radices[-1] * levels)
        return radices

    def _per_channel(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of levels, and half of them rounded down, broadcastable to (b, d, ...)."""
        levels = torch.tensor(self.levels, device=like.device).view(1, -1, *[1] * (like.dim() - 2))
        return levels.to(like), (levels // 2).to(like)


class SignQuantizer(CodeHead):
    """Moments (b, d, ...) -> their signs: 2^d codes without a codebook (Yu et al. 2023, arXiv 2310.05737, sec. 3)."""

    def __init__(self, width: int) -> None:
        super().__init__(2**width)

    def forward(self, moments: Tensor) -> Signs:
        signs = Signs.of(moments.to(torch.promote_types(moments.dtype, torch.float32)))
        self.note(signs.codes)
        return signs

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> their latents (b, d, ...)."""
        width = self.size.bit_length() - 1
        return torch.stack([(codes >> bit & 1) * 2.0 - 1.0 for bit in range(width)], dim=1)


class ResidualQuantizer(nn.Module):
    """Moments (b, d, ...) -> the sum of n codebook vectors at every position, each the nearest to the residual of those
    before it (Zeghidour et al. 2021, arXiv 2107.03312, algorithm 1). Codes are (b, n, ...).

    The first codes alone are a coarser description: `use` chooses how many there are. All are trained together.

    Args:
        codes: the number of codes of each codebook.
        width: the dimension of a vector.
        stages: n.
        make: codes and width -> the quantizer of a stage.
    """

    def __init__(
        self, codes: int, width: int, stages: int, make: Callable[[int, int], VectorQuantizer] = VectorQuantizer
    ) -> None:
        super().__init__()
        self.size = codes
        self.stages = nn.ModuleList(make(codes, width) for _ in range(stages))
        self.choices = stages
        """The number of codes at each position."""

    def use(self, choices: int) -> None:
        """Quantize with the first stages only.

        Args:
            choices: their number, the codes at each position from now on.

        Raises:
            ValueError: there are not as many.
        """
        if not 1 <= choices <= len(self.stages):
            raise ValueError(f"{choices} of {len(self.stages)} stages")
        self.choices = choices

    @property
    def quantizers(self) -> list[VectorQuantizer]:
        """The stages in order."""
        return [cast(VectorQuantizer, stage) for stage in self.stages]

    def learn(self, learning: CodebookLearning) -> None:
        """See `VectorQuantizer.learn`. Each stage is initialized one step after the previous one."""
        for delay, stage in enumerate(self.quantizers):
            stage.learn(learning, delay)

    def forward(self, moments: Tensor) -> Quantized:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        residual, codes, embedded = exact.detach(), [], torch.zeros_like(exact)
        for stage in self.quantizers[: self.choices]:
            quantized: Quantized = stage(residual)
            residual = residual - quantized.embedded.detach()
            codes.append(quantized.codes)
            embedded = embedded + quantized.embedded
        return Quantized(exact, torch.stack(codes, dim=1), embedded)

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, n, ...) of all stages or of the first ones -> the sums of their vectors (b, d, ...)."""
        first = self.quantizers[: codes.shape[1]]
        parts = [stage.embed(each) for stage, each in zip(first, codes.unbind(dim=1), strict=True)]
        return torch.stack(parts).sum(dim=0)


class ChoiceQuantizer(CodeHead):
    """Logits (b, K, ...) -> a choice among K codes at every position, relaxed in training: the discrete VAE of DALL-E
    (Ramesh et al. 2021, arXiv 2102.12092, appendix A.2).

    The temperature is a function of the number of samples in training, which `at` sets; so it is not part of the state.
    Outside training, samples are one-hot.

    Args:
        codes: K, also the number of channels of the latent.
        relaxed: whether latents in training are relaxed choices; otherwise they are one-hot, with the gradients of
            relaxed choices.
    """

    def __init__(self, codes: int, relaxed: bool) -> None:
        super().__init__(codes)
        self.relaxed = relaxed
        self.temperature: Callable[[int | float], float] = constant_temperature
        self.samples: int | float = 0

    def anneal(self, temperature: Callable[[int | float], float]) -> None:
        """Set the temperature as a function of the number of samples."""
        self.temperature = temperature

    def at(self, samples: int | float) -> None:
        """Set the number of samples so far."""
        self.samples = samples

    def forward(self, moments: Tensor) -> Choices:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        choices = Choices(exact, self.temperature(self.samples), self.relaxed and self.training)
        self.note(choices.codes)
        return choices

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> one-hot latents (b, K, ...)."""
        return nn.functional.one_hot(codes, self.size).movedim(-1, 1).float()


def constant_temperature(_: int | float) -> float:
    """The default temperature."""
    return TEMPERATURE

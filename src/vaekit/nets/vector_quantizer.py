"""Vector quantizer heads: moments to the nearest codebook vector."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import Quantized
from vaekit.nets import codebooks
from vaekit.nets.code_head import CodeHead, SumOver
from vaekit.nets.codebooks import AVERAGE, CodebookLearner, CodebookLearning
from vaekit.shapes import Codes


class VectorQuantizer(CodeHead):
    """Moments (b, d, ...) -> the nearest codebook vector at every position, in single precision at least.

    The codebook is a weight like others, which the term `codebook` gives a gradient, until `learn` says otherwise.
    """

    def __init__(self, codes: int, width: int) -> None:
        super().__init__(codes)
        self.codebook = nn.Parameter(torch.empty(codes, width).uniform_(-1 / codes, 1 / codes))
        self.learner: CodebookLearner | None = None

    def learn(self, learning: CodebookLearning, delay: int = 0) -> None:
        """From now on, and before an optimizer is made: learn the codes so, the first ones after `delay` steps."""
        self.learner = CodebookLearner(learning, delay)
        self.codebook.requires_grad_(learning.by != AVERAGE)

    @property
    def vectors(self) -> Tensor:
        """What the codes stand for, (codes, d)."""
        return self.codebook

    def placed(self, said: Tensor) -> Tensor:
        """What the encoder said (b, d, ...), where codes are."""
        return said

    def forward(self, moments: Tensor) -> Quantized:
        exact = self.placed(moments.to(torch.promote_types(moments.dtype, torch.float32)))
        codes = self.nearest(exact)
        self.note(codes)
        if self.learner is not None and self.watching:
            self.learner.note(exact.movedim(1, -1).flatten(0, -2), codes.flatten(), self.size)
        return Quantized(exact, codes, self.embed(codes).to(exact.dtype))

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> their vectors (b, d, ...)."""
        return F.embedding(codes, self.vectors).movedim(-1, 1)

    def nearest(self, continuous: Tensor) -> Codes:
        """The index of the nearest vector at every position of (b, d, ...); of equally near ones the first.

        In training, where speed counts, codes that are equally near up to rounding may stand for each other.
        """
        vectors = continuous.detach().movedim(1, -1)
        search = codebooks.nearest_by_products if self.watching else codebooks.nearest
        found = search(vectors.reshape(-1, vectors.shape[-1]), self.vectors.detach().to(vectors.dtype))
        return found.reshape(vectors.shape[:-1])

    def adapt(self, sum_: SumOver, generator: Generator) -> None:
        """Take over what was counted and collected since the last step."""
        counts = self.counts
        super().adapt(sum_, generator)
        if self.learner is not None and counts is not None:
            self.learner.adapt(self.codebook, counts, sum_)

    def forget(self) -> None:
        """Keep nothing of what was counted and collected since the last step."""
        super().forget()
        if self.learner is not None:
            self.learner.forget()

    def progress(self) -> dict[str, Tensor]:
        """What it knows beside its weights, between steps."""
        return super().progress() | (self.learner.progress() if self.learner is not None else {})

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Know that again."""
        super().restore(progress)
        if self.learner is not None:
            self.learner.restore(progress)


class CosineQuantizer(VectorQuantizer):
    """The same on the unit sphere, where the nearest vector is that of the nearest direction (Yu et al. 2022, arXiv
    2110.04627, section 3.2)."""

    @property
    def vectors(self) -> Tensor:
        return F.normalize(self.codebook, dim=1)

    def placed(self, said: Tensor) -> Tensor:
        return F.normalize(said, dim=1)

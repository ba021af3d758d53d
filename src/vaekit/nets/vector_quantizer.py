"""Vector quantizer heads: the nearest codebook vector."""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import Quantized
from vaekit.nets import codebooks
from vaekit.nets.code_head import CodeHead, SumOver
from vaekit.nets.codebooks import AVERAGE, CodebookLearner, CodebookLearning
from vaekit.shapes import Codes


class VectorQuantizer(CodeHead):
    """Moments (b, d, ...) -> the nearest codebook vector at every position, at least in single precision.

    By default the codebook is learned by gradient, with the term `codebook`; see `learn`.

    Args:
        codes: the number of codes.
        width: the dimension of a vector.
    """

    def __init__(self, codes: int, width: int) -> None:
        super().__init__(codes)
        self.codebook = nn.Parameter(torch.empty(codes, width).uniform_(-1 / codes, 1 / codes))
        self.learner: CodebookLearner | None = None

    def learn(self, learning: CodebookLearning, delay: int = 0) -> None:
        """Set how the codebook is learned, initialized after `delay` steps. Call it before an optimizer is created."""
        self.learner = CodebookLearner(learning, delay)
        self.codebook.requires_grad_(learning.by != AVERAGE)

    @property
    def vectors(self) -> Tensor:
        """The vectors of the codes, (codes, d)."""
        return self.codebook

    def projected(self, moments: Tensor) -> Tensor:
        """Project moments (b, d, ...) into the space of the codes."""
        return moments

    def forward(self, moments: Tensor) -> Quantized:
        exact = self.projected(moments.to(torch.promote_types(moments.dtype, torch.float32)))
        codes = self.nearest(exact)
        self.note(codes)
        if self.learner is not None and self.recording:
            self.learner.note(exact.movedim(1, -1).flatten(0, -2), codes.flatten(), self.size)
        return Quantized(exact, codes, self.embed(codes).to(exact.dtype))

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> their vectors (b, d, ...)."""
        return F.embedding(codes, self.vectors).movedim(-1, 1)

    def nearest(self, continuous: Tensor) -> Codes:
        """The indices (b, ...) of the nearest vectors to (b, d, ...); of equally near ones the first.

        In training, for speed, any of several codes that are equally near up to rounding.
        """
        vectors = continuous.detach().movedim(1, -1)
        search = codebooks.nearest_by_products if self.recording else codebooks.nearest
        indices = search(vectors.reshape(-1, vectors.shape[-1]), self.vectors.detach().to(vectors.dtype))
        return indices.reshape(vectors.shape[:-1])

    def adapt(self, sum_: SumOver, generator: Generator) -> None:
        """Update statistics and codebook with what was recorded since the last step."""
        counts = self.counts
        super().adapt(sum_, generator)
        if self.learner is not None and counts is not None:
            self.learner.adapt(self.codebook, counts, sum_)

    def forget(self) -> None:
        """Discard what was recorded since the last step."""
        super().forget()
        if self.learner is not None:
            self.learner.forget()

    def progress(self) -> dict[str, Tensor]:
        """The state between steps besides weights."""
        return super().progress() | (self.learner.progress() if self.learner is not None else {})

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Restore this state."""
        super().restore(progress)
        if self.learner is not None:
            self.learner.restore(progress)


class FactorizedQuantizer(VectorQuantizer):
    """A vector quantizer that looks codes up in a space of a few dimensions, by cosine similarity, between two
    convolutions of 1 in time (DAC: Kumar et al. 2023, arXiv 2306.06546, section 3.2).

    Args:
        codes: the number of codes.
        width: the channels of the moments and of the result.
        inner: the dimension of a code's vector.
        conv: creates a convolution, with the arguments of `nn.Conv1d`.
    """

    def __init__(self, codes: int, width: int, inner: int, conv: Callable[[int, int, int], nn.Module]) -> None:
        super().__init__(codes, inner)
        self.in_proj = conv(width, inner, 1)
        self.out_proj = conv(inner, width, 1)

    @property
    def vectors(self) -> Tensor:
        return F.normalize(self.codebook, dim=1)

    def projected(self, moments: Tensor) -> Tensor:
        return F.normalize(in_dtype_of_input(self.in_proj, moments), dim=1)

    def forward(self, moments: Tensor) -> Quantized:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        codes = self.nearest(self.projected(exact))
        self.note(codes)
        return Quantized(exact, codes, self.embed(codes).to(exact.dtype))

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, t) -> their vectors in the space of the moments, (b, width, t)."""
        vectors = F.embedding(codes, self.codebook).movedim(-1, 1)
        return in_dtype_of_input(self.out_proj, vectors.to(torch.promote_types(vectors.dtype, torch.float32)))


def in_dtype_of_input(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer's output in the dtype of its input, which may be wider than that of its weights."""
    weights = {name: weight.to(x.dtype) for name, weight in layer.named_parameters()}
    return torch.func.functional_call(layer, weights, (x,))


class CosineQuantizer(VectorQuantizer):
    """A vector quantizer on the unit sphere: the nearest vector by cosine similarity (Yu et al. 2022, arXiv 2110.04627,
    section 3.2)."""

    @property
    def vectors(self) -> Tensor:
        return F.normalize(self.codebook, dim=1)

    def projected(self, moments: Tensor) -> Tensor:
        return F.normalize(moments, dim=1)

"""Fit the color correction with the fewest parameters that helps on held-out images.

Candidates have 3 to 12 parameters. Each row c of (M | o) is a weighted ridge regression in linear light, with the
identity as its prior:

    min  E[ w_c (x_c - (M y + o)_c)^2 ] + r |(M | o)_c - identity|^2,      w_c = (d encode / d light at x_c)^2

over the mean colors x, y of patches: the errors of a VAE in detail are noise here, and noise in y biases the fit
towards less contrast (regression dilution), which makes dE worse. The weights make it the error in encoded values, to
first order: without them shadows, where small differences of light are visible, would not count. Patches with many
pixels at an end of the range in either image are left out: clipping is not affine.

Every image is held out once (cross-validation) and evaluated with a correction fitted on the others. The saved
correction is fitted on all images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vaekit.domains.images.correction import Correction
from vaekit.metrics.image.delta_e import delta_e
from vaekit.metrics.image.lab import linear_light
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.statistics import PairedDifference, paired_difference
from vaekit.shapes import Images

Pixels = Float[Tensor, "3 n"]
Patches = Float[Tensor, "3 m"]

FEWEST = 8
"""The minimum number of images: with fewer, the smallest p of the sign-flip test, 2 / 2^7, is above `LEVEL`."""
LEVEL = 0.05 / 5
"""Significance level: 0.05 divided by the number of candidates (Bonferroni)."""
MARGIN = 0.05
"""The minimum gain in dE2000 (mean over images), for the lower end of the 95 % interval. A smaller gain is not worth
changing every pixel, and did not carry over to other images in our experiments: see `docs/correction.md`."""
TOLERANCE = 0.02
"""dE2000 by which a candidate with fewer parameters may be worse than the best one."""
PATCH = 16
"""Side of a patch in pixels."""
INSIDE = 0.9
"""The minimum share of pixels of a patch inside the range."""
DRAWN = 4096
"""The maximum number of patches, and of pixels, sampled from each image."""
MOST = 256
"""The maximum number of images whose samples are kept: 50 MB."""
FOLDS = 8
RIDGE = 1e-4
"""r, relative to the mean of the diagonal of the normal equations."""

CANDIDATES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "gain per channel": ((0,), (1,), (2,)),
    "offset per channel": ((3,), (3,), (3,)),
    "gain and offset per channel": ((0, 3), (1, 3), (2, 3)),
    "3x3 matrix": ((0, 1, 2),) * 3,
    "3x3 matrix and offset": ((0, 1, 2, 3),) * 3,
}
"""The columns of (M | o) that are fitted in each row; fewest parameters first."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Colors of one image before and after a VAE."""

    original: Pixels
    """In [-1, 1], rounded to 8 bits."""
    made: Pixels
    """The output of the VAE; finite."""
    light: Patches
    """Mean linear light of patches of the original."""
    light_made: Patches
    """The same of the output."""


def sampled(x: Images, y: Images, generator: torch.Generator) -> Sample | None:
    """Sample colors of an image (1, 3, h, w) and of its reconstruction; None if no value of the latter is finite."""
    x, y = as_saved(x.detach().cpu()), y.detach().cpu().float()
    place = torch.randint(x.shape[2] * x.shape[3], (DRAWN,), generator=generator)
    pixels, made = (values.flatten(2)[0][:, place] for values in (x, y))
    finite = made.isfinite().all(dim=0)
    if not finite.any():
        return None
    before, after = linear_light(x), linear_light(y)
    inside = ((before > 0) & (before < 1) & (after > 0) & (after < 1)).all(dim=1, keepdim=True).float()
    side = min(PATCH, *x.shape[2:])
    light, light_made, share = (avg_pool2d(values, side).flatten(2)[0] for values in (before, after, inside))
    whole = ((share[0] >= INSIDE) & light_made.isfinite().all(dim=0)).nonzero()[:, 0]
    whole = whole[torch.randperm(len(whole), generator=generator)[:DRAWN]]
    return Sample(pixels[:, finite], made[:, finite], light[:, whole], light_made[:, whole])


@dataclass(eq=False)
class Samples:
    """Colors of many images: of the `MOST` images whose names have the smallest hashes.

    Args:
        seed: determines the images, the pixels and the folds.
    """

    seed: int = 0
    _kept: dict[bytes, Sample] = field(default_factory=dict, init=False, repr=False)

    def add(self, name: str, original: Images, made: Images) -> None:
        """Add colors of an image (1, 3, h, w), replacing those of an image of the same name.

        Non-finite pixels are left out; so is an image without others.
        """
        place = hashlib.sha256(f"{self.seed}\n{name}".encode("utf-8", "surrogateescape")).digest()
        if len(self._kept) >= MOST and place > max(self._kept):
            return
        generator = torch.Generator().manual_seed(int.from_bytes(place[:4], "big"))
        sample = sampled(original, made, generator)
        if sample is not None:
            self._kept[place] = sample
        if len(self._kept) > MOST:
            del self._kept[max(self._kept)]

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def in_order(self) -> list[Sample]:
        """Sorted by the hashes of the names."""
        return [self._kept[place] for place in sorted(self._kept)]


@dataclass(frozen=True)
class Fitted:
    """The result of a fit."""

    correction: Correction
    """Fitted on all images; the identity if no candidate helps."""
    kind: str
    """A key of `CANDIDATES`; empty if no candidate helps."""
    images: int
    before: float
    """dE2000 without correction: the mean over images of the mean over pixels."""
    after: float
    """The same of held-out images with the correction; if no candidate helps, with the best of them."""
    gained: PairedDifference
    """Before minus after."""

    @property
    def helps(self) -> bool:
        return bool(self.kind)


def fit(samples: Sequence[Sample]) -> Fitted:
    """Fit the correction with the fewest parameters that helps on held-out images.

    Args:
        samples: of at least `FEWEST` images, in random order: every eighth one is in the same fold.

    Raises:
        ValueError: there are fewer.
    """
    if len(samples) < FEWEST:
        raise ValueError(f"{len(samples)} images are too few to fit on some and judge on others")
    equations = [normal_equations(sample) for sample in samples]
    before = [distance(sample, Correction()) for sample in samples]
    after = {kind: held_out(samples, equations, free) for kind, free in CANDIDATES.items()}
    gained = {kind: paired_difference(before, values) for kind, values in after.items()}
    best = max(gained, key=lambda kind: gained[kind].difference.mean)
    enough = gained[best].difference.mean - TOLERANCE
    chosen = next((kind for kind, gain in gained.items() if gain.difference.mean >= enough and worth(gain)), "")
    used = chosen or best
    correction = solved(sum_of(equations), CANDIDATES[chosen]) if chosen else Correction()
    return Fitted(correction, chosen, len(samples), mean(before), mean(after[used]), gained[used])


def worth(gain: PairedDifference) -> bool:
    """Whether a gain is large enough, and significant."""
    return gain.difference.low >= MARGIN and gain.p <= LEVEL


def held_out(
    samples: Sequence[Sample], equations: Sequence["Equations"], free: tuple[tuple[int, ...], ...]
) -> list[float]:
    """dE2000 of each image under a correction that was fitted on the images of the other folds."""
    found = []
    for fold in range(FOLDS):
        others = [each for i, each in enumerate(equations) if i % FOLDS != fold]
        correction = solved(sum_of(others), free)
        found += [(i, distance(samples[i], correction)) for i in range(fold, len(samples), FOLDS)]
    return [value for _, value in sorted(found)]


def distance(sample: Sample, correction: Correction) -> float:
    """The mean dE2000 over the pixels of an image, rounded to 8 bits."""
    x, y = (values[None, :, :, None] for values in (sample.original, sample.made))
    corrected = as_saved(y if correction == Correction() else correction.apply(y))
    return delta_e(x, corrected).mean.item()


@dataclass(frozen=True, eq=False)
class Equations:
    """The normal equations of the three rows of (M | o), float64."""

    left: Float[Tensor, "3 4 4"]
    right: Float[Tensor, "3 4"]


def normal_equations(sample: Sample) -> Equations:
    """The normal equations of one image. Images have equal weight, regardless of their size."""
    x, y = sample.light.double(), sample.light_made.double()
    columns = torch.cat([y, torch.ones_like(y[:1])])
    weights = slope(x).square() / max(1, x.shape[1])
    weighted = torch.einsum("cn,kn->ckn", weights, columns)
    return Equations(weighted @ columns.T, torch.einsum("ckn,cn->ck", weighted, x))


def slope(light: Tensor) -> Tensor:
    """The derivative of encoded values in [0, 1] by light in (0, 1]: 12.92 near black, 0.44 at white."""
    return torch.where(light <= 0.04045 / 12.92, 12.92, 1.055 / 2.4 * light.clamp(min=1e-4) ** (1 / 2.4 - 1))


def sum_of(equations: Sequence[Equations]) -> Equations:
    """The sum over several images."""
    return Equations(
        torch.stack([each.left for each in equations]).sum(dim=0),
        torch.stack([each.right for each in equations]).sum(dim=0),
    )


def solved(equations: Equations, free: tuple[tuple[int, ...], ...]) -> Correction:
    """The correction with these columns of each row fitted, and the others those of the identity."""
    identity = torch.eye(3, 4, dtype=torch.float64)
    rows = []
    for left, right, row, columns in zip(equations.left, equations.right, identity, free, strict=True):
        chosen = list(columns)
        pull = max(RIDGE * left.diagonal().mean().item(), 1e-12) * torch.eye(len(chosen), dtype=torch.float64)
        change = torch.linalg.solve(left[chosen][:, chosen] + pull, (right - left @ row)[chosen])
        found = row.clone()
        found[chosen] += change
        rows.append(found.tolist())
    matrix = tuple((red, green, blue) for red, green, blue, _ in rows)
    first, second, third = (row[3] for row in rows)
    return Correction(matrix, (first, second, third))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

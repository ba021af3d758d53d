"""The smallest correction of colors that helps on images that it was not fitted on; or that none does.

Candidates have 3 to 12 free numbers. Each row c of (M | o) is a least-squares fit in linear light, weighted and drawn
to the identity:

    min  E[ w_c (x_c - (M y + o)_c)^2 ] + r |(M | o)_c - identity|^2,      w_c = (d encode / d light at x_c)^2

over the mean colors x, y of patches: what a VAE does to detail is noise here, and noise in y would draw the fit to
less contrast (regression dilution), which makes dE worse. The weights make it the error in encoded values, to first
order: without them shadows, where an eye sees small differences of light, would not count. Patches with many pixels at
an end of the range in either image are left out: what was clipped there is no longer affine.

Images are held out in turn (cross-validation): each is judged by a correction fitted on others. What is saved is
fitted on all.
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
"""Images: with fewer, the sign-flip test cannot say anything at the level below, 2 / 2^7 being above it."""
LEVEL = 0.05 / 5
"""Of the test: one in twenty, shared by five candidates (Bonferroni)."""
MARGIN = 0.05
"""dE2000, mean over images, that must surely be gained: the lower end of the 95 % interval. Less is not worth a
change of every pixel, and did not carry over to other images where we tried it: see `docs/correction.md`."""
TOLERANCE = 0.02
"""dE2000 by which a smaller candidate may be worse than the best one."""
PATCH = 16
"""Pixels of a side of a patch."""
INSIDE = 0.9
"""The share of its pixels that must be inside the range."""
DRAWN = 4096
"""Patches, and pixels, that are drawn from each image at the most."""
MOST = 256
"""Images of which they are kept: 50 MB, however many there are."""
FOLDS = 8
RIDGE = 1e-4
"""Of the mean of the diagonal of the normal equations."""

CANDIDATES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "gain per channel": ((0,), (1,), (2,)),
    "offset per channel": ((3,), (3,), (3,)),
    "gain and offset per channel": ((0, 3), (1, 3), (2, 3)),
    "3x3 matrix": ((0, 1, 2),) * 3,
    "3x3 matrix and offset": ((0, 1, 2, 3),) * 3,
}
"""Which columns of (M | o) are free in each row; the smallest first."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Colors of one image, on both sides of a VAE."""

    original: Pixels
    """In [-1, 1], on the levels of a file."""
    made: Pixels
    """As the VAE gave it, finite."""
    light: Patches
    """Mean linear light of patches of the original."""
    light_made: Patches
    """Of the same patches of what the VAE gave."""


def sampled(x: Images, y: Images, generator: torch.Generator) -> Sample | None:
    """Colors of an image (1, 3, h, w) and of what a VAE made of it; None where nothing of that is finite."""
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
    """Colors of many images: at most `MOST`, the same for everybody, those whose name's hash is the smallest.

    Args:
        seed: another one chooses other images, other pixels and other folds.
    """

    seed: int = 0
    _kept: dict[bytes, Sample] = field(default_factory=dict, init=False, repr=False)

    def add(self, name: str, original: Images, made: Images) -> None:
        """Keep colors of an image (1, 3, h, w); one that has this name already is replaced.

        Pixels that are not finite are left out, and an image that has no others.
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
        """By the hashes of their names."""
        return [self._kept[place] for place in sorted(self._kept)]


@dataclass(frozen=True)
class Fitted:
    """What came of a fit."""

    correction: Correction
    """Fitted on all images; the identity where none helps."""
    kind: str
    """Of `CANDIDATES`; empty where none helps."""
    images: int
    before: float
    """dE2000 of held-out images without it: the mean over images of the mean over pixels."""
    after: float
    """The same with it; without a correction that helps, the least that any candidate had."""
    gained: PairedDifference
    """Before minus after."""

    @property
    def helps(self) -> bool:
        return bool(self.kind)


def fit(samples: Sequence[Sample]) -> Fitted:
    """The smallest correction that helps, judged on held-out images.

    Args:
        samples: of `FEWEST` images or more, in an order that says nothing of them: every eighth is held out at once.

    Raises:
        ValueError: fewer.
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
    """Whether it is surely large enough, and no chance."""
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
    """The mean dE2000 over the pixels of an image, as an 8-bit file has it."""
    x, y = (values[None, :, :, None] for values in (sample.original, sample.made))
    corrected = as_saved(y if correction == Correction() else correction.apply(y))
    return delta_e(x, corrected).mean.item()


@dataclass(frozen=True, eq=False)
class Equations:
    """The normal equations of the three rows of (M | o), float64."""

    left: Float[Tensor, "3 4 4"]
    right: Float[Tensor, "3 4"]


def normal_equations(sample: Sample) -> Equations:
    """Those of one image: every image weighs the same, whatever its size."""
    x, y = sample.light.double(), sample.light_made.double()
    columns = torch.cat([y, torch.ones_like(y[:1])])
    weights = slope(x).square() / max(1, x.shape[1])
    weighted = torch.einsum("cn,kn->ckn", weights, columns)
    return Equations(weighted @ columns.T, torch.einsum("ckn,cn->ck", weighted, x))


def slope(light: Tensor) -> Tensor:
    """How fast encoded values in [0, 1] grow with light in (0, 1]: 12.92 near black, falling to 0.44 at white."""
    return torch.where(light <= 0.04045 / 12.92, 12.92, 1.055 / 2.4 * light.clamp(min=1e-4) ** (1 / 2.4 - 1))


def sum_of(equations: Sequence[Equations]) -> Equations:
    """Those of several images together."""
    return Equations(
        torch.stack([each.left for each in equations]).sum(dim=0),
        torch.stack([each.right for each in equations]).sum(dim=0),
    )


def solved(equations: Equations, free: tuple[tuple[int, ...], ...]) -> Correction:
    """The correction with these columns of each row free, and the others those of the identity."""
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

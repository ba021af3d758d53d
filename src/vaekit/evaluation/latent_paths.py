"""Measures between latents: decoded interpolations of nearest neighbors, and paths between random pairs.

They run over the data again, with the latents of all items from the first pass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.errors import BadItem
from vaekit.evaluation.latent_store import LatentStore
from vaekit.evaluation.measures import ItemMeasure, PooledMeasure, PooledResult, Result, result_of
from vaekit.evaluation.perception import Features, PerceptualDistance
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.latents.ghost import ghost_index
from vaekit.latents.paths import linear
from vaekit.metrics.frechet import RunningGaussian, frechet_distance
from vaekit.metrics.latent.neighbors import nearest
from vaekit.metrics.latent.path_shape import TRIMMED, path_shape, trimmed
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import RunningMean
from vaekit.normalization import LatentNormalization
from vaekit.vae import denormalize

STEPS = 8
"""Steps of a path."""
EPSILON = 1e-4
"""The step of the perceptual path length, relative to the path, as in StyleGAN."""

PPL = Measure(
    "ppl",
    "PPL (alex, lerp)",
    "",
    "lower",
    "Perceptual path length: LPIPS of two points 1e-4 apart on a line between two latents, over 1e-8; 1-99 % of pairs.",
)
RATIO = Measure(
    "path_ratio",
    "path length / distance of ends",
    "",
    None,
    f"Euclidean, {STEPS} equal steps between the latents of two items: 1 for a straight line, and for a cross-fade.",
)
TURN = Measure(
    "path_turn", "turn per step", "degrees", None, f"The mean angle between neighbors of these {STEPS} steps."
)
JUMP = Measure(
    "path_jump", "largest step / mean step", "", "one", f"Of these {STEPS} steps: 1 for even changes, 8 for one jump."
)
GHOST = Measure(
    "ghost_index",
    "ghost index",
    "",
    None,
    "Distance of the middle to the blend of the ends, relative to the ends: 0 for a cross-fade.",
)
ONE_ITEM = "One item has no partner to interpolate with."
SHAPES = (
    "The latents have different shapes, and cannot be interpolated. Give items of one size, for images with --size."
)
BIASED = 2
"""Frechet distances from fewer items than this many times the number of features get a warning."""


@dataclass(eq=False)
class LatentPairs:
    """The latents of measured items, with their partners."""

    names: Sequence[str]
    store: LatentStore

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The place of each item in the store."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def neighbors(self) -> Tensor:
        """The place of the nearest other latent of each."""
        return nearest(len(self.store), self.store.rows)

    @property
    def trouble(self) -> str:
        """Why latents cannot be interpolated; empty if they can."""
        if len(self.store) < 2:
            return ONE_ITEM
        return "" if self.store.shape is not None else SHAPES

    def own(self, vae_pass: VAEPass) -> Tensor:
        """The latents of the items of a batch, (b, z, ...)."""
        return torch.stack([self.store[self.index[name]] for name in vae_pass.names]).to(vae_pass.x.device)

    def neighbor(self, vae_pass: VAEPass) -> Tensor:
        """Their nearest neighbors."""
        places = [int(self.neighbors[self.index[name]]) for name in vae_pass.names]
        return torch.stack([self.store[place] for place in places]).to(vae_pass.x.device)

    def partner(self, vae_pass: VAEPass, item: int) -> Tensor:
        """The latent of another item, drawn at random for one item of a batch."""
        own = self.index[vae_pass.names[item]]
        draw = torch.randint(len(self.store) - 1, (1,), generator=vae_pass.generator(item, "partner")).item()
        return self.store[int(draw) + (draw >= own)].to(vae_pass.x.device)


def decoded(vae_pass: VAEPass, z: Tensor, item: int | None = None) -> Tensor:
    """Decode latents to items of the shape of a batch, or of one of its items; not rounded.

    Raises:
        BadItem: the result is not finite.
    """
    like = vae_pass.x if item is None else vae_pass.x[item : item + 1].expand(len(z), *vae_pass.x.shape[1:])
    x = vae_pass.runner.decode(z, like)
    if not x.isfinite().all():
        raise BadItem(
            f"An interpolation of {vae_pass.names[item or 0]} decodes to non-finite values.",
            "Expected finite values.",
            "Check the VAE with `vaekit doctor`.",
        )
    return x


def interpolation_measure(
    pairs: LatentPairs, features: Features, normalization: LatentNormalization | None
) -> PooledMeasure:
    """The interpolated Frechet distance, iFID where features are Inception's (Xu et al. 2026, arXiv 2603.05630): over
    diverse VAEs it has a correlation of about 0.85 with the FID of a diffusion model trained on their latents, while
    that of reconstructions (rFID) has none.

        z_i = (E(x_i) + E(x_n(i))) / 2,  n(i) = argmin_j != i |E(x_j) - E(x_i)|    d({features D(z_i)}, {features x_i})

    Neighbors are those among the evaluated items, by Euclidean distance between raw latents; points are the middle of
    a straight line. The authors' program has further variants: neighbors in another set, drawn from the ten nearest,
    cosine distances with spherical paths. Values are comparable only for the same items and features. The same distance
    is measured of reconstructions D(E(x_i)), and of decoded samples of N(0, I), one for each item: as normalized
    latents where the normalization is known, else as raw ones.
    """

    def rows(vae_pass: VAEPass) -> Tensor:
        own = pairs.own(vae_pass)
        middle = (own + pairs.neighbor(vae_pass)) / 2
        latents = (own, middle, noise(vae_pass, own))
        images = (vae_pass.x, *(decoded(vae_pass, each) for each in latents))
        return torch.cat([features.extract(each).float().cpu() for each in images], dim=1)

    def noise(vae_pass: VAEPass, like: Tensor) -> Tensor:
        whole = normalization is not None and not any(size % normalization.patch for size in like.shape[2:])
        samples = [torch.randn(like.shape[1:], generator=vae_pass.generator(i, "prior")) for i in range(len(like))]
        z = torch.stack(samples).to(like)
        if normalization is None or not whole:
            return z
        patched = F.pixel_unshuffle(z, normalization.patch) if normalization.patch > 1 else z
        return denormalize(patched, normalization)

    settings = {
        **features.settings,
        "neighbors": "nearest by Euclidean distance of raw latents",
        "position": 0.5,
        "samples": "raw" if normalization is None else f"normalized, {normalization}",
    }
    return PooledMeasure(features.interpolated.name, rows, lambda: InterpolationPool(features), settings)


@dataclass(eq=False)
class InterpolationPool:
    """Features of items, reconstructions, interpolations and samples, side by side in each row."""

    features: Features

    def __post_init__(self) -> None:
        self.sets = [RunningGaussian(self.features.width) for _ in range(4)]

    def add(self, rows: Tensor) -> None:
        for columns, running in zip(rows.split(self.features.width, dim=1), self.sets, strict=True):
            running.add(columns)

    def result(self) -> PooledResult:
        count, width = self.sets[0].count, self.features.width
        quantities = self.features.quantities
        if count < 2:
            return PooledResult(not_measured=dict.fromkeys((each.name for each in quantities), ONE_ITEM))
        data, *others = (running.gaussian() for running in self.sets)
        results = tuple(
            Result(quantity, max(0.0, frechet_distance(data, other)), count=count)
            for quantity, other in zip(quantities, others, strict=True)
        )
        warnings: tuple[str, ...] = ()
        if count < BIASED * width:
            titles = ", ".join(each.title for each in quantities)
            warnings = (
                f"{titles} from {count:,} items are too large: {width:,} features need {BIASED * width:,} or more. "
                "Compare them only between VAEs on the same items.",
            )
        return PooledResult(results, warnings=warnings)


def length_measure(pairs: LatentPairs, distance: PerceptualDistance) -> PooledMeasure:
    """The perceptual path length (Karras et al. 2019, "A style-based generator", arXiv 1812.04948, section 4.1):

        PPL = E[ d( D(z(t)), D(z(t + eps)) ) / eps^2 ],  z(t) = (1 - t) a + t b,  t uniform in [0, 1), eps = 1e-4

    here with LPIPS of AlexNet, not VGG16, and for the latents a, b of two random items, not samples of a prior: values
    are comparable with each other, not with those of GANs. Of the pairs the least and the greatest 1 % are left out.
    """

    def rows(vae_pass: VAEPass) -> Tensor:
        own = pairs.own(vae_pass)
        return torch.cat([length(vae_pass, i, own[i]) for i in range(len(own))])[:, None]

    def length(vae_pass: VAEPass, item: int, own: Tensor) -> Tensor:
        start = torch.rand(1, generator=vae_pass.generator(item, "ppl"), dtype=torch.float64)
        positions = torch.cat([start, start + EPSILON])
        partner = pairs.partner(vae_pass, item)
        points = decoded(vae_pass, linear(own.double(), partner.double(), positions).to(own.dtype), item)
        return distance.between(points[:1], points[1:]).double().cpu() / EPSILON**2

    settings = {**distance.settings, "epsilon": EPSILON, "path": "linear", "trimmed": list(TRIMMED)}
    return PooledMeasure(PPL.name, rows, LengthPool, settings)


@dataclass(eq=False)
class LengthPool:
    """Path lengths; one value is kept for each item."""

    values: list[float] = field(default_factory=list)

    def add(self, rows: Tensor) -> None:
        self.values += rows[:, 0].double().tolist()

    def result(self) -> PooledResult:
        mean = RunningMean()
        for value in trimmed([value for value in self.values if math.isfinite(value)]):
            mean.add(value)
        if not mean.count:
            return PooledResult(not_measured={PPL.name: "No path has a finite length."})
        return PooledResult((result_of(PPL, mean),))


def path_measure(pairs: LatentPairs) -> ItemMeasure:
    """The shape of the path of decoded items between each item and a random partner, in `STEPS` equal steps along a
    straight line between their latents; see `path_shape` and `ghost_index`."""

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        own = pairs.own(vae_pass)
        values = [shape(vae_pass, i, own[i]) for i in range(len(own))]
        return {
            quantity.name: torch.tensor(column, dtype=torch.float64)
            for quantity, column in zip((RATIO, TURN, JUMP, GHOST), zip(*values, strict=True), strict=True)
        }

    def shape(vae_pass: VAEPass, item: int, own: Tensor) -> tuple[float, float, float, float]:
        positions = torch.linspace(0, 1, STEPS + 1)
        points = linear(own, pairs.partner(vae_pass, item), positions)
        path = torch.cat([decoded(vae_pass, each, item) for each in points.split(1)])
        found, ghost = path_shape(path), ghost_index(path[0], path[STEPS // 2], path[-1])
        return found.ratio, found.turn, found.jump, math.nan if ghost is None else ghost

    return ItemMeasure(
        (RATIO, TURN, JUMP, GHOST), compute, {"steps": STEPS, "path": "linear", "decoded": "not rounded"}
    )

"""Regions of latent space around starting points: bounded in distance, and not less dense than a limit.

Points are vectors (b, d) in standard deviations of the latents along each axis, in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROUNDS = 10
"""Of alternating projections."""
NEWTON_STEPS = 6
INSIDE = 1 - 1e-6
"""The share of the radius of a dense ball to which points are projected: densities are computed in single precision."""
CLOSE = 1e-9
"""A change that ends iterations, in standard deviations or nats."""
HALVINGS = 40
"""Bisections of the way back to the start."""
NEARLY = 0.995
"""The share of a distance from which a bound counts as reached."""

Vectors = Float[Tensor, "b d"]
LogDensity = Callable[[Vectors], Float[Tensor, "b"]]
"""log p in nats, differentiable."""


@dataclass(frozen=True, eq=False)
class Region:
    """For each of several starts, the points that are not too far away and not too improbable."""

    start: Vectors
    """Part of the region."""
    radius: float
    """The maximum Euclidean distance from the start; may be infinite."""
    log_density: LogDensity | None = None
    """None for any density."""
    least: Float[Tensor, "b"] | None = None
    """The minimum of the log-density for each start, at most its own."""
    spherical: bool = False
    """Whether the log-density is -|u|^2 / 2 plus a constant, so that dense points are a ball around 0."""

    @classmethod
    def around(
        cls,
        start: Vectors,
        radius: float,
        log_density: LogDensity | None = None,
        least: float = 0.0,
        spherical: bool = False,
    ) -> "Region":
        """The region around starts. A start that is less dense than `least` lowers the limit for its own points."""
        if log_density is None:
            return cls(start, radius)
        with torch.no_grad():
            return cls(start, radius, log_density, log_density(start).clamp(max=least), spherical)

    def repeated(self, count: int) -> "Region":
        """The region with each start `count` times in a row."""
        least = None if self.least is None else self.least.repeat_interleave(count)
        return replace(self, start=self.start.repeat_interleave(count, dim=0), least=least)

    def selected(self, rows: Tensor) -> "Region":
        """The region of some starts."""
        return replace(self, start=self.start[rows], least=None if self.least is None else self.least[rows])

    def distance(self, u: Vectors) -> Float[Tensor, "b"]:
        """Distances from the starts."""
        return (u - self.start).norm(dim=1)

    def excess(self, u: Vectors) -> Float[Tensor, "b"]:
        """How far log-densities are above the limit, in nats; infinite without one."""
        if self.log_density is None or self.least is None:
            return torch.full((len(u),), math.inf, dtype=u.dtype)
        with torch.no_grad():
            return self.log_density(u) - self.least

    def contains(self, u: Vectors) -> Bool[Tensor, "b"]:
        """Whether points are in the region, exactly."""
        return (self.distance(u) <= self.radius) & (self.excess(u) >= 0)

    def active(self, u: Vectors) -> tuple[Bool[Tensor, "b"], Bool[Tensor, "b"]]:
        """Whether points have reached the bound of the distance, and that of the density: half a percent of the way
        more would leave the region."""
        far = self.distance(u) >= NEARLY * self.radius
        if self.log_density is None:
            return far, torch.zeros_like(far)
        values, gradients = with_gradient(self.log_density, u)
        assert self.least is not None
        away = (values - self.least) / gradients.norm(dim=1)
        return far, away <= (1 - NEARLY) * self.distance(u)

    def project(self, u: Vectors) -> Vectors:
        """Points brought into the region: the nearest points of it if it is spherical, else points near them. Results
        are in the region exactly."""
        near = self._into_ball(u)
        outside = (self.excess(near) < 0).nonzero().flatten()
        if not len(outside):
            return near
        part, near = self.selected(outside), near.clone()
        nearer = part._into_both(u[outside]) if self.spherical else part._alternated(u[outside])
        near[outside] = part._pulled_back(part._into_ball(nearer))
        return near

    def _into_both(self, u: Vectors) -> Vectors:
        """The nearest points of the ball around the start and the dense ball around 0, for points whose nearest ones of
        the first are not in the second: the nearest ones of the second, or on the circle in which both spheres meet."""
        assert self.log_density is not None and self.least is not None
        with torch.no_grad():
            highest = self.log_density(torch.zeros_like(self.start))
        dense = INSIDE * (2 * (highest - self.least)).clamp(min=0).sqrt()[:, None]
        inside = u * (dense / u.norm(dim=1, keepdim=True)).clamp(max=1.0).nan_to_num(nan=1.0)
        lengths = self.start.norm(dim=1, keepdim=True)
        axis = self.start / lengths.clamp(min=torch.finfo(u.dtype).tiny)
        height = (lengths.square() + dense.square() - self.radius**2) / (2 * lengths)
        across = u - (u * axis).sum(dim=1, keepdim=True) * axis
        across = across / across.norm(dim=1, keepdim=True).clamp(min=torch.finfo(u.dtype).tiny)
        corner = height * axis + (dense.square() - height.square()).clamp(min=0).sqrt() * across
        use = (self.distance(inside) <= self.radius)[:, None] | ~corner.isfinite()
        return torch.where(use, inside, corner)

    def _alternated(self, u: Vectors) -> Vectors:
        """Alternate projections on the ball and on the dense points (Boyle & Dykstra 1986, doi
        10.1007/978-1-4613-9940-7_3), whose limit is the nearest point of both if they are convex."""
        p, q = torch.zeros_like(u), torch.zeros_like(u)
        for _ in range(ROUNDS):
            y = self._into_ball(u + p)
            p = u + p - y
            x = self._into_dense(y + q)
            q = y + q - x
            change, u = (x - u).abs().max().item(), x
            if change <= CLOSE * max(1.0, u.abs().max().item()):
                break
        return u

    def _into_ball(self, u: Vectors) -> Vectors:
        shift = u - self.start
        factor = (self.radius / shift.norm(dim=1, keepdim=True)).clamp(max=1.0)
        moved = self.start + shift * factor.nan_to_num(nan=1.0)
        # Rounding may leave a point outside by one unit in the last place.
        outside = (self.distance(moved) > self.radius)[:, None]
        return torch.where(outside, self.start + shift * (factor * (1 - 1e-12)), moved)

    def _into_dense(self, u: Vectors) -> Vectors:
        """Newton steps along the gradient of the log-density: the nearest dense point, if the density falls with the
        distance from one center."""
        assert self.log_density is not None and self.least is not None
        for _ in range(NEWTON_STEPS):
            values, gradients = with_gradient(self.log_density, u)
            missing = (self.least - values).clamp(min=0)
            if missing.max() <= CLOSE:
                break
            squares = gradients.square().sum(dim=1).clamp(min=torch.finfo(u.dtype).tiny)
            u = u + (missing / squares)[:, None] * gradients
        return u

    def _pulled_back(self, u: Vectors) -> Vectors:
        """Points that are not dense enough, moved towards their starts until they are."""
        whole = self.excess(u) >= 0
        if whole.all():
            return u
        low, high = torch.zeros(len(u), dtype=u.dtype), torch.ones(len(u), dtype=u.dtype)
        shift = u - self.start
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            inside = self.excess(self.start + middle[:, None] * shift) >= 0
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        return torch.where(whole[:, None], u, self.start + low[:, None] * shift)


def with_gradient(function: LogDensity, u: Vectors) -> tuple[Float[Tensor, "b"], Vectors]:
    """Values of a function and their gradients; 0 where they are not finite."""
    with torch.enable_grad():
        points = u.detach().requires_grad_()
        values = function(points)
        (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach().to(u.dtype), gradients.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

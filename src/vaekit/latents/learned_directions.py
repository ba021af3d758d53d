"""Learn directions from labels, orthogonal to what others read, and measure their side effects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vaekit.errors import BadPlan, printable
from vaekit.latents.directions import SHIFT, Direction
from vaekit.latents.probes import METHODS, Probe, Score, Vector, fitted, held_out_score, mean_difference, probe
from vaekit.latents.targets import Target

LEAST_LEFT = 1e-3
"""The length that a unit vector keeps at least when others are held constant."""
Restrict = Callable[[Vector, Sequence[Vector], Tensor, Tensor], Vector]
"""(vector, probes, latents (n, d), weights (n)) -> a vector along which the values of the probes do not change."""

LEAST_STD = 1e-6
"""The smallest standard deviation along a direction, relative to the values of the latents: others are rounding."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A direction that was learned from labels."""

    direction: Direction
    distance: float
    """Steps along it between the means of the classes, or per unit of a property, in the data."""
    score: Score | None
    """Of predictions from positions along the direction; None if there are too few items to hold some out."""
    probe: Probe
    """The linear probe of the same label, which other directions can be made orthogonal to."""


@dataclass(frozen=True)
class Effect:
    """The change of a label by one step along a direction, as a linear probe estimates it."""

    label: str
    change: float
    """In standard deviations of the label."""
    decoded: float | None
    """The same, of latents that were moved, decoded, and encoded again; None if they were not."""
    score: Score | None
    """Of the probe, for data that it was not fitted to; unknown for that of another direction."""


def learn(
    z: Tensor,
    target: Target,
    method: str,
    name: str,
    orthogonal_to: Sequence[Vector] = (),
    kind: str = SHIFT,
) -> Learned:
    """Learn the direction that leads from one class to the other, or to higher values of a property.

    Its unit is the standard deviation of the latents along it, with both classes equally frequent.

    Args:
        z: latents averaged over positions, (n, z); or whole ones (n, z, ...), for a direction that differs by position.
        target: the labels.
        method: of `METHODS`.
        name: of the direction.
        kind: of the direction; of `SPREAD`, z are those of `log_spread`.
        orthogonal_to: probes whose value does not change along the direction, (d), see `flattened`.

    Raises:
        BadPlan: there is no such method, latents do not depend on the label, or nothing is left of the direction.
    """
    if method not in METHODS:
        raise BadPlan(f"There is no method {printable(repr(method))}.", f"Expected {', '.join(METHODS)}.", "")
    x = flattened(z)
    raw = fitted(x, target, METHODS[method])
    smallest = LEAST_STD * x.square().mean().sqrt()
    if not raw.norm() > 0 or spread_along(x, target, raw / raw.norm()) <= smallest:
        raise BadPlan(
            f"The latents do not depend on the label {printable(target.name)}.",
            "Expected different latents for different labels.",
            "Give other data, or another VAE.",
        )
    known = target.known
    vector = RESTRICTIONS[method](raw / raw.norm(), orthogonal_to, x[known], target.weights[known])
    if vector.norm() < LEAST_LEFT or spread_along(x, target, vector / vector.norm()) <= smallest:
        raise BadPlan(
            f"Nothing is left of the direction of {printable(target.name)}: it is a mixture of those that it should be "
            "orthogonal to.",
            "Expected directions of other properties.",
            "Leave some of them out.",
        )
    vector = vector / vector.norm()
    direction = Direction(name, vector.view(z.shape[1:]).float(), spread_along(x, target, vector), kind)
    fit = partial(restricted_fit, method, orthogonal_to)
    distance = (fitted(x, target, mean_difference) @ vector).item() / direction.std
    return Learned(direction, distance, held_out_score(x, target, fit), probe(x, target))


def spread_along(x: Tensor, target: Target, vector: Vector) -> float:
    """The standard deviation of latents (n, d) along a unit vector, weighted as the target's items are."""
    positions, weights = x[target.known] @ vector, target.weights[target.known]
    return (weights @ (positions - weights @ positions).square()).sqrt().item()


def restricted_fit(method: str, others: Sequence[Vector], x: Tensor, values: Tensor, weights: Tensor) -> Vector:
    """A fitted vector along which the values of other probes do not change."""
    return RESTRICTIONS[method](METHODS[method](x, values, weights), others, x, weights)


def held_constant(vector: Vector, others: Sequence[Vector], x: Tensor, weights: Tensor) -> Vector:
    """A mean difference with the values of other probes held constant: the slope of a regression of latents on the
    label and these values together.

    What is subtracted are the changes of latents that come with these values in the data, which decoders follow. The
    probes themselves may point to where no data are, and subtracting them would change little of what is decoded.
    """
    if not others:
        return vector
    probes = torch.stack([other / other.norm() for other in others], dim=1)
    centered = x - weights @ x
    patterns = centered.T @ (weights[:, None] * (centered @ probes))
    rest = vector - patterns @ (torch.linalg.pinv(probes.T @ patterns) @ (probes.T @ vector))
    return orthogonal(rest, others)  # exactly, after rounding


def orthogonal(vector: Vector, others: Sequence[Vector]) -> Vector:
    """The part of a vector that is orthogonal to others.

    >>> orthogonal(torch.tensor([1.0, 2.0]), [torch.tensor([3.0, 0.0])]).tolist()
    [0.0, 2.0]
    """
    if not others:
        return vector
    basis, lengths, _ = torch.linalg.svd(torch.stack([other / other.norm() for other in others]).T, full_matrices=False)
    basis = basis[:, lengths > LEAST_LEFT * lengths[0]].to(vector)
    for _ in range(2):  # the second time for what rounding left
        vector = vector - basis @ (basis.T @ vector)
    return vector


def orthogonal_part(vector: Vector, others: Sequence[Vector], x: Tensor, weights: Tensor) -> Vector:
    """See `orthogonal`; the latents do not matter."""
    del x, weights
    return orthogonal(vector, others)


RESTRICTIONS: Mapping[str, Restrict] = {"mean": held_constant, "ridge": orthogonal_part}


def flattened(z: Tensor) -> Tensor:
    """Latents (n, ...) as vectors (n, d) in float64."""
    return z.flatten(1).double()


def effect(
    label: str,
    direction: Direction,
    weights: Vector,
    decoded_step: Vector | None = None,
    score: Score | None = None,
) -> Effect:
    """The change of a label by one step along a direction.

    Args:
        label: its name.
        direction: the direction.
        weights: of its probe, (d): standard deviations of the label per unit of the latents.
        decoded_step: the mean change of latents by one step after decoding and encoding again, (d).
        score: of the probe.
    """
    change = direction.std * (weights @ direction.vector.flatten().double()).item()
    return Effect(label, change, None if decoded_step is None else (weights @ decoded_step).item(), score)


def side_effects(
    z: Tensor, direction: Direction, targets: Sequence[Target], decoded_step: Vector | None = None
) -> list[Effect]:
    """The effects of a direction on other labels of the same items, whose probes are fitted here; see `effect`."""
    x = flattened(z)
    probes = [(target, probe(x, target)) for target in targets]
    return [effect(target.name, direction, each.weights, decoded_step, each.score) for target, each in probes]

"""Learned directions: planted ones are recovered, orthogonal ones stay orthogonal, side effects are the closed form."""

import numpy as np
import pytest
import torch
from refusals import refuses

from vaekit.errors import BadPlan
from vaekit.latents.learned_directions import effect, flattened, learn, orthogonal, side_effects
from vaekit.latents.probes import METHODS, probe
from vaekit.latents.targets import target_of

WIDTH = 8


def unit(seed: int, width: int = WIDTH) -> torch.Tensor:
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def planted(count: int = 4000, shape: tuple[int, ...] = (WIDTH,), seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def numbers(values: torch.Tensor) -> list[str | None]:
    return [repr(value) for value in values.tolist()]


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.flatten().double(), other.flatten().double()
    return (one @ other / one.norm() / other.norm()).item()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("shape", [(WIDTH,), (2, 2, 2)])
def test_a_planted_direction_is_recovered(method: str, classes: bool, shape: tuple[int, ...]) -> None:
    vector, z = unit(1), planted(shape=shape)
    along = (z.flatten(1) - z.flatten(1).mean(dim=0)) @ vector
    labels = ["yes" if value > 0.5 else "no" for value in along.tolist()] if classes else numbers(along)
    learned = learn(z, target_of("x", labels), method, "x")
    assert learned.direction.vector.shape == shape and cosine(learned.direction.vector, vector) > 0.99
    assert learned.score is not None and learned.score.explained > 0.9
    torch.testing.assert_close(learned.direction.vector.norm(), torch.tensor(1.0))


@pytest.mark.parametrize("method", METHODS)
def test_class_balance_does_not_matter(method: str) -> None:
    vector, z = unit(1), planted(8000)
    positive = torch.arange(8000) < 200
    z = z + 2 * positive[:, None] * vector
    target = target_of("x", [str(bool(each)) for each in positive])
    rare = learn(z, target, method, "x").direction
    even = learn(z[:400], target_of("x", [str(i < 200) for i in range(400)]), method, "x").direction
    assert cosine(rare.vector, vector) > 0.95 and cosine(rare.vector, even.vector) > 0.9
    assert rare.std == pytest.approx(even.std, rel=0.1)
    repeated = torch.cat([z[:200].repeat(7, 1), z[200:400]])
    again = learn(repeated, target_of("x", [str(i < 1400) for i in range(1600)]), method, "x").direction
    assert cosine(again.vector, even.vector) > (1 - 1e-6 if method == "mean" else 0.99)


@pytest.mark.parametrize("method", METHODS)
def test_a_direction_is_orthogonal_to_what_others_read(method: str) -> None:
    z = planted() @ torch.diag(torch.arange(1.0, WIDTH + 1))
    first, second = z @ unit(1), z @ (unit(1) + unit(2))
    other = probe(flattened(z), target_of("y", numbers(second)))
    learned = learn(z, target_of("x", numbers(first)), method, "x", [other.weights])
    assert abs(cosine(learned.direction.vector, other.weights)) < 1e-6
    assert abs(effect("y", learned.direction, other.weights).change) < 1e-5
    alone = learn(z, target_of("x", numbers(first)), method, "x")
    assert abs(effect("y", alone.direction, other.weights).change) > 0.1


def test_other_labels_are_held_constant_as_in_a_regression_on_both() -> None:
    z = planted(500).double() @ torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3)).double()
    a, other = (z @ unit(1).double()).numpy(), unit(2).double()
    learned = learn(z, target_of("a", numbers(torch.from_numpy(a))), "mean", "a", [other])
    design = np.stack([a, (z @ other).numpy(), np.ones(len(a))], axis=1)
    slope = np.linalg.lstsq(design, z.numpy(), rcond=None)[0][0]
    assert cosine(learned.direction.vector, torch.from_numpy(slope)) == pytest.approx(1, abs=1e-6)
    assert abs(cosine(learned.direction.vector, other)) < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_planted_orthogonal_directions_stay_orthogonal(method: str) -> None:
    z = planted(20_000)
    vectors = [torch.eye(WIDTH)[0], torch.eye(WIDTH)[1]]
    learned = [learn(z, target_of("x", numbers(z @ vector)), method, "x").direction.vector for vector in vectors]
    assert abs(cosine(*learned)) < 0.05


def test_side_effects_on_correlated_labels_are_the_closed_form() -> None:
    z = planted(500).double() @ torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3)).double()
    labels = {"a": z @ unit(1).double(), "b": z @ (unit(1) + 0.5 * unit(2)).double(), "c": z @ unit(3).double()}
    direction = learn(z, target_of("a", numbers(labels["a"])), "mean", "a").direction
    effects = side_effects(z, direction, [target_of(name, numbers(labels[name])) for name in ("b", "c")])
    x = (z - z.mean(dim=0)).numpy()
    covariance = x.T @ x / len(x)
    for found, name in zip(effects, ("b", "c"), strict=True):
        y = (labels[name] - labels[name].mean()).numpy()
        weights = np.linalg.solve(covariance, x.T @ y / len(x)) / y.std()
        a = (labels["a"] - labels["a"].mean()).numpy()
        slope = x.T @ a / len(x)
        vector = slope / np.linalg.norm(slope)
        assert found.label == name and found.score is not None and found.score.r2 == pytest.approx(1, abs=1e-3)
        assert found.change == pytest.approx(float(weights @ vector * np.std(x @ vector)), rel=1e-3)


def test_a_decoded_step_is_read_by_the_same_probes() -> None:
    z, step = planted(100), torch.arange(8.0).double()
    direction = learn(z, target_of("a", numbers(z[:, 0])), "mean", "a").direction
    (found,) = side_effects(z, direction, [target_of("b", numbers(z[:, 1]))], step)
    assert found.decoded == pytest.approx((probe(flattened(z), target_of("b", numbers(z[:, 1]))).weights @ step).item())
    assert effect("b", direction, step).decoded is None


def test_one_step_is_a_standard_deviation_of_the_data() -> None:
    z = planted() * 3 + 7
    direction = learn(z, target_of("x", numbers(z[:, 0])), "mean", "x").direction
    assert direction.std == pytest.approx((z @ direction.vector).std(correction=0).item(), rel=1e-4)
    labels = ["b" if value > 7 else "a" for value in z[:, 0].tolist()]
    between = learn(z, target_of("x", labels), "mean", "x")
    means = [z[[i for i, label in enumerate(labels) if label == kind]].mean(dim=0) for kind in "ab"]
    moved = means[0] + between.distance * between.direction.std * between.direction.vector
    torch.testing.assert_close(moved, means[1], rtol=1e-3, atol=1e-3)
    start = z[:1]
    ahead = direction.move(start, [2.5])
    torch.testing.assert_close(direction.move(ahead, [-2.5]), start)
    assert ((ahead - start) @ direction.vector).item() == pytest.approx(2.5 * direction.std, rel=1e-5)


def test_a_map_moves_each_position_on_its_own() -> None:
    z = planted(2000, (2, 3, 4))
    where = torch.zeros(2, 3, 4)
    where[1, 2, 0] = 1
    direction = learn(z, target_of("x", numbers((z * where).sum(dim=(1, 2, 3)))), "mean", "x").direction
    moved = direction.move(z[:1], [1.0, 0.0])
    assert torch.equal(moved[1], z[0]) and (moved[0] - z[0]).abs().argmax() == where.argmax()


@pytest.mark.parametrize("method", METHODS)
def test_what_gives_no_direction(method: str) -> None:
    z = planted(50)
    target = target_of("x", numbers(z[:, 0]))
    with refuses(BadPlan, "x"):
        learn(torch.ones(50, WIDTH), target, method, "x")
    with refuses(BadPlan, "x"):
        learn(z, target, method, "x", list(torch.eye(WIDTH).double()))
    with refuses(BadPlan, *METHODS):
        learn(z, target, "svm", "x")


def test_others_that_depend_on_each_other_are_projected_out_once() -> None:
    vector, other = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([1.0, 0.0, 0.0]).double()
    found = orthogonal(vector, [other, 2 * other, torch.tensor([1.0, 1.0, 0.0]).double()])
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 3.0]).double())

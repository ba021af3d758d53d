"""Planted faults of color are recovered; where there is none, nothing is corrected; held-out images are held out."""

import pytest
import torch
from refusals import refuses

from vaekit.domains.images import correction_fit
from vaekit.domains.images.correction import Correction
from vaekit.domains.images.correction_fit import (
    CANDIDATES,
    FEWEST,
    Sample,
    Samples,
    distance,
    fit,
    held_out,
    mean,
    normal_equations,
)
from vaekit.metrics.image.lab import encoded_light, linear_light
from vaekit.shapes import Images

COUNT = 12
MATRIX = torch.tensor([[0.90, 0.08, 0.02], [0.05, 0.85, 0.10], [0.02, 0.12, 0.86]])


def image(seed: int, side: int = 96) -> Images:
    """Soft colors, well inside the range."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator) * 1.4 - 0.7
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-0.9, 0.9)


def faulty(x: Images, matrix: torch.Tensor, offset: torch.Tensor, seed: int, noise: float = 0.02) -> Images:
    """The image with a change of its light, and noise as a VAE leaves it."""
    light = torch.einsum("kc,bchw->bkhw", matrix, linear_light(x)) + offset.view(1, 3, 1, 1)
    return encoded_light(light) + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1000))


def planted(matrix: torch.Tensor, offset: tuple[float, ...] = (0.0, 0.0, 0.0), noise: float = 0.02) -> list[Sample]:
    samples = Samples()
    for i in range(COUNT):
        x = image(i)
        samples.add(f"{i}.png", x, faulty(x, matrix, torch.tensor(offset), i, noise))
    return samples.in_order


@pytest.mark.parametrize(
    ("matrix", "offset", "kind"),
    [
        (torch.diag(torch.tensor([0.9, 1.0, 1.1])), (0.0, 0.0, 0.0), "gain per channel"),
        (torch.eye(3), (0.01, 0.0, 0.02), "offset per channel"),
        (torch.diag(torch.tensor([0.8, 0.9, 0.85])), (0.02, 0.01, 0.03), "gain and offset per channel"),
        (MATRIX, (0.0, 0.0, 0.0), "3x3 matrix"),
        (MATRIX, (0.03, 0.01, 0.02), "3x3 matrix and offset"),
    ],
)
def test_the_smallest_correction_that_undoes_a_planted_fault_is_found(
    matrix: torch.Tensor, offset: tuple[float, ...], kind: str
) -> None:
    samples = planted(matrix, offset)
    found = fit(samples)
    assert found.kind == kind
    undone = torch.linalg.inv(matrix)
    back = -undone @ torch.tensor(offset)
    torch.testing.assert_close(torch.tensor(found.correction.matrix), undone, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.tensor(found.correction.offset), back, atol=0.003, rtol=0)
    exact = Correction(tuple(map(tuple, undone.tolist())), tuple(back.tolist()))
    assert found.after <= 1.02 * mean([distance(one, exact) for one in samples])
    assert found.gained.difference.low > 0


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.08])
def test_without_a_fault_nothing_is_corrected(noise: float) -> None:
    found = fit(planted(torch.eye(3), noise=noise))
    assert not found.helps
    assert found.correction == Correction()


def test_a_fault_of_one_image_only_is_not_corrected() -> None:
    samples = Samples()
    for i in range(COUNT):
        x = image(i)
        gain = torch.eye(3) * (0.5 if i == 3 else 1.0)
        samples.add(f"{i}.png", x, faulty(x, gain, torch.zeros(3), i))
    assert not fit(samples.in_order).helps


def test_a_held_out_image_has_no_say_in_its_own_correction() -> None:
    """Whatever becomes of one image, its own correction stays the same, and those of other folds do not."""
    samples = Samples()
    for i in range(COUNT):
        x = image(i)
        samples.add(f"{i}.png", x, faulty(x, MATRIX, torch.zeros(3), i))
    kept, free = samples.in_order, CANDIDATES["3x3 matrix"]
    equations = [normal_equations(one) for one in kept]
    before = held_out(kept, equations, free)
    x = image(50)
    changed = Samples()
    changed.add("other", x, -x)
    equations[0] = normal_equations(changed.in_order[0])
    after = held_out(kept, equations, free)
    together = {i for i in range(COUNT) if i % correction_fit.FOLDS == 0}
    assert {i for i in range(COUNT) if before[i] == after[i]} == together


def test_every_image_is_held_out_of_the_smallest_number_that_is_taken() -> None:
    assert correction_fit.FOLDS <= FEWEST
    assert 2 / 2**FEWEST <= correction_fit.LEVEL < 2 / 2 ** (FEWEST - 1)
    with refuses(ValueError, "7"):
        fit(Samples().in_order + [sample for i in range(7) for sample in one(i)])


def one(seed: int) -> list[Sample]:
    samples = Samples()
    samples.add("x", image(seed), image(seed))
    return samples.in_order


def test_samples_do_not_depend_on_the_order_and_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correction_fit, "MOST", 5)
    there, back = Samples(), Samples()
    for i in range(20):
        there.add(str(i), image(i), image(i))
    for i in reversed(range(20)):
        back.add(str(i), image(i), image(i))
    assert len(there) == len(back) == 5
    for a, b in zip(there.in_order, back.in_order, strict=True):
        assert torch.equal(a.original, b.original)
    other = Samples(seed=1)
    for i in range(20):
        other.add(str(i), image(i), image(i))
    assert not all(torch.equal(a.original, b.original) for a, b in zip(there.in_order, other.in_order, strict=True))


def test_what_is_not_finite_or_clipped_teaches_nothing() -> None:
    x = image(0)
    made = x.clone()
    made[:, :, :40] = torch.nan
    samples = Samples()
    samples.add("some", x, made)
    samples.add("none", x, torch.full_like(x, torch.inf))
    (kept,) = samples.in_order
    assert kept.made.isfinite().all() and kept.light_made.isfinite().all()
    assert kept.original.shape == kept.made.shape
    white = Samples()
    white.add("white", torch.ones_like(x), torch.ones_like(x))
    assert white.in_order[0].light.shape[1] == 0


def test_black_and_white_images_teach_no_colors() -> None:
    """A matrix that grays leave open stays the identity."""
    samples = Samples()
    for i in range(COUNT):
        x = image(i)[:, :1].expand(-1, 3, -1, -1)
        samples.add(str(i), x, x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(i)))
    assert not fit(samples.in_order).helps


def test_a_image_of_nothing_but_white_is_no_trouble() -> None:
    samples = Samples()
    for i in range(FEWEST):
        samples.add(str(i), torch.ones(1, 3, 32, 32), torch.ones(1, 3, 32, 32))
    assert not fit(samples.in_order).helps

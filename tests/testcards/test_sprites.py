"""Sprites: whole, of three shapes, and placed, sized and turned as their factors say."""

import torch

from vaekit.testcards.sprites import COUNTS, drawn, sprites


def factors(**changes: int) -> torch.Tensor:
    usual = {"shape": 0, "scale": 5, "orientation": 0, "x": 16, "y": 16} | changes
    return torch.tensor([list(usual.values())])


def test_they_are_repeatable_whole_and_in_range() -> None:
    first, again = (sprites(64, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert set(first.images.unique().tolist()) == {-1.0, 1.0}
    edges = torch.cat([first.images[..., 0], first.images[..., -1], first.images[..., 0, :]], dim=2)
    assert (edges == -1).all()
    assert ((first.images == 1).flatten(1).sum(dim=1) > 20).all()
    assert (first.factors.max(dim=0).values < torch.tensor(COUNTS)).all()


def test_place_moves_the_center() -> None:
    columns = torch.arange(64) + 0.5

    def center(image: torch.Tensor) -> tuple[float, float]:
        mass = (image[0, 0] + 1) / 2
        return (mass.sum(0) @ columns / mass.sum()).item(), (mass.sum(1) @ columns / mass.sum()).item()

    (left, top), (right, bottom) = center(drawn(factors(x=0, y=31))), center(drawn(factors(x=31, y=0)))
    assert (left, bottom) < (20, 20) and right > 44 and top > 44


def test_scale_grows_and_shapes_differ() -> None:
    areas = [(drawn(factors(scale=scale)) == 1).sum().item() for scale in range(6)]
    assert areas == sorted(areas) and areas[-1] > 3 * areas[0]
    shapes = [drawn(factors(shape=shape)) for shape in range(3)]
    assert not torch.equal(shapes[0], shapes[1]) and not torch.equal(shapes[1], shapes[2])


def test_a_quarter_turn_turns_an_ellipse() -> None:
    upright, lying = drawn(factors(shape=1)), drawn(factors(shape=1, orientation=10))
    rows = [(image == 1).any(dim=3).sum().item() for image in (upright, lying)]
    assert rows[0] > 1.5 * rows[1]

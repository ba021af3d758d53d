"""The built-in cards: deterministic, of any size, and what they say they are."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from vaekit.testcards.cards import Card, cards
from vaekit.testcards.color_checker import PATCHES, color_checker
from vaekit.testcards.ramps import PRIMARIES, color_ramps, ramp
from vaekit.testcards.slanted import GROUND, slanted_edges
from vaekit.testcards.text import SIZES, text_card
from vaekit.testcards.zone_plate import zone_plate

ALL = cards()


@pytest.mark.parametrize("card", ALL, ids=lambda card: card.name)
@pytest.mark.parametrize("size", [(16, 16), (33, 90), (256, 160), (120, 301)])
def test_any_size_and_always_the_same(card: Card, size: tuple[int, int]) -> None:
    image = card.draw(size)
    assert image.shape == (1, 3, *size)
    assert image.dtype == torch.float32
    assert image.abs().max() <= 1
    assert torch.equal(image, card.draw(size))


def test_names_are_distinct_and_each_says_what_it_is_for() -> None:
    assert len({card.name for card in ALL}) == len(ALL) == 15
    assert all(card.about.endswith(".") for card in ALL)
    images = [card.draw((48, 64)) for card in ALL]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(images, 2))


def test_ramps_are_straight_from_end_to_end() -> None:
    image = ramp((4, 256))
    torch.testing.assert_close(image[0, 1, 2], torch.linspace(-1, 1, 256))
    assert torch.equal(ramp((256, 4), vertical=True), image.mT)
    tinted = ramp((1, 3), (0.5, 0.0, -0.5), (1.0, 0.0, 0.5))
    assert tinted[0, :, 0].T.tolist() == [[0.5, 0, -0.5], [0.75, 0, 0], [1, 0, 0.5]]


def test_color_ramps_go_from_black_over_the_pure_color_to_white() -> None:
    image = color_ramps((60, 101))[0]
    for strip, color in enumerate(PRIMARIES):
        row = image[:, 10 * strip + 5]
        assert row[:, 0].tolist() == [-1, -1, -1]
        assert row[:, 50].tolist() == pytest.approx(color, abs=1e-6)
        assert row[:, 100].tolist() == [1, 1, 1]
        assert (row[:, 1:] >= row[:, :-1]).all()
    assert torch.equal(color_ramps((101, 60), vertical=True)[0], image.mT)


def test_the_zone_plate_has_the_frequency_it_says() -> None:
    row = zone_plate((257, 257))[0, 0, 128]
    places = torch.arange(257) - 128
    # Along the middle row the phase is pi r^2 / L; near r the pattern repeats every L / r pixels.
    expected = 0.8 * torch.cos(math.pi * places.square() / 257)
    inner = places.abs() < 0.45 * 257
    torch.testing.assert_close(row[inner], expected[inner], atol=1e-4, rtol=0)
    assert row[0].item() == pytest.approx(0, abs=0.05)
    image = zone_plate((257, 257))
    assert torch.equal(image, image.flip(-1))
    assert (image[..., 0, 0] == 0).all()


def test_the_places_of_slanted_edges_hold_one_edge_each() -> None:
    card = slanted_edges((384, 400))
    assert len(card.edges) == 2 * 2 * 4
    assert {edge.vertical for edge in card.edges} == {True, False}
    for edge in card.edges:
        plane = card.image[0, 0, *edge.place]
        plane = plane if edge.vertical else plane.T
        assert min(plane.shape) >= 30
        first, second = edge.values
        torch.testing.assert_close(plane[:, :4], torch.full_like(plane[:, :4], first))
        torch.testing.assert_close(plane[:, -4:], torch.full_like(plane[:, -4:], second))
        steps = (plane[:, 1:] - plane[:, :-1]) * (1 if second > first else -1)
        assert steps.min() > -1e-6
        # Slanted: the edge is in other columns at the other end.
        middles = (steps * torch.arange(steps.shape[1])).sum(dim=1) / steps.sum(dim=1)
        assert (middles[-1] - middles[0]).abs().item() == pytest.approx(
            math.tan(math.radians(5)) * (len(plane) - 1), abs=0.5
        )
    assert (card.image[0, 0, :, 0] == GROUND).all()


def outside(image: Tensor, places: list[tuple[slice, slice]]) -> Tensor:
    covered = torch.zeros(image.shape[-2:], dtype=torch.bool)
    for place in places:
        covered[place] = True
    return image[0, 0][~covered]


def test_text_is_where_the_card_says() -> None:
    card = text_card((512, 768))
    assert {line.size for line in card.lines} == set(SIZES)
    assert len(card.one_of_each) == 2 * len(SIZES)
    for line in card.lines:
        inside = card.image[0, 0, *line.place]
        # Paper all around the letters, ink inside, as dark as the largest letters' but for the smallest sizes.
        assert inside.max() - inside.min() > 1.2
        assert 0 <= line.rows.start < line.rows.stop <= 512
        assert 0 <= line.columns.start < line.columns.stop <= 768
        assert (line.columns.start < 384) != line.light_on_dark
    left = outside(card.image[..., :384], [line.place for line in card.lines if not line.light_on_dark])
    assert ((left - left.max()).abs() > 0.5).float().mean() < 1e-3
    assert not any(
        a.rows.start < b.rows.stop and b.rows.start < a.rows.stop
        for a, b in itertools.combinations([line for line in card.lines if line.light_on_dark], 2)
    )


def test_the_two_halves_say_the_same_in_opposite_polarity() -> None:
    lines = text_card((300, 600)).lines
    assert [line.text for line in lines if line.light_on_dark] == [
        line.text for line in lines if not line.light_on_dark
    ]


def test_a_card_too_small_for_words_has_none() -> None:
    card = text_card((16, 16))
    assert card.lines == ()
    assert card.image.min() == card.image.max()
    assert all(not line.light_on_dark for line in text_card((200, 200)).lines)


@pytest.mark.parametrize("size", [(400, 600), (600, 400), (50, 50)])
def test_patches_of_the_color_checker_have_their_colors(size: tuple[int, int]) -> None:
    card = color_checker(size)
    assert [patch.name for patch in card.patches] == [name for name, _ in PATCHES]
    for patch in card.patches:
        pixels = card.image[0, :, *patch.place]
        assert pixels.numel() >= 3 * 4
        levels = (pixels + 1) * 127.5
        torch.testing.assert_close(
            levels, torch.tensor(patch.color).float().view(3, 1, 1).expand_as(levels), atol=1e-3, rtol=0
        )

"""Integer maps come back as they were; what is damaged is an error."""

import math
import zlib

import numpy as np
import pytest

from vaekit.codec.map_coding import WORD_VALUES, CodedBlock, check_prior, decode_block, encode_block, halvings_of
from vaekit.codec.map_fitting import bits_of, fitted, level_of
from vaekit.codec.map_prior import LARGEST, Integers, MapPrior, wrapped
from vaekit.codec.position_passes import halvings_for, pass_count
from vaekit.errors import BadArchive

pytest.importorskip("constriction")
GOLDEN = (431, 1357047336)
"""The number of words of a fixed block, and their CRC-32."""
SHAPES = [(9, 3, ()), (1, 2, (50,)), (3, 4, (16, 12)), (2, 1, (5, 6, 7)), (1, 1, (1,)), (40, 2, (3, 3))]


def smooth(shape: tuple[int, ...], seed: int = 0) -> Integers:
    """Integers (n, z, *latent) like those of images: neighbors are alike, and some parts are quiet."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 8, shape)
    for axis in range(2, len(shape)):
        values = values + np.roll(values, 1, axis)
    quiet = np.linspace(0.1, 1, shape[0] * shape[1]).reshape(shape[:2] + (1,) * (len(shape) - 2))
    return (values * quiet).round().astype(np.int64)


def flat(values: Integers) -> Integers:
    return values.reshape(*values.shape[:2], -1)


@pytest.mark.parametrize(("items", "channels", "sides"), SHAPES)
@pytest.mark.parametrize("halvings", [None, 0])
def test_integers_come_back(items: int, channels: int, sides: tuple[int, ...], halvings: int | None) -> None:
    values = flat(smooth((items, channels, *sides)))
    sides = tuple(side for side in sides if side > 1)
    prior = fitted(values, sides, halvings_for(items, sides) if halvings is None else halvings)
    check_prior(prior, channels, sides)
    for part in (values, values[-1:]):
        block = encode_block(prior, part, sides)
        assert np.array_equal(decode_block(prior, block, part.shape, sides), part)


def test_integers_of_all_sizes_come_back_from_tables_that_do_not_suit_them() -> None:
    prior = fitted(flat(smooth((4, 2, 16, 16))), (16, 16), 2)
    random = np.random.default_rng(1)
    for values in (
        random.integers(-LARGEST, LARGEST + 1, (3, 2, 256)),
        np.full((1, 2, 256), LARGEST),
        np.tile([LARGEST, -LARGEST], (1, 2, 128)),
    ):
        assert np.array_equal(
            decode_block(prior, encode_block(prior, values, (16, 16)), values.shape, (16, 16)), values
        )


def test_words_are_the_same_on_every_machine() -> None:
    places = np.arange(2 * 3 * 8 * 9).reshape(2, 3, 72)
    values = (places * 37 % 23 - 11) * (1 + places % 5 // 4 * 40)
    counts = np.arange(3 * pass_count(2, 2)).reshape(3, -1)
    weights = np.concatenate([counts[..., None] * 100, np.full((3, 7, 4), 1000) + counts[..., None]], 2)
    levels = (counts[..., None] % 30 + np.arange(8)).astype(np.uint8)
    prior = MapPrior(weights.astype(np.int32), (counts + 20).astype(np.int32), levels)
    block = encode_block(prior, values, (8, 9))
    assert np.array_equal(decode_block(prior, block, values.shape, (8, 9)), values)
    assert (len(block.words), zlib.crc32(block.words.astype("<u4").tobytes())) == GOLDEN


def test_neighbors_and_activity_save_bits() -> None:
    values = flat(smooth((8, 2, 64, 64)))
    bits = {}
    for halvings in (0, 2):
        prior = fitted(values, (64, 64), halvings)
        bits[halvings] = 32 * sum(len(encode_block(prior, values[i : i + 1], (64, 64)).words) for i in range(8))
    _, counts = np.unique(values, return_counts=True)
    entropy = -float(counts @ np.log2(counts / values.size))
    assert bits[2] < 0.95 * bits[0] and bits[2] < 0.95 * entropy


def test_normal_integers_take_their_entropy() -> None:
    values = np.random.default_rng(2).normal(0, 9, (16, 1, 4096)).round().astype(np.int64)
    _, counts = np.unique(values, return_counts=True)
    entropy = -float(counts @ np.log2(counts / values.size))
    assert 32 * len(encode_block(fitted(values, (), 0), values, ()).words) < 1.005 * entropy


def test_the_best_level_has_the_fewest_bits() -> None:
    random = np.random.default_rng(3)
    assert level_of(np.zeros(100, np.int64)) == 0
    for level in (6, 24, 40):
        values = np.abs(random.normal(0, 2 ** (level / 6 - 3), 20_000).round()).astype(np.int64)
        assert abs(level_of(values) - level) <= 1


def test_constant_channels_cost_almost_nothing() -> None:
    values = np.full((4, 3, 256), -17, np.int64)
    prior = fitted(values, (16, 16), 1)
    block = encode_block(prior, values, (16, 16))
    assert len(block.words) <= 16 and np.array_equal(decode_block(prior, block, values.shape, (16, 16)), values)


def test_wrapped_integers_are_those_of_sixteen_bits() -> None:
    values = np.arange(-(2**17), 2**17)
    assert np.array_equal(wrapped(values), values.astype(np.int16).astype(np.int64))


def test_damaged_words_are_an_error() -> None:
    values = flat(smooth((1, 4, 32, 32)))
    prior = fitted(values, (32, 32), 2)
    block = encode_block(prior, values, (32, 32))
    random = np.random.default_rng(4)

    def refused(words: np.ndarray, checksum: int = block.checksum) -> None:
        with pytest.raises(BadArchive):
            decode_block(prior, CodedBlock(words.astype(np.uint32), checksum), values.shape, (32, 32))

    for _ in range(100):
        words = block.words.copy()
        words[random.integers(len(words) - 1)] ^= np.uint32(1 << random.integers(32))
        refused(words)
    for length in (0, 1, len(block.words) // 2):
        refused(block.words[:length])
    for _ in range(50):
        refused(random.integers(0, 2**32, len(block.words)))
    refused(np.zeros(len(block.words)))
    refused(np.full(len(block.words), 2**32 - 1))
    refused(block.words, block.checksum ^ 1)


def test_more_values_than_words_can_hold_are_refused_at_once() -> None:
    sides = (2**20, 2**20)
    prior = fitted(flat(smooth((4, 2, 16, 16))), (16, 16), 1)
    with pytest.raises(BadArchive):
        decode_block(prior, CodedBlock(np.zeros(100, np.uint32), 0), (1, 2, math.prod(sides)), sides)
    assert float(bits_of(0)[0]) > 32 / WORD_VALUES


@pytest.mark.parametrize(
    "change",
    [
        {"weights": (0, 0, 1, 2**15 + 1)},
        {"weights": (0, 0, 0, -(2**27) - 1)},
        {"weights": (0, 0, 1, -(2**31))},
        {"activities": (0, 1, 0)},
        {"levels": (0, 0, 3, 64)},
    ],
)
def test_parameters_out_of_range_are_an_error(change: dict[str, tuple[int, ...]]) -> None:
    prior = fitted(flat(smooth((4, 2, 16, 16))), (16, 16), 1)
    parts = {name: getattr(prior, name).copy() for name in ("weights", "activities", "levels")}
    for name, (*place, value) in change.items():
        parts[name][tuple(place)] = value
    with pytest.raises(BadArchive):
        check_prior(MapPrior(**parts), 2, (16, 16))


def test_parameters_of_another_number_of_passes_are_an_error() -> None:
    prior = fitted(flat(smooth((4, 2, 16, 16))), (16, 16), 1)
    assert halvings_of(prior, (16, 16)) == 1 and prior.weights.shape[1] == pass_count(2, 1)
    for channels, sides in ((3, (16, 16)), (2, (16,)), (2, ()), (2, (16, 16, 16))):
        with pytest.raises(BadArchive):
            check_prior(prior, channels, sides)

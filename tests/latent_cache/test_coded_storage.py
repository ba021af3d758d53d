"""Coded latents are the nearest multiples of their steps, in any order of rows; what is damaged is refused."""

import math
from pathlib import Path

import pytest
import torch
from made_cache import description, items, latents
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.errors import BadArchive, BadCache
from vaekit.latent_cache.coded_storage import (
    BLOCK_VALUES,
    block_items,
    is_coded,
    largest_coded,
    restored_coded,
    stored_coded,
)
from vaekit.latent_cache.description import write_description
from vaekit.latent_cache.foreign.own import audit_cache
from vaekit.latent_cache.open import open_cache
from vaekit.latent_cache.shard_files import header_of, latents_path, write_shard
from vaekit.latent_cache.steps import CodingSteps

pytest.importorskip("constriction")
STEPS = (0.1, 0.25, 0.03, 1.0)
SHAPES = [(7, 4), (3, 4, 33), (5, 4, 16, 24), (1, 4, 1, 1), (2, 4, 3, 4, 5)]


def values_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_the_nearest_multiples_of_their_steps(shape: tuple[int, ...]) -> None:
    values, rows = values_of(shape), torch.arange(shape[0]).flip(0).repeat(2)
    tensors = stored_coded("x", values, STEPS)
    assert is_coded(tensors, "x", shape) and not is_coded(tensors, "y", shape)
    assert not is_coded(tensors, "x", (shape[0] + 1, *shape[1:])) and not is_coded(tensors, "x", (*shape, 1))
    step = torch.tensor(STEPS).reshape(-1, *[1] * (len(shape) - 2))
    exact = (values.double() / step.double()).round().float() * step
    assert torch.equal(restored_coded(tensors, "x", rows), exact[rows])


def test_rounded_values_are_stored_without_loss() -> None:
    once = restored_coded(stored_coded("x", values_of((3, 4, 16, 16)), STEPS), "x", torch.arange(3))
    assert torch.equal(restored_coded(stored_coded("x", once, STEPS), "x", torch.arange(3)), once)


def test_small_latents_share_blocks_and_large_ones_have_their_own() -> None:
    assert block_items((1000, 16)) == BLOCK_VALUES // 16 and block_items((9, 4, 64, 64)) == 1
    tensors = stored_coded("x", values_of((1000, 4)), STEPS)
    assert len(tensors["x_blocks"]) == 2
    entropy = sum(math.log2(3 * math.sqrt(2 * math.pi * math.e) / step) for step in STEPS)
    assert sum(tensor.nbytes for tensor in tensors.values()) < 1.06 * 1000 * entropy / 8


def test_the_largest_values_fit() -> None:
    values = largest_coded(STEPS).float().reshape(1, 4, 1, 1).expand(2, 4, 8, 8) * torch.tensor([1, -1]).view(
        2, 1, 1, 1
    )
    back = restored_coded(stored_coded("x", values, STEPS), "x", torch.arange(2))
    assert torch.allclose(back, values)


def changed(tensors: dict[str, Tensor], name: str, index: tuple[int, ...], value: float) -> dict[str, Tensor]:
    copy = {each: tensor.clone() for each, tensor in tensors.items()}
    copy[name][index] = value
    return copy


def test_odd_tensors_are_no_coded_latents() -> None:
    shape = (3, 4, 32, 32)
    good = stored_coded("x", values_of(shape), STEPS)
    assert is_coded(good, "x", shape)
    odd = [
        changed(good, "x_shape", (1,), 5),
        changed(good, "x_step", (0,), 0.0),
        changed(good, "x_step", (0,), float("nan")),
        changed(good, "x_blocks", (0, 0), -1),
        changed(good, "x_blocks", (0, 0), 2**40),
        changed(good, "x_blocks", (2, 0), 2**62),
        changed(good, "x_blocks", (1, 1), 2**32),
        changed(good, "x_levels", (0, 0, 0), 255),
        changed(good, "x_activities", (0, 0), 0),
        changed(good, "x_weights", (0, 1, 1), 2**30),
        good | {"x_words": good["x_words"][:-1]},
        good | {"x_words": good["x_words"].reshape(-1, 4)},
        good | {"x_weights": good["x_weights"][:, :3]},
        good | {"x_weights": good["x_weights"].long()},
        good | {"x_levels": good["x_levels"][0]},
        good | {"x_blocks": good["x_blocks"][:2]},
    ]
    odd += [{name: tensor for name, tensor in good.items() if name != missing} for missing in good]
    assert [place for place, each in enumerate(odd) if is_coded(each, "x", shape)] == []


def test_other_words_are_an_error_for_their_block_only() -> None:
    tensors = stored_coded("x", values_of((3, 4, 32, 32)), STEPS)
    start, end = tensors["x_blocks"][:2, 0].tolist()
    for place in (4 * start + 1, 2 * (start + end), 4 * end - 6):
        bad = changed(tensors, "x_words", (place,), int(tensors["x_words"][place]) ^ 16)
        with pytest.raises(BadArchive):
            restored_coded(bad, "x", torch.tensor([1]))
        assert torch.equal(
            restored_coded(bad, "x", torch.tensor([0, 2])), restored_coded(tensors, "x", torch.tensor([0, 2]))
        )


def test_other_steps_and_parameters_are_an_error() -> None:
    tensors = stored_coded("x", values_of((3, 4, 32, 32)), STEPS)
    for name, index, value in (
        ("x_step", (2,), 0.031),
        ("x_levels", (1, 3, 4), int(tensors["x_levels"][1, 3, 4]) + 1),
        ("x_weights", (0, 2, 0), int(tensors["x_weights"][0, 2, 0]) + 2**13),
        ("x_blocks", (1, 1), int(tensors["x_blocks"][1, 1]) ^ 1),
    ):
        with pytest.raises(BadArchive):
            restored_coded(changed(tensors, name, index, value), "x", torch.arange(3))


def make_coded(folder: Path) -> None:
    made = description("coded", flips=True)
    write_description(folder, made)
    steps = CodingSteps(STEPS)
    write_shard(folder, "s", made, items(["a", "b", "c"], (64, 128)), latents(3, (8, 16), flips=True), (), steps)


def test_caches_of_coded_latents_are_read_like_others(tmp_path: Path) -> None:
    make_coded(tmp_path)
    cache, made = open_cache(tmp_path), latents(3, (8, 16), flips=True)
    mean, log_variance = cache.moments([2, 0], flipped=True)
    assert made.flipped is not None and made.flipped.log_variance is not None and log_variance is not None
    half = torch.tensor(STEPS).reshape(4, 1, 1) / 2
    assert ((mean - made.flipped.mean[[2, 0]]).abs() <= half + 1e-5).all()
    assert ((log_variance - made.flipped.log_variance[[2, 0]]).abs() <= 0.25 + 1e-5).all()


def test_damaged_caches_are_refused(tmp_path: Path) -> None:
    make_coded(tmp_path)
    path = latents_path(tmp_path, "s")
    tensors = load_file(path)
    tensors["mean_words"][100] ^= 1
    save_file(tensors, path, header_of("s", description("coded", flips=True)))
    with pytest.raises(BadCache):
        open_cache(tmp_path).moments([0, 1, 2])
    assert "unreadable" in {finding.kind for finding in audit_cache(tmp_path).findings}
    del tensors["log_variance_levels"]
    save_file(tensors, path, header_of("s", description("coded", flips=True)))
    with pytest.raises(BadCache):
        open_cache(tmp_path).read(0)

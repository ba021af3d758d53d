"""Latent normalization as a plain record: what it takes, compares and says."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from vaekit.distributions import Normal, Point
from vaekit.errors import UnknownNormalization
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE, normalize


def test_the_record_needs_no_torch() -> None:
    code = "import sys, vaekit; vaekit.LatentNormalization(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_lists_and_whole_numbers_become_tuples_of_floats() -> None:
    given: Any = LatentNormalization([0], [1, 2])  # type: ignore[arg-type]
    assert given == LatentNormalization((0.0,), (1.0, 2.0))
    assert all(type(value) is float for value in given.shift + given.scale)
    assert hash(given) == hash(LatentNormalization((0.0,), (1.0, 2.0)))


@pytest.mark.parametrize(
    "normalization",
    [LatentNormalization(), LatentNormalization((0.1159,), (0.3611,)), LatentNormalization((1 / 3,) * 4, (7.0,), 2)],
)
def test_json_and_back(normalization: LatentNormalization) -> None:
    assert LatentNormalization.from_json(json.loads(json.dumps(normalization.as_json()))) == normalization


@pytest.mark.parametrize("value", [None, 5, [], {}, {"shift": [0.0], "scale": [1.0]}])
def test_other_json_is_none(value: object) -> None:
    assert LatentNormalization.from_json(value) is None


def test_mean_and_standard_deviation_are_brought_to_the_target() -> None:
    raw = torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 4 + 3
    std, mean = torch.std_mean(raw, dim=(0, 2, 3))
    normalization = LatentNormalization.from_mean_and_std(mean.tolist(), std.tolist(), target_std=0.5)
    latents = normalize(raw, normalization)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.full((2,), 0.5), atol=1e-5, rtol=0)


def test_values_are_spread_over_channels_after_rearrangement() -> None:
    assert LatentNormalization((1.0,), (2.0,)).per_channel(3) == ((1.0,) * 3, (2.0,) * 3)
    rearranged = LatentNormalization((1.0,), tuple(map(float, range(1, 9))), 2)
    assert rearranged.fits(2) and not rearranged.fits(8)
    assert rearranged.per_channel(2) == ((1.0,) * 8, rearranged.scale)


def test_messages_state_scale_and_shift() -> None:
    assert str(LatentNormalization((0.1159,), (0.3611,))) == "scale 0.3611, shift 0.1159"
    assert str(LatentNormalization((0.0,), (1.0,) * 4)) == "normalization of 4 channels"


def test_a_vae_normalizes_with_its_own() -> None:
    vae = VAE(None, Point, torch.nn.Identity(), Normal, LatentNormalization((1.0,), (0.5,)))
    raw = torch.full((1, 4, 2, 2), 3.0)
    assert torch.equal(vae.normalize(raw), torch.ones_like(raw))
    assert torch.equal(vae.denormalize(torch.ones_like(raw)), raw)


@pytest.mark.parametrize("verb", ["normalize", "denormalize"])
def test_an_unknown_normalization_is_an_error_of_ours(verb: str) -> None:
    vae = VAE(None, Point, torch.nn.Identity(), Normal)
    with pytest.raises(UnknownNormalization):
        getattr(vae, verb)(torch.zeros(1, 4, 2, 2))


# Whether two are the same.

FLUX2 = LatentNormalization(
    tuple(torch.randn(16, generator=torch.Generator().manual_seed(0)).tolist()),
    tuple((torch.rand(16, generator=torch.Generator().manual_seed(1)) + 0.5).tolist()),
    2,
)


def rounded(normalization: LatentNormalization, dtype: torch.dtype) -> LatentNormalization:
    """The mean and the scale as a file of this dtype holds them."""
    shift, scale = (torch.tensor(values).to(dtype).tolist() for values in (normalization.shift, normalization.scale))
    return LatentNormalization(tuple(shift), tuple(scale), normalization.patch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("exact", "channels"),
    [(FLUX2, 4), (LatentNormalization((0.1159,), (0.3611,)), 16), (LatentNormalization((-3.1e-6,), (0.13025,)), 4)],
)
def test_rounding_changes_nothing(exact: LatentNormalization, channels: int, dtype: torch.dtype) -> None:
    assert exact.is_close(rounded(exact, dtype), channels=channels)
    assert rounded(exact, dtype).is_close(exact, channels=channels)


def test_both_sides_may_be_rounded() -> None:
    """A standard deviation and its inverse, both rounded to bf16, differ by more than one rounding."""
    std = torch.linspace(0.3, 0.6, 5000)
    inverse = (1 / std).bfloat16().double().tolist()
    other = (1 / std.bfloat16().double()).tolist()
    zero = (0.0,) * 5000
    pair = LatentNormalization(zero, tuple(inverse)), LatentNormalization(zero, tuple(other))
    assert pair[0].is_close(pair[1], channels=5000)
    assert not pair[0].is_close(pair[1], channels=5000, tolerance=2**-8)


def test_one_value_for_all_channels_equals_one_for_each() -> None:
    scalar = LatentNormalization((0.5,), (2.0,))
    spread = LatentNormalization((0.5,) * 4, (2.0,) * 4)
    assert scalar.is_close(spread, channels=4) and spread.is_close(scalar, channels=4)
    assert not scalar.is_close(LatentNormalization((0.5,) * 4, (2.0, 2.0, 2.0, 2.1)), channels=4)
    assert not scalar.is_close(LatentNormalization((0.5, 0.5, 0.5, 0.6), (2.0,)), channels=4)


@pytest.mark.parametrize(
    ("other", "channels"),
    [
        (LatentNormalization((0.5,), (2.0,), 2), 4),
        (LatentNormalization((0.5,), (-2.0,)), 4),
        (LatentNormalization((-0.5,), (2.0,)), 4),
        (LatentNormalization((0.0,), (2.0,)), 4),
        (LatentNormalization((0.5,) * 4, (2.0,) * 4), 3),
        (LatentNormalization((float("nan"),), (2.0,)), 4),
    ],
)
def test_others_are_not_close(other: LatentNormalization, channels: int) -> None:
    normalization = LatentNormalization((0.5,), (2.0,))
    assert normalization.is_close(normalization, channels=channels)
    assert not normalization.is_close(other, channels=channels)
    assert not other.is_close(normalization, channels=channels)

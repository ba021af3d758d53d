import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy import ndimage
from skimage import color
from slow_cases import nightly

from vaekit.comparison.defects import VOCABULARY, find_defects, thresholds
from vaekit.comparison.signals import Signals, signals

Fault = Callable[[np.ndarray], np.ndarray]
GRAY = np.array([0.299, 0.587, 0.114])


def desaturated(x: np.ndarray) -> np.ndarray:
    gray = (x @ GRAY)[..., None]
    return gray + 0.85 * (x - gray)


def turned(x: np.ndarray) -> np.ndarray:
    values = color.rgb2lab(x)
    z = (values[..., 1] + 1j * values[..., 2]) * np.exp(1j * np.radians(4))
    return color.lab2rgb(np.stack([values[..., 0], z.real, z.imag], axis=-1))


def gridded(x: np.ndarray) -> np.ndarray:
    i, j = np.mgrid[: x.shape[0], : x.shape[1]]
    return x + 2 / 255 * (np.cos(i * np.pi / 4) + np.cos(j * np.pi / 4))[..., None] / 2


def salted(x: np.ndarray) -> np.ndarray:
    y = x.copy()
    y[np.random.default_rng(0).random(x.shape[:2]) < 1e-3] = 1
    return y


def with_corner(x: np.ndarray) -> np.ndarray:
    y = x.copy()
    y[:32, :32] = np.clip(y[:32, :32] + 30 / 255, 0, 1)
    return y


BAR: dict[str, tuple[Fault, set[str]]] = {
    "none": (lambda x: x, set()),
    "desaturate 15 %": (desaturated, {"desaturated"}),
    "contrast -10 %": (lambda x: 0.5 + 0.9 * (x - 0.5), {"low_contrast"}),
    "hue +4": (turned, {"hue_shift"}),
    "brightness +5 %": (lambda x: 1.05 * x, {"brightness_shift"}),
    "blur 1": (lambda x: ndimage.gaussian_filter(x, (1, 1, 0)), {"blurred"}),
    "grid 2/255": (gridded, {"grid"}),
    "banding 5 bit": (lambda x: np.round(x * 31) / 31, {"banding"}),
    "clipped": (lambda x: np.minimum(x, np.quantile(x, 0.9)), {"clipped"}),
    "salt": (salted, {"fried_pixels"}),
}
MORE: dict[str, tuple[Fault, set[str]]] = {
    "oversaturated": (lambda x: (x @ GRAY)[..., None] + 1.2 * (x - (x @ GRAY)[..., None]), {"oversaturated"}),
    "contrast +10 %": (lambda x: 0.5 + 1.1 * (x - 0.5), {"high_contrast"}),
    "sharpened": (lambda x: 2 * x - ndimage.gaussian_filter(x, (1, 1, 0)), {"oversharpened"}),
    "corner": (with_corner, {"corner"}),
    "offset": (lambda x: x + 0.05, {"brightness_shift"}),
    "darker": (lambda x: 0.95 * x, {"brightness_shift"}),
    "both": (lambda x: ndimage.gaussian_filter(desaturated(x), (1, 1, 0)), {"desaturated", "blurred"}),
}


NOISE = (0, 0.5, 1, 2)
"""Standard deviations in levels of 255: decoders always add some."""


def noisy(y: np.ndarray, level: float) -> np.ndarray:
    """The 8-bit image with Gaussian noise."""
    eight = np.round(np.clip(y, 0, 1) * 255) / 255
    return eight + np.random.default_rng(1).normal(0, level / 255, y.shape) if level else y


def as_images(x: np.ndarray) -> torch.Tensor:
    eight = np.round(np.clip(x, 0, 1) * 255) / 255
    return torch.from_numpy(eight).permute(2, 0, 1).unsqueeze(0).float() * 2 - 1


def named(x: np.ndarray, y: np.ndarray) -> set[str]:
    return {defect.name for defect in find_defects([signals(as_images(x), as_images(y))])}


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut() / 255


@pytest.mark.parametrize("case", [*BAR, *MORE])
@pytest.mark.parametrize("image", ["coffee", *nightly("astronaut")])
def test_the_planted_defect_is_named_and_no_other(case: str, image: str) -> None:
    x = getattr(skimage.data, image)() / 255
    fault, wanted = {**BAR, **MORE}[case]
    assert named(x, fault(x)) == wanted


@pytest.mark.parametrize("case", [*BAR, "sharpened", "corner", "six bits", "dark clipped"])
def test_noise_hides_no_defect_and_is_none(case: str) -> None:
    x = skimage.data.coffee()[100:244, 150:294] / 255
    extra: dict[str, tuple[Fault, set[str]]] = {
        "six bits": (lambda x: np.floor(x * 255 / 4) * 4 / 255, {"banding"}),
        "dark clipped": (lambda x: np.maximum(x, 40 / 255), {"clipped"}),
    }
    fault, wanted = {**BAR, **MORE, **extra}[case]
    assert [named(x, noisy(fault(x), level)) for level in NOISE] == [wanted] * len(NOISE)


def test_texture_that_a_blur_removes_is_no_banding(shared_data: Path) -> None:
    """Where the luma of an almost gray image rounds to depends on its texture."""
    x = np.asarray(Image.open(shared_data / "images" / "kodak" / "kodim01.png").convert("RGB")) / 255
    assert named(x, BAR["blur 1"][0](x)) == {"blurred"}


@pytest.mark.nightly
@pytest.mark.parametrize("level", NOISE)
@pytest.mark.parametrize("case", [*BAR, *MORE])
def test_kodak_with_noise(case: str, level: float, shared_data: Path) -> None:
    files = sorted((shared_data / "images" / "kodak").glob("*.png"))
    fault, wanted = {**BAR, **MORE}[case]
    right = []
    for file in files:
        x = np.asarray(Image.open(file).convert("RGB")) / 255
        right.append(named(x, noisy(fault(x), level)) == wanted)
    assert len(right) == len(files) and sum(right) >= 0.95 * len(right)


@pytest.mark.nightly
def test_kodak_passes_the_bar(shared_data: Path) -> None:
    files = sorted((shared_data / "images" / "kodak").glob("*.png"))
    right = []
    for file in files:
        x = np.asarray(Image.open(file).convert("RGB")) / 255
        right += [named(x, fault(x)) == wanted for fault, wanted in BAR.values()]
    assert len(right) == 10 * len(files) and sum(right) >= 0.95 * len(right)


def test_droplets(astronaut: np.ndarray) -> None:
    i, j = np.mgrid[:512, :512]
    y = astronaut.copy()
    for top, left in ((60, 60), (80, 440), (300, 60), (400, 80), (200, 470), (450, 450)):
        y += 0.3 * np.exp(-((i - top) ** 2 + (j - left) ** 2) / 40)[..., None]
    assert named(astronaut, y) == {"droplets"}


def test_values_that_are_not_finite(astronaut: np.ndarray) -> None:
    x = as_images(astronaut)
    y = x.clone()
    y[0, 1, 40:44, 100:104] = math.nan
    y[0, 0, 300, 300] = math.inf
    assert [defect.name for defect in find_defects([signals(x, y)])] == ["nan"]
    assert [defect.name for defect in find_defects([signals(x, torch.full_like(x, math.nan))])] == ["nan"]


def test_a_image_that_became_black_is_nan(astronaut: np.ndarray) -> None:
    x = as_images(astronaut)
    assert [defect.name for defect in find_defects([signals(x, -torch.ones_like(x))])] == ["nan"]
    assert find_defects([signals(-torch.ones_like(x), -torch.ones_like(x))]) == ()


def test_many_images_by_their_median_and_what_is_rare_by_its_mean(astronaut: np.ndarray) -> None:
    good = signals(as_images(astronaut), as_images(astronaut))
    dull = replace(good, saturation=-20.0)
    assert [defect.name for defect in find_defects([dull, dull, good])] == ["desaturated"]
    assert find_defects([dull, good, good]) == ()
    burnt = replace(good, fried=2000.0)
    assert [defect.name for defect in find_defects([burnt] + [good] * 9)] == ["fried_pixels"]
    broken = replace(good, nan=1.0)
    assert [defect.name for defect in find_defects([broken] + [good] * 99)] == ["nan"]
    gray = replace(good, saturation=math.nan, hue=math.nan)
    assert [defect.name for defect in find_defects([gray, gray, dull])] == ["desaturated"]


def test_no_images_have_no_defects() -> None:
    assert find_defects([]) == ()


def test_small_gray_and_flat_images_are_judged_too() -> None:
    noise = torch.rand(1, 3, 17, 300, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for x in (torch.zeros(1, 3, 16, 16), noise[:, :1].expand(1, 3, -1, -1), noise):
        assert find_defects([signals(x, x)]) == ()
    flat = torch.zeros(1, 3, 128, 128)
    assert [defect.name for defect in find_defects([signals(flat, flat + 0.1)])] == ["brightness_shift"]


def test_other_shapes_are_refused() -> None:
    x = torch.zeros(1, 3, 32, 32)
    for given in ((x, x[..., 1:]), (x.repeat(2, 1, 1, 1),) * 2, (x[:, :1],) * 2, (x[..., :15],) * 2):
        # jaxtyping's error, where it checks, is another.
        with pytest.raises((ValueError, jaxtyping.TypeCheckError)):
            signals(*given)


def test_every_name_has_a_threshold_and_a_unit() -> None:
    table = thresholds()
    assert set(table) == set(VOCABULARY) and len(VOCABULARY) == 15
    assert all("least" in entry and "unit" in entry for entry in table.values())


def test_a_defect_tells_its_size_and_evidence(astronaut: np.ndarray) -> None:
    (found,) = find_defects([signals(as_images(astronaut), as_images(desaturated(astronaut)))])
    assert (found.name, found.unit) == ("desaturated", "%")
    assert found.size == pytest.approx(15, abs=0.5)
    assert "15" in found.evidence or "14.9" in found.evidence


def test_signals_are_plain_numbers(astronaut: np.ndarray) -> None:
    seen = signals(as_images(astronaut), as_images(astronaut))
    assert isinstance(seen, Signals)
    assert all(isinstance(value, float) for value in vars(seen).values())

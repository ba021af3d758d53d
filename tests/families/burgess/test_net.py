"""The classical VAEs of disentangling-vae: what their published code does, and digits that one recognizes."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vaekit.checkpoints.load import load
from vaekit.families.burgess.net import BurgessConfig, build
from vaekit.metrics.image.psnr import psnr
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan

TOLERANCE = 1e-5


def strided(tensors: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    return torch.relu(F.conv2d(h, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride=2, padding=1))


def transposed(tensors: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    return F.conv_transpose2d(h, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride=2, padding=1)


def linear(tensors: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    return F.linear(h, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def published_encoder(tensors: dict[str, Tensor], pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels in 0..1 -> mean and log-variance (b, z), read off the published code."""
    h = pixels
    for name in ("conv1", "conv2", "conv3", "conv_64"):
        h = strided(tensors, name, h) if f"{name}.weight" in tensors else h
    h = h.view(len(h), -1)
    for name in ("lin1", "lin2"):
        h = torch.relu(linear(tensors, name, h))
    both = linear(tensors, "mu_logvar_gen", h)
    mean, log_variance = both.view(len(h), -1, 2).unbind(-1)
    return mean, log_variance


def published_decoder(tensors: dict[str, Tensor], z: Tensor) -> Tensor:
    """Latents (b, z) -> pixels in 0..1."""
    for name in ("lin1", "lin2", "lin3"):
        z = torch.relu(linear(tensors, name, z))
    h = z.view(len(z), -1, 4, 4)
    for name in ("convT_64", "convT1", "convT2"):
        h = torch.relu(transposed(tensors, name, h)) if f"{name}.weight" in tensors else h
    return torch.sigmoid(transposed(tensors, "convT3", h))


def digits(shared_data: Path, count: int) -> Tensor:
    """MNIST's first test digits (count, 1, 32, 32) in [-1, 1], enlarged as those that the VAEs were trained on."""
    with gzip.open(shared_data / "images" / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        file.read(16)
        raw = np.frombuffer(file.read(count * 28 * 28), np.uint8).reshape(-1, 28, 28)
    large = [np.array(Image.fromarray(digit).resize((32, 32), Image.Resampling.BILINEAR)) for digit in raw]
    return torch.from_numpy(np.stack(large)).unsqueeze(1).float() / 127.5 - 1


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_is_what_the_published_code_does(size: int, channels: int) -> None:
    torch.manual_seed(0)
    encoder, decoder = build(BurgessConfig(channels, size, 8, 16, 5))
    pixels, z = torch.rand(3, channels, size, size), torch.randn(3, 5)
    moments = encoder(pixels * 2 - 1)
    expected = torch.cat(published_encoder(encoder.state_dict(), pixels), dim=1)
    torch.testing.assert_close(moments, expected[..., None, None], atol=TOLERANCE, rtol=0)
    shown = decoder(z[..., None, None]).sigmoid()
    assert shown.shape == (3, channels, size, size)
    torch.testing.assert_close(shown, published_decoder(decoder.state_dict(), z), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["VAE_mnist", "VAE_celeba", "btcvae_dsprites"])
@torch.no_grad()
def test_published_weights_give_what_their_code_gives(shared_data: Path, name: str) -> None:
    path = shared_data / "vae" / "disentangling" / name / "model.pt"
    vae, tensors = load(path), torch.load(path, "cpu", weights_only=True)
    halves = [
        {key.removeprefix(half): tensor for key, tensor in tensors.items() if key.startswith(half)}
        for half in ("encoder.", "decoder.")
    ]
    side = vae.config.image_size
    pixels = torch.rand(2, vae.config.geometry.channels, side, side, generator=torch.Generator().manual_seed(0))
    mean, log_variance = published_encoder(halves[0], pixels)
    posterior = vae.encode(pixels * 2 - 1)
    torch.testing.assert_close(posterior.mean[:, :, 0, 0], mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(posterior.log_variance[:, :, 0, 0], log_variance, atol=1e-4, rtol=0)
    shown = published_decoder(halves[1], mean)
    torch.testing.assert_close((vae.decode(posterior.mean) + 1) / 2, shown, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "above"),
    [("disentangling/VAE_mnist", 8), ("disentangling/btcvae_mnist", 5), ("joint/mnist", 4)],
)
def test_digits_come_back(shared_data: Path, name: str, above: float) -> None:
    x = digits(shared_data, 200)
    vae = load(shared_data / "vae" / name / "model.pt")
    back = Engine(vae, Plan(batch_size=50)).reconstruct(x)
    baseline = psnr(x, x.mean(dim=0, keepdim=True).expand_as(x)).mean()
    assert psnr(x, back).mean() > baseline + above
    # Each digit comes back as itself, not as an average one.
    distances = torch.cdist(back.flatten(1), x.flatten(1))
    assert (distances.argmin(dim=1) == torch.arange(200)).float().mean() > 0.8


@torch.no_grad()
@pytest.mark.parametrize("name", ["disentangling/VAE_celeba", "joint/celeba"])
def test_faces_come_back(shared_data: Path, name: str) -> None:
    """Gray faces of another collection: the VAEs know color ones, so that only the likeness is asked for."""
    paths = sorted((shared_data / "images" / "faces").rglob("*.pgm"))[::10]
    faces = []
    for path in paths:
        with Image.open(path) as image:
            face = image.convert("RGB").crop((0, 10, 92, 102)).resize((64, 64), Image.Resampling.BILINEAR)
        faces.append(torch.from_numpy(np.array(face)).permute(2, 0, 1).float() / 127.5 - 1)
    x = torch.stack(faces)
    back = Engine(load(shared_data / "vae" / name / "model.pt"), Plan(batch_size=20)).reconstruct(x)
    baseline = psnr(x, x.mean(dim=0, keepdim=True).expand_as(x)).mean()
    assert psnr(x, back).mean() > baseline

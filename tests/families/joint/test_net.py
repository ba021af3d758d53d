"""JointVAE: what its published code does, with its numbers and its choices."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.checkpoints.load import load
from vaekit.distributions import GaussianAndCategoricals, NormalAndUniform
from vaekit.families.joint.net import JointConfig, build


def published_encoder(tensors: dict[str, Tensor], pixels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Pixels in 0..1 -> mean, log-variance and the probabilities of each choice, read off the published code."""
    h = pixels
    for i in range(0, 8, 2):
        if f"img_to_features.{i}.weight" in tensors:
            weight, bias = (tensors[f"img_to_features.{i}.{leaf}"] for leaf in ("weight", "bias"))
            h = torch.relu(F.conv2d(h, weight, bias, stride=2, padding=1))
    hidden = torch.relu(linear(tensors, "features_to_hidden.0", h.view(len(h), -1)))
    choices = [i for i in range(9) if f"fc_alphas.{i}.weight" in tensors]
    probabilities = [F.softmax(linear(tensors, f"fc_alphas.{i}", hidden), dim=1) for i in choices]
    return linear(tensors, "fc_mean", hidden), linear(tensors, "fc_log_var", hidden), probabilities


def published_decoder(tensors: dict[str, Tensor], z: Tensor) -> Tensor:
    """Latents (b, z) -> pixels in 0..1."""
    for i in (0, 2):
        z = torch.relu(linear(tensors, f"latent_to_features.{i}", z))
    h = z.view(len(z), -1, 4, 4)
    layers = [i for i in range(0, 8, 2) if f"features_to_img.{i}.weight" in tensors]
    for i in layers:
        weight, bias = (tensors[f"features_to_img.{i}.{leaf}"] for leaf in ("weight", "bias"))
        h = F.conv_transpose2d(h, weight, bias, stride=2, padding=1)
        h = torch.sigmoid(h) if i == layers[-1] else torch.relu(h)
    return h


def linear(tensors: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    return F.linear(h, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def one_hot(probabilities: list[Tensor]) -> Tensor:
    return torch.cat([F.one_hot(each.argmax(dim=1), each.shape[1]).float() for each in probabilities], dim=1)


@pytest.mark.parametrize("size", [32, 64])
@torch.no_grad()
def test_is_what_the_published_code_does(size: int) -> None:
    torch.manual_seed(0)
    encoder, decoder = build(JointConfig(3, size, 8, 16, 5, (4, 3)))
    pixels = torch.rand(3, 3, size, size)
    q = GaussianAndCategoricals.from_moments(encoder(pixels * 2 - 1), (4, 3))
    mean, log_variance, probabilities = published_encoder(encoder.state_dict(), pixels)
    torch.testing.assert_close(q.gaussian_mean[:, :, 0, 0], mean)
    torch.testing.assert_close(q.log_variance[:, :, 0, 0], log_variance)
    torch.testing.assert_close(q.mean[:, 5:, 0, 0], torch.cat(probabilities, dim=1))
    z = torch.cat([mean, one_hot(probabilities)], dim=1)
    torch.testing.assert_close(q.mode[:, :, 0, 0], z)
    torch.testing.assert_close(decoder(q.mode).sigmoid(), published_decoder(decoder.state_dict(), z))


@pytest.mark.parametrize(("name", "shape"), [("mnist", (1, 32, 32)), ("celeba", (3, 64, 64))])
@torch.no_grad()
def test_published_weights_give_what_their_code_gives(
    shared_data: Path, name: str, shape: tuple[int, int, int]
) -> None:
    path = shared_data / "vae" / "joint" / name / "model.pt"
    vae, tensors = load(path), torch.load(path, "cpu", weights_only=True)
    pixels = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    mean, _, probabilities = published_encoder(tensors, pixels)
    expected = published_decoder(tensors, torch.cat([mean, one_hot(probabilities)], dim=1))
    torch.testing.assert_close((vae.reconstruct(pixels * 2 - 1) + 1) / 2, expected, atol=1e-4, rtol=0)


def test_samples_of_the_prior_are_normal_and_one_hot() -> None:
    prior = NormalAndUniform((3, 2))
    z = prior.sample(torch.empty(3000, 7, 1), torch.Generator().manual_seed(0))
    continuous, *choices = z.split([2, 3, 2], dim=1)
    assert abs(continuous.mean().item()) < 0.05 and abs(continuous.std().item() - 1) < 0.05
    for choice in choices:
        assert set(choice.unique().tolist()) == {0, 1} and torch.equal(choice.sum(dim=1), torch.ones(3000, 1))
        assert (choice.mean(dim=0) - 1 / choice.shape[1]).abs().max() < 0.04
    assert prior.log_prob(z).isfinite().all()

"""Parity with diffusers' autoencoders on single images, those for video included: networks, engine and files."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vaekit import load, save
from vaekit.errors import TooLittleMemory
from vaekit.families import Shapes
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

WEIGHTS = "diffusion_pytorch_model.safetensors"
CLOSE = 1e-4


def theirs_of(name: str, noise: float = 0.03, **settings: Any) -> nn.Module:
    """A network of diffusers whose every weight is random, norms and biases included."""
    if not hasattr(diffusers, name):
        pytest.skip(f"this diffusers has no {name}")
    torch.manual_seed(0)
    theirs: nn.Module = getattr(diffusers, name)(**settings).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape) * noise)
    return theirs


def image(channels: int, height: int, width: int) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def encoded_by(theirs: nn.Module, x: Tensor, video: bool) -> tuple[Tensor, Tensor]:
    """Mean and log-variance; a video of one frame gives one latent frame."""
    posterior = theirs.encode(x.unsqueeze(2) if video else x).latent_dist
    both = posterior.mean, posterior.logvar
    return (both[0].squeeze(2), both[1].squeeze(2)) if video else both


@torch.no_grad()
def decoded_by(theirs: nn.Module, z: Tensor, video: bool) -> Tensor:
    sample = theirs.decode(z.unsqueeze(2) if video else z).sample
    return sample.squeeze(2) if video else sample


@torch.no_grad()
def check_equal(ours: VAE, theirs: nn.Module, height: int, width: int, video: bool = True) -> None:
    """The same moments and images."""
    x = image(ours.config.image_channels, height, width)
    mean, log_variance = encoded_by(theirs, x, video)
    posterior = ours.encode(x)
    assert mean.std() > 0.05
    assert (posterior.mean - mean).abs().max() <= CLOSE
    assert (posterior.log_variance - log_variance).abs().max() <= CLOSE
    decoded = decoded_by(theirs, mean, video)
    assert decoded.std() > 0.05
    assert (ours.decode(mean) - decoded).abs().max() <= CLOSE


@torch.no_grad()
def check_engine(ours: VAE, theirs: nn.Module, height: int, width: int, video: bool = True) -> None:
    """The same in the smallest memory budget that the engine accepts, which is in slabs of rows."""
    x = image(ours.config.image_channels, height, width)
    mean, _ = encoded_by(theirs, x, video)
    assert (in_least_memory(ours, lambda engine: engine.encode(x)).mean - mean).abs().max() <= CLOSE
    decoded = decoded_by(theirs, mean, video)
    assert (in_least_memory(ours, lambda engine: engine.decode(mean)) - decoded).abs().max() <= CLOSE


def in_least_memory(vae: VAE, run: Callable[[Engine], Any]) -> Any:
    """What an engine gives in the smallest budget that it accepts."""
    with pytest.raises(TooLittleMemory) as refused:
        run(Engine(vae, Plan(device="cpu", backend="torch", memory=1)))
    return run(Engine(vae, Plan(device="cpu", backend="torch", memory=refused.value.least)))


def check_layouts(folder: Path, tmp_path: Path, layouts: Iterable[str], opener: str) -> nn.Module:
    """Through these layouts and back to diffusers', every tensor and setting is kept; returns what diffusers opens."""
    source = folder
    for layout in layouts:
        target = tmp_path / f"{layout}.safetensors"
        save(load(source), target, layout)
        source = target
    save(load(source), tmp_path / "again", "diffusers")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) and before[key].shape == after[key].shape for key in before)
    first, opened = (getattr(diffusers, opener).from_pretrained(str(each)) for each in (folder, tmp_path / "again"))
    assert {key: value for key, value in opened.config.items() if key[0] != "_"} == {
        key: value for key, value in first.config.items() if key[0] != "_"
    }
    result: nn.Module = opened.eval()
    return result


def half_of(shapes: Shapes, half: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in shapes.items() if key.startswith(half + ".")}

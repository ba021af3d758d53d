"""Shared by the benchmarks: VAEs, their diffusers counterparts, and memory and time of the process."""

import argparse
import ctypes
import gc
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.utils import logging
from torch import Tensor, nn

import vaekit

MODELS = {"sd1": AutoencoderKL, "tiny": AutoencoderTiny}
HALVES = ("encode", "decode")
FACTOR = 8
"""Pixels along each side for one latent position, of both models."""
MIB = 2**20


def four_widths(text: str) -> list[int]:
    """The channels of the four levels of the larger VAE, as an argument: 128,256,512,512 are those of SD1."""
    widths = [int(width) for width in text.split(",")]
    if len(widths) != 4:
        raise argparse.ArgumentTypeError("four widths are needed, such as 32,32,32,64")
    return widths


def names_among(known: tuple[str, ...], text: str) -> list[str]:
    """The names of a comma-separated argument."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such name: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def write_vae(model: str, widths: list[int], folder: Path) -> None:
    """Random weights in diffusers' layout: "sd1" with these widths, or "tiny" with the shape of TAESD."""
    torch.manual_seed(0)
    make_vae(model, widths).save_pretrained(folder)


def make_vae(model: str, widths: list[int]) -> nn.Module:
    if model == "tiny":
        return AutoencoderTiny().eval()
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32,
    ).eval()


class Half(nn.Module):
    """diffusers' encoder (images -> the posterior's mode) or decoder, as a network with one input and one output."""

    def __init__(self, model: nn.Module, half: str) -> None:
        super().__init__()
        self.model = model
        self.half = half

    def forward(self, given: Tensor) -> Tensor:
        if self.half == "decode":
            return self.model.decode(given).sample
        encoded = self.model.encode(given)
        return encoded.latents if isinstance(self.model, AutoencoderTiny) else encoded.latent_dist.mode()


def diffusers_half(model: str, half: str, folder: Path) -> Half:
    logging.set_verbosity_error()  # it recommends another package, and misses an entry of its own config
    return Half(MODELS[model].from_pretrained(folder).eval(), half)


def run_engine(engine: vaekit.Engine, half: str, given: Tensor) -> Tensor:
    """What `Half` gives, by vaekit."""
    return engine.decode(given) if half == "decode" else engine.encode(given).mode


def sample(half: str, side: int) -> Tensor:
    """A random image to encode, or a random latent to decode to one of this size."""
    generator = torch.Generator().manual_seed(0)
    if half == "encode":
        return torch.rand(1, 3, side, side, generator=generator) * 2 - 1
    return torch.randn(1, 4, side // FACTOR, side // FACTOR, generator=generator)


def heading(*packages: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("vaekit", "torch", "diffusers", *packages))
    return f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, {versions}"


def status(field: str) -> int:
    """A figure of /proc/self/status, in bytes (Linux only)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def forget_peak() -> int:
    """Bring the process's high-water mark (VmHWM) down to the memory that it has now, and return that in bytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or what was freed would be used again, and not be counted again
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def say(line: str) -> None:
    """Progress: the table alone goes to stdout."""
    print(line, file=sys.stderr, flush=True)

"""Encode and decode one picture with the same VAE in vaekit and in diffusers: time and peak memory, in one run.

    python bench/against_diffusers.py [--side 512] [--runs 5] [--widths 128,256,512,512]

The VAE has the size of SD1's (83,653,863 weights) and random values. For the time, both take turns in one process, so
that a machine whose speed drifts treats them alike; the ratio is the median over the pairs. For the memory, each job
runs in a process of its own: the high-water mark above what the process had with the model loaded (Linux only).
"""

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers import AutoencoderKL

import vaekit

JOBS = ("encode", "decode")
SIDES = ("vaekit", "diffusers")
MIB = 2**20
Job = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    options = parse()
    if options.measure:
        print(peak_above_model(*options.measure.split(":"), side=options.side))
        return
    with tempfile.TemporaryDirectory() as folder:
        vae = Path(folder) / "vae"
        make_vae([int(width) for width in options.widths.split(",")]).save_pretrained(vae)
        report(options, vae)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="pixels along each side of the picture")
    parser.add_argument("--runs", type=int, default=5, help="timed pairs of runs, after one that is not counted")
    parser.add_argument("--widths", default="128,256,512,512", help="channels of each level")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_vae(widths: list[int]) -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32,
    ).eval()


def job(side_by: str, name: str, vae: Path) -> Job:
    """One of the four things that are compared, with its model loaded: a function of the input."""
    if side_by == "vaekit":
        engine = vaekit.Engine(vaekit.load(vae), vaekit.Plan(device="cpu"))
        return (lambda picture: engine.encode(picture).mean) if name == "encode" else engine.decode
    model = AutoencoderKL.from_pretrained(vae).eval()
    if name == "encode":
        return torch.no_grad()(lambda picture: model.encode(picture).latent_dist.mean)
    return torch.no_grad()(lambda latent: model.decode(latent).sample)


def sample(name: str, side: int) -> torch.Tensor:
    """A random picture to encode, or a random latent to decode to one of this size."""
    generator = torch.Generator().manual_seed(0)
    if name == "encode":
        return torch.rand(1, 3, side, side, generator=generator) * 2 - 1
    return torch.randn(1, 4, side // 8, side // 8, generator=generator)


def report(options: argparse.Namespace, vae: Path) -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("vaekit", "diffusers", "torch"))
    print(f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, {packages}")
    print(f"VAE of widths {options.widths}, fp32, one picture of {options.side}x{options.side}")
    print(f"{'':8}{'vaekit':>12}{'diffusers':>12}{'ratio':>8}   {'vaekit':>12}{'diffusers':>12}{'ratio':>8}")
    for name in JOBS:
        ours, theirs = (job(side_by, name, vae) for side_by in SIDES)
        given = sample(name, options.side)
        difference = (ours(given) - theirs(given)).abs().max().item()
        pairs = [(seconds(ours, given), seconds(theirs, given)) for _ in range(options.runs)]
        a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(slower / faster for faster, slower in pairs)
        p, q = (peak(side_by, name, vae, options.side) for side_by in SIDES)
        print(
            f"{name:8}{a:>10.2f} s{b:>10.2f} s{ratio:>7.2f}x   "
            f"{p / MIB:>8.0f} MiB{q / MIB:>8.0f} MiB{q / p:>7.2f}x   max |difference| {difference:.1e}"
        )
    print("Ratios are diffusers / vaekit: above 1 is better for vaekit.")


def seconds(work: Job, given: torch.Tensor) -> float:
    started = time.perf_counter()
    work(given)
    return time.perf_counter() - started


def peak(side_by: str, name: str, vae: Path, side: int) -> int:
    """Bytes, measured in a process of its own."""
    call = [sys.executable, __file__, "--measure", f"{side_by}:{name}:{vae}", "--side", str(side)]
    return int(subprocess.run(call, capture_output=True, text=True, check=True).stdout)


def peak_above_model(side_by: str, name: str, vae: str, side: int) -> int:
    """Bytes of resident memory that a job adds at its peak to the process with the model loaded and touched."""
    work, given = job(side_by, name, Path(vae)), sample(name, side)
    work(sample(name, 64))  # so that mapped weights count as loaded
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    before = status("VmRSS")
    work(given)
    return max(status("VmHWM") - before, resource.getpagesize())  # the kernel counts whole pages


def status(field: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()

"""Encode and decode long stereo audio in bounded memory, beside diffusers' AutoencoderOobleck, whole and tiled.

    python bench/audio_stream.py [--seconds 3600] [--compared 60] [--width 8] [--memory 1GiB]

The VAE has the architecture of Stable Audio Open's, with fewer channels and random weights; vaekit runs diffusers' own
networks. Sound is read by ranges and written in blocks, as from a file: it is computed from the positions, and the
result is dropped. The first table has an excerpt on which all sides can run; the error is the largest difference from
the whole run, relative to the largest value. Memory is the peak above that before each run (Linux only); the real-time
factor is seconds of audio per second.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import AutoencoderOobleck
from torch import Tensor, nn

import vaekit
from measuring import MIB, forget_peak, heading, say, status
from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.geometry import ZEROS, Geometry
from vaekit.vae import VAE

RATE = 44100
RATIOS = [2, 4, 4, 8, 8]
HOP = math.prod(RATIOS)
TILE, OVERLAP = 128, 32
"""Latents of a tile, and those that overlap on each side."""
COMPARED_BLOCK = 2**20
"""Positions of an item that are compared at a time."""


@dataclass(frozen=True)
class Shapes:
    """A config with a geometry only."""

    geometry: Geometry


def main() -> None:
    options = parse()
    sys.stdout.reconfigure(line_buffering=True)
    print(heading())
    model = make_model(options.width)
    engine = vaekit.Engine(as_vae(model), vaekit.Plan(device="cpu", memory=options.memory))
    print(f"{sum(each.numel() for each in model.parameters()):,} weights, a latent for every {HOP} samples")
    if options.compared:
        compare(model, engine, options.compared * RATE)
    if options.seconds:
        stream(engine, options.seconds * RATE)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600, help="of the long item; 0 for none")
    parser.add_argument("--compared", type=int, default=60, help="seconds of the excerpt for all sides; 0 for none")
    parser.add_argument("--width", type=int, default=8, help="channels of the first level; 128 in published models")
    parser.add_argument("--memory", default="1GiB", help="the limit of vaekit")
    return parser.parse_args()


def make_model(width: int) -> nn.Module:
    """Stable Audio Open's architecture with random weights; norms of weights are multiplied out, as vaekit does."""
    torch.manual_seed(0)
    model = AutoencoderOobleck(width, RATIOS, decoder_channels=width, decoder_input_channels=width // 2).eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            nn.utils.remove_weight_norm(layer)
    return model


def as_vae(model: nn.Module) -> VAE:
    """The same networks as a VAE of vaekit."""
    encoder, decoder = model.encoder, model.decoder
    encoder.config = decoder.config = Shapes(Geometry(2, model.config.decoder_input_channels, (HOP,), padding=ZEROS))
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace)


def sound(start: int, end: int) -> Tensor:
    """Samples (2, end - start) of a stereo sound of any length: chords that change, with noise."""
    positions = torch.arange(start, end, dtype=torch.float64)
    seconds = positions / RATE
    chord = torch.stack([torch.sin(2 * math.pi * f * seconds * (1 + seconds.floor() % 7 / 7)) for f in (110, 164.8)])
    noise = torch.frac(torch.sin(positions * 12.9898) * 43758.5453) - 0.5
    return (0.4 * chord + 0.1 * noise).float()


@torch.no_grad()
def compare(model: nn.Module, engine: vaekit.Engine, length: int) -> None:
    """Print the table of an excerpt."""
    length -= length % HOP
    latents = model.config.decoder_input_channels
    model.tile_sample_min_length, model.tile_sample_overlap = TILE * HOP, OVERLAP * HOP
    model.tile_latent_min_length, model.tile_latent_overlap = TILE, OVERLAP
    encoders: dict[str, Callable[[], Tensor]] = {
        "diffusers whole": lambda: model.encoder(sound(0, length)[None])[:, :latents],
        "diffusers tiled": lambda: model._tiled_encode(sound(0, length)[None])[:, :latents],
        "vaekit": lambda: engine.encode_stream(sound, length).mode,
    }
    print(f"\n{length / RATE:.0f} s; tiles of {TILE} latents, {OVERLAP} of them overlapping on each side")
    print(f"{'':26}{'seconds':>9}{'real time':>11}{'MiB':>8}{'error':>10}")
    z = table("encode", encoders, length)
    decoders: dict[str, Callable[[], Tensor]] = {
        "diffusers whole": lambda: model.decoder(z),
        "diffusers tiled": lambda: model._tiled_decode(z),
        "vaekit": lambda: written(engine, z),
    }
    table("decode", decoders, length)


def table(half: str, sides: dict[str, Callable[[], Tensor]], length: int) -> Tensor:
    """Print the lines of all sides; returns the result of the first one, which is the reference."""
    reference = None
    for name, run in sides.items():
        say(f"{half}: {name}")
        result, seconds, peak = measured(run)
        reference = result if reference is None else reference
        error = difference(result, reference)
        print(f"{half} {name:19}{seconds:>9.1f}{length / RATE / seconds:>11.1f}{peak / MIB:>8.0f}{error:>10.1e}")
    assert reference is not None
    return reference


def written(engine: vaekit.Engine, z: Tensor) -> Tensor:
    """A decoded item whose blocks are collected, (1, 2, positions)."""
    x = torch.empty(1, 2, z.shape[2] * HOP)
    done = 0

    def write(block: Tensor) -> None:
        nonlocal done
        x[0, :, done : done + block.shape[1]] = block
        done += block.shape[1]

    engine.decode_stream(z, write)
    return x


def difference(result: Tensor, reference: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    pairs = zip(result.split(COMPARED_BLOCK, 2), reference.split(COMPARED_BLOCK, 2), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs) / reference.abs().max().item()


def measured(run: Callable[[], Tensor]) -> tuple[Tensor, float, int]:
    """A result, its seconds, and the peak memory above that at the start in bytes."""
    before = forget_peak()
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start, status("VmHWM") - before


def stream(engine: vaekit.Engine, length: int) -> None:
    """Encode and decode a long item, and print time and memory."""
    print(f"\n{length / RATE:,.0f} s in blocks")
    for each in engine.explain(length, streamed=True):
        say(f"{each.half}: {each.stages} passes, predicted peak {each.predicted_peak / MIB:.0f} MiB")
    posterior, seconds, peak = measured(lambda: engine.encode_stream(sound, length))
    print(f"encode: {seconds:.0f} s, {length / RATE / seconds:.1f} times real time, {peak / MIB:.0f} MiB")
    blocks: list[int] = []
    _, seconds, peak = measured(lambda: engine.decode_stream(posterior.mode, lambda x: blocks.append(x.shape[1])))
    print(f"decode: {seconds:.0f} s, {length / RATE / seconds:.1f} times real time, {peak / MIB:.0f} MiB")
    assert sum(blocks) == -(-length // HOP) * HOP


if __name__ == "__main__":
    main()

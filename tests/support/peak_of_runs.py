"""Run halves of VAEs one after another in a process of its own, and measure the peak memory of each run (Linux only).

    python tests/support/peak_of_runs.py '[["kl", "decode", [8, 700], "fp32", "auto", null]]'

Each job names the family, the half, the size of the image, the dtype, the backend, and the budget: the smallest
sufficient one times a factor, or null for none. The first run of each VAE loads code, and is not measured. Prints a
JSON list of [predicted peak, budget or null, measured peak] in bytes.
"""

import ctypes
import gc
import json
import re
import sys
from pathlib import Path

import torch
from family_examples import EXAMPLES

from vaekit.errors import TooLittleMemory
from vaekit.families import assemble, family_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

WIDE = TinyConfig(3, 4, (), (64,) * 3, (64,) * 3, (1, 1, 1), (1, 1, 1), False)
"""A net of the widths of published ones, whose maps are large compared with what any process takes."""


def vae_named(name: str) -> VAE:
    """A family's small example, or "wide", with random weights."""
    torch.manual_seed(0)
    family, config = ("tiny", WIDE) if name == "wide" else (name, EXAMPLES[name])
    return assemble(family_of(family), config).eval()


def status(field: str) -> int:
    """A value of /proc/self/status in bytes."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


def reset_peak() -> int:
    """Set the high-water mark to the memory that the process has now; that memory in bytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def least_of(vae: VAE, plan: dict[str, str], half: str, size: tuple[int, int]) -> int:
    """The smallest sufficient budget for a half in bytes."""
    engine = Engine(alone(vae, half), Plan(device="cpu", memory="1MiB", **plan))
    try:
        engine.explain(*size)
    except TooLittleMemory as refusal:
        return refusal.least
    raise AssertionError("1 MiB is enough")


def alone(vae: VAE, half: str) -> VAE:
    """A VAE with this half only."""
    encoder, decoder = (vae.encoder, None) if half == "encode" else (None, vae.decoder)
    return VAE(encoder, vae.to_posterior, decoder, vae.to_likelihood, config=vae.config)


def run(engine: Engine, half: str, size: tuple[int, int]) -> None:
    """Encode or decode random values."""
    geometry = engine.geometry
    if half == "encode":
        engine.encode(torch.rand(1, geometry.channels, *size))
    else:
        engine.decode(torch.randn(1, geometry.latent_channels, *geometry.latent_size(size)), size)


def measured(name: str, half: str, size: list[int], dtype: str, backend: str, factor: float | None) -> list[int | None]:
    """Predicted peak, budget and measured peak of one job."""
    vae, shape, settings = vae_named(name), (size[0], size[1]), {"dtype": dtype, "backend": backend}
    run(Engine(alone(vae, half), Plan(device="cpu", **settings)), half, (16, 24))
    budget = None if factor is None else int(factor * least_of(vae, settings, half, shape))
    engine = Engine(alone(vae, half), Plan(device="cpu", memory=budget, **settings))
    (plan,) = engine.explain(*shape)
    before = reset_peak()
    run(engine, half, shape)
    return [plan.predicted_peak, budget, status("VmHWM") - before]


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.stdout.write(json.dumps([measured(*job) for job in json.loads(sys.argv[1])]))

"""Compare predicted with measured peak memory over families, sizes, dtypes and budgets.

    python bench/forecast.py [--families sd1,tiny] [--sides 512,768] [--dtypes fp32,bf16]

Each case runs in a process of its own (Linux only). The VAEs have random weights and common sizes, except for
the largest families, which are narrower here. The peak is the process's high-water mark above the process with the
weights loaded and touched, after a small image has gone through another engine, so that libraries are loaded.
"""

import argparse
import functools
import json
import subprocess
import sys

import torch
from torch import nn

import vaekit
from measuring import HALVES, MIB, forget_peak, heading, names_among, run_engine, say, status
from vaekit.families import Config, assemble, family_of
from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.families.wan.net import WanConfig

WITHIN = 0.15
"""How far from what is measured a prediction may be."""
BUDGET = 0.7
"""Of what the run takes without a budget: what the cases with one are given."""
SD1 = (3, 4, 4, (128, 256, 512, 512), (128, 256, 512, 512), 2, 3, (), (), True, True, True, 32)
STAGES = (256, 256, 512, 512)
SHAPES: dict[str, tuple[str, Config]] = {
    "sd1": ("kl", KLConfig(*SD1)),
    "vq-f8": ("vq", VQConfig(*SD1, codes=256)),
    "tiny": ("tiny", TinyConfig(3, 4, (), (64,) * 4, (64,) * 4, (1, 3, 3, 3), (3, 3, 3, 1), False)),
    "wan": ("wan", WanConfig(3, 16, (64, 128, 256, 256), (256, 256, 256, 128, 64), 2, 3, (), True)),
    "dc-ae": (
        "dcae",
        DCAEConfig(
            *(3, 32, STAGES, STAGES, (1, 1, 1, 1), (1, 1, 1, 1), (3,), (3,), ((), (), (), (5,)), ((), (), (), (5,))),
            *((3,), "conv", "interpolate", 32, (1,), "relu", True, True),
        ),
    ),
}


def main() -> None:
    options = parse()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    sys.stdout.reconfigure(line_buffering=True)
    print(heading())
    print(f"{'':10}{'half':8}{'side':>6} {'dtype':6}{'budget':>9}{'predicted':>11}{'measured':>10}{'ratio':>7}   MiB")
    ratios = []
    for family in options.families:
        for half in options.halves:
            for side in options.sides:
                for dtype in options.dtypes:
                    ratios += case(family, half, side, dtype)
    outside = sum(abs(ratio - 1) > WITHIN for ratio in ratios)
    print(
        f"{len(ratios)} cases, {outside} of them further than {WITHIN:.0%} off; {min(ratios):.2f} to {max(ratios):.2f}"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    families, halves, dtypes = (
        functools.partial(names_among, known) for known in (tuple(SHAPES), HALVES, ("fp32", "bf16", "fp16"))
    )
    parser.add_argument("--families", type=families, default=list(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--halves", type=halves, default=list(HALVES), help=f"of {', '.join(HALVES)}")
    parser.add_argument("--sides", type=lambda text: text.split(","), default=["256", "512", "1024"])
    parser.add_argument("--dtypes", type=dtypes, default=["fp32", "bf16"], help="of fp32, bf16, fp16")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


def case(family: str, half: str, side: str, dtype: str) -> list[float]:
    """Print a line without a budget, and one with less than that took; predicted over measured of both."""
    ratios = []
    budget = 0
    for _ in range(2):
        say(f"{family} {half} {side} {dtype} {budget or ''}")
        call = [sys.executable, __file__, "--measure", family, half, side, dtype, str(budget)]
        done = subprocess.run(call, capture_output=True, text=True)
        words = f"{family:10}{half:8}{side:>6} {dtype:6}{budget / MIB if budget else 0:>9,.0f}"
        if done.returncode:
            print(f"{words}  {(done.stderr.splitlines() or [''])[-1]}")
            break
        found = json.loads(done.stdout)
        ratios.append(found["predicted"] / found["measured"])
        print(f"{words}{found['predicted'] / MIB:>11,.0f}{found['measured'] / MIB:>10,.0f}{ratios[-1]:>7.2f}")
        budget = int(BUDGET * found["predicted"])
    return ratios


# In a process of its own.


def measure(name: str, half: str, side: str, dtype: str, budget: str) -> dict[str, int]:
    """What the plan of one case says, and what the run took, in bytes."""
    family, config = SHAPES[name]
    torch.manual_seed(0)
    vae = assemble(family_of(family), config).eval()
    for other in (None, vae):
        chosen = {} if other is None or budget == "0" else {"memory": int(budget)}
        engine = vaekit.Engine(other or small(), vaekit.Plan(device="cpu", dtype=dtype, **chosen))
        touch(engine.vae)
        pixels = 64 if other is None else int(side)
        geometry, size = engine.geometry, (pixels, pixels)
        shape = (1, 3, *size) if half == "encode" else (1, geometry.latent_channels, *geometry.latent_size(size))
        given = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        before = forget_peak()
        plans = {plan.half: plan.predicted_peak for plan in engine.explain(pixels, pixels)}
        run_engine(engine, half, given)
    return {"predicted": plans[half], "measured": status("VmHWM") - before}


def small() -> nn.Module:
    """A VAE that only loads the libraries."""
    return assemble(family_of("kl"), KLConfig(3, 4, 4, (32,) * 4, (32,) * 4, 2, 3, (), (), True, True, True, 32)).eval()


def touch(vae: nn.Module) -> None:
    """Read each weight once: those of a mapped file count as loaded."""
    for weight in vae.parameters():
        weight.sum()


if __name__ == "__main__":
    main()

"""Peak memory, time and error of the larger VAE with a memory budget, without one, and in diffusers.

    python bench/memory.py [--jobs "decode,decode 1.3 GB,diffusers decode"] [--side 1024] [--runs 1]

The VAE has the size of SD1's (83,653,863 weights, fp32, random values) and runs on the CPU. Each job runs in a process
of its own (Linux only), which first runs a small VAE, so that libraries are loaded, and then loads this one and touches
its weights. The peak is the process's high-water mark above that, which includes what a backend derives from the
weights. A job runs twice: the targets are for the peak of both runs and the time of the second, and hold for --side
1024 with the default widths. The error is the largest difference to the output of the job that it is compared with,
over the range of that output.
"""

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import vaekit
from measuring import (
    FACTOR,
    MIB,
    diffusers_half,
    forget_peak,
    four_widths,
    heading,
    names_among,
    run_engine,
    sample,
    say,
    status,
    write_vae,
)

WIDTHS = [128, 256, 512, 512]
SMALL, SMALL_SIDE = [32, 32, 32, 32], 64
"""Widths and image of the VAE that only loads the libraries."""
SIDE = 1024
EXACT = 1e-4
COLUMNS = {
    "peak: 1st": (11, ",.0f"),
    "both": (9, ",.0f"),
    "predicted": (11, ",.0f"),
    "time: 1st": (11, ".2f"),
    "2nd": (9, ".2f"),
    "ratio": (8, ".2f"),
    "error": (10, ".1e"),
}
"""Title, width and form of each number."""


@dataclass(frozen=True)
class Job:
    """One row of the table."""

    half: str
    times: int = 1
    """Pixels along each side, in multiples of --side."""
    memory: int | None = None
    """Bytes: vaekit's budget, which the peak is to stay in."""
    against: str | None = None
    """The job whose output and time this one's are compared with."""
    slower: float | None = None
    """How many times the other's time this one may take."""
    diffusers: bool = False
    tiled: bool = False
    """With diffusers' own tiling, in tiles of half the side."""


JOBS = {
    "decode": Job("decode", against="diffusers decode"),
    "decode 1.3 GB": Job("decode", memory=1_300_000_000, against="decode", slower=1.15),
    "decode 700 MiB": Job("decode", memory=700 * MIB, against="decode", slower=1.8),
    "decode 2x 2 GiB": Job("decode", times=2, memory=2048 * MIB),
    "encode": Job("encode", against="diffusers encode"),
    "encode 0.9 GB": Job("encode", memory=900_000_000, against="encode"),
    "diffusers decode": Job("decode", diffusers=True),
    "diffusers decode tiled": Job("decode", against="diffusers decode", diffusers=True, tiled=True),
    "diffusers encode": Job("encode", diffusers=True),
    "diffusers encode tiled": Job("encode", against="diffusers encode", diffusers=True, tiled=True),
}


@dataclass(frozen=True)
class Measured:
    """What a process found."""

    first: float
    """Seconds of the first run,"""
    seconds: float
    """and of the second."""
    first_peak: int
    """Bytes above the process with the model loaded and touched, after the first run,"""
    peak: int
    """and after both: what the allocator kept of the first lies around in the second."""
    predicted: int | None


def main() -> None:
    options = parse()
    if options.measure:
        print(json.dumps(vars(measure(options.measure, Path(options.folder), options.side))))
        return
    sys.stdout.reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_vae("sd1", options.widths, Path(folder) / "vae")
        write_vae("sd1", SMALL, Path(folder) / "small")
        print(heading())
        print(f"VAE of widths {options.widths}, fp32, one image; {options.runs} processes for each job")
        failed = report(Path(folder), options)
    sys.exit(1 if failed else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = functools.partial(names_among, tuple(JOBS))
    parser.add_argument("--jobs", type=jobs, default=list(JOBS), help=f"of {', '.join(JOBS)}")
    parser.add_argument("--side", type=int, default=SIDE, help="pixels along each side of the image")
    parser.add_argument("--runs", type=int, default=1, help="rounds of processes; times are medians, peaks the largest")
    parser.add_argument("--widths", type=four_widths, default=WIDTHS, help="channels of the VAE's levels")
    parser.add_argument("--folder", help="where weights and outputs are kept meanwhile")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def report(folder: Path, options: argparse.Namespace) -> bool:
    """Run all jobs and print the table; whether one failed."""
    measured: dict[str, list[Measured]] = {name: [] for name in options.jobs}
    failures: dict[str, str] = {}
    for number in range(options.runs):
        for name in [name for name in options.jobs if name not in failures]:
            say(f"round {number + 1} of {options.runs}: {name}")
            try:
                measured[name].append(in_own_process(name, folder, options.side))
            except subprocess.CalledProcessError as error:
                failures[name] = f"status {error.returncode}: {(error.stderr.splitlines() or [''])[-1]}"
    judged = (options.side, options.widths) == (SIDE, WIDTHS)
    print(" " * 24 + "".join(f"{title:>{width}}" for title, (width, _) in COLUMNS.items()) + f"  {'against':24}bars")
    done = {name: figures for name, figures in measured.items() if name not in failures}
    for name in options.jobs:
        print(f"{name:24}{row(name, done, folder, judged) if name in done else f'  failed with {failures[name]}'}")
    print("Peaks are in MB (millions of bytes) above the loaded model; the ratio is that of the second runs' times.")
    return bool(failures)


def row(name: str, measured: dict[str, list[Measured]], folder: Path, judged: bool) -> str:
    job, own = JOBS[name], measured[name]
    peak = max(m.peak for m in own)
    slower = error = None
    if job.against in measured:
        pairs = zip(own, measured[job.against], strict=True)
        slower = statistics.median(mine.seconds / other.seconds for mine, other in pairs)
        error = relative_error(folder, name, job.against)
    values = (
        max(m.first_peak for m in own) / 1e6,
        peak / 1e6,
        own[0].predicted and own[0].predicted / 1e6,
        statistics.median(m.first for m in own),
        statistics.median(m.seconds for m in own),
        slower,
        error,
    )
    cells = (
        f"{'-' if value is None else format(value, form):>{width}}"
        for value, (width, form) in zip(values, COLUMNS.values(), strict=True)
    )
    verdicts = bars(job, peak, slower, error) if judged else []
    return f"{''.join(cells)}  {job.against or '-':24}{', '.join(verdicts)}"


def bars(job: Job, peak: int, slower: float | None, error: float | None) -> list[str]:
    """What is asked of a job, each with whether it holds."""
    asked: list[tuple[str, float, float | None]] = []
    if job.memory is not None:
        asked = [(f"{job.memory / 1e6:,.0f} MB", job.memory, peak), (f"error {EXACT:.0e}", EXACT, error)]
    if job.slower is not None:
        asked.append((f"{job.slower}x", job.slower, slower))
    return [f"{words} {'holds' if found <= bar else 'MISSED'}" for words, bar, found in asked if found is not None]


def relative_error(folder: Path, name: str, against: str) -> float:
    found, expected = (torch.load(folder / f"{job}.pt") for job in (name, against))
    return ((found - expected).abs().max() / (expected.max() - expected.min())).item()


def in_own_process(name: str, folder: Path, side: int) -> Measured:
    call = [sys.executable, __file__, "--measure", name, "--folder", str(folder), "--side", str(side)]
    return Measured(**json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout))


# In a process of its own.


def measure(name: str, folder: Path, side: int) -> Measured:
    """Run a job twice in this process, and write its output beside the weights."""
    job = JOBS[name]
    start(job, load(job, folder / "small"), sample(job.half, SMALL_SIDE)).run()
    model, given = load(job, folder / "vae"), sample(job.half, side * job.times)
    before = forget_peak()
    started = start(job, model, given)
    times, peaks = [], []
    for _ in range(2):
        output = None  # or the first run's would be there beside the second's
        begun = time.perf_counter()
        output = started.run()
        times.append(time.perf_counter() - begun)
        peaks.append(max(status("VmHWM") - before, resource.getpagesize()))  # the kernel counts whole pages
    if not output.isfinite().all():
        raise ArithmeticError("the output is not finite")
    torch.save(output, folder / f"{name}.pt")
    return Measured(*times, *peaks, started.predicted)


def load(job: Job, folder: Path) -> nn.Module:
    """The model of a job, with each weight read once: those of a mapped file count as loaded."""
    model = diffusers_half("sd1", job.half, folder) if job.diffusers else vaekit.load(folder)
    for weight in model.parameters():
        weight.sum()
    return model


@dataclass(frozen=True)
class Started:
    """A job that is ready to run."""

    run: Callable[[], Tensor]
    predicted: int | None = None
    """Bytes of peak memory, as the engine's plan tells."""


def start(job: Job, model: nn.Module, given: Tensor) -> Started:
    """A job ready to run. The engine is made here: what it makes of the weights is memory that the job takes."""
    if job.diffusers:
        if job.tiled:
            side = given.shape[-1] * (FACTOR if job.half == "decode" else 1)
            model.model.enable_tiling()
            model.model.tile_sample_min_size, model.model.tile_latent_min_size = side // 2, side // 2 // FACTOR
        return Started(torch.no_grad()(functools.partial(model, given)))
    budget = {} if job.memory is None else {"memory": job.memory}
    engine = vaekit.Engine(model, vaekit.Plan(device="cpu", **budget))
    height, width = (side * (1 if job.half == "encode" else FACTOR) for side in given.shape[2:])
    plans = {plan.half: plan.predicted_peak for plan in engine.explain(height, width)}
    return Started(functools.partial(run_engine, engine, job.half, given), plans[job.half])


if __name__ == "__main__":
    main()

"""Encode and decode on a GPU in half precision, with the same weights in vaekit and diffusers: time and peak memory.

    python bench/cuda.py [--jobs decode,encode] [--sides vaekit,diffusers,compiled] [--dtypes bf16,fp16]
                         [--pixels 1024,2048] [--batches 1,8] [--batch-size 1] [--runs 5]

The VAE has the size of SD1's (83,653,863 weights) and random weights. Sides: vaekit, with all images at once or with
--batch-size of them; diffusers eager and diffusers compiled (torch.compile, dynamic=False), both channels_last. All
sides take turns after as many runs as vaekit needs to compile; ratios are medians over the rounds. The peak is torch's
maximum above the loaded weights (`max_memory_allocated`). The share of the device's peak is the floating-point
operations of the plain network (two for each multiply-add, as torch's FlopCounterMode counts them) per second, relative
to a large matrix product in the same dtype in the same run; an algorithm with fewer operations can exceed 1.

Without CUDA it reports that and exits with status 0. `--device cpu` runs it on a CPU as a smoke test, without memory.
"""

import argparse
import functools
import gc
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import vaekit
from measuring import (
    FACTOR,
    HALVES,
    MIB,
    Half,
    diffusers_half,
    four_widths,
    heading,
    make_vae,
    names_among,
    run_engine,
    sample,
    say,
    write_vae,
)
from vaekit.runtime.compiled import UNCOMPILED_RUNS
from vaekit.runtime.plan import DTYPES

SIDES = ("vaekit", "diffusers", "compiled")
BARS = {"diffusers": 1.8, "compiled": 1.2}
"""How many times as fast as each vaekit is to be."""
MEMORY_BAR = 1 / 3
"""The share of diffusers eager's peak that vaekit may take at most."""
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Task:
    """What all sides are to do."""

    half: str
    dtype: str
    folder: Path
    batch_size: int
    """Of vaekit's plan."""
    given: Tensor

    @property
    def device(self) -> torch.device:
        return self.given.device


def main() -> None:
    options = parse()
    sys.stdout.reconfigure(line_buffering=True)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here: nothing was measured.")
        return
    print(f"{heading()}, {card(options.device)}")
    with tempfile.TemporaryDirectory() as folder:
        write_vae("sd1", options.widths, Path(folder))
        for job, dtype, side, batch in itertools.product(options.jobs, options.dtypes, options.pixels, options.batches):
            given = sample(job, side).expand(batch, -1, -1, -1).to(options.device)
            compare(Task(job, dtype, Path(folder), options.batch_size or batch, given), options)
    print("vaekit: how many times as fast as this side it is.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs, sides, dtypes = (functools.partial(names_among, known) for known in (HALVES, SIDES, ("bf16", "fp16", "fp32")))
    parser.add_argument("--jobs", type=jobs, default=["decode", "encode"], help=f"of {', '.join(HALVES)}")
    parser.add_argument("--sides", type=sides, default=list(SIDES), help=f"of {', '.join(SIDES)}")
    parser.add_argument("--dtypes", type=dtypes, default=["bf16", "fp16"], help="of bf16, fp16, fp32")
    parser.add_argument("--pixels", type=numbers, default=[1024, 2048], help="along each side of the images")
    parser.add_argument("--batches", type=numbers, default=[1, 8], help="numbers of images at once")
    parser.add_argument("--batch-size", type=int, help="of vaekit's plan; as many as there are without it")
    parser.add_argument("--runs", type=int, default=5, help="timed rounds")
    parser.add_argument("--widths", type=four_widths, default="128,256,512,512", help="channels of the levels")
    parser.add_argument("--device", default="cuda", help="a torch device")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """A comma-separated argument of whole numbers."""
    return [int(number) for number in text.split(",")]


def card(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def compare(task: Task, options: argparse.Namespace) -> None:
    """Print the table of one job."""
    torch.compiler.reset()  # or the shapes of the jobs before would count
    what = f"{task.half}, {len(task.given)} of {image_words(task)}, {task.dtype}"
    with torch.inference_mode():
        expected = outcome(lambda: diffusers_half("sd1", task.half, task.folder).to(task.device)(task.given[:1]))
    runs, peaks, errors, firsts = {}, {}, {}, {}
    for side in options.sides:
        say(f"{what}: {side}")
        try:
            run, loaded = PREPARED[side](task), allocated(task.device)
            firsts[side], made = timed(run, task.device)
            errors[side] = float("nan") if expected is None else (made[:1].float() - expected).abs().max().item()
            del made
            for _ in range(UNCOMPILED_RUNS):
                firsts[side] = max(firsts[side], timed(run, task.device)[0])
            forget_peak(task.device)
            timed(run, task.device)
            peaks[side], runs[side] = peak(task.device) - loaded, run
        except torch.OutOfMemoryError:
            print(f"\n{what}: {side} runs out of memory")
            run = None
        free(task.device)
    rounds = [{side: timed(run, task.device)[0] for side, run in runs.items()} for _ in range(options.runs)]
    rate, operations = product_rate(task), count_operations(task, options.widths)
    print(f"\n{what}: {operations / 1e12:.4g} TFLOP; matrix products reach {rate / 1e12:.4g} TFLOP/s")
    print(f"{'':11}{'seconds':>9}{'vaekit':>9}{'peak MiB':>10}{'of peak':>9}{'slowest first':>15}{'error':>10}")
    for side in runs:
        taken = statistics.median(times[side] for times in rounds)
        faster = f"{ratio(rounds, side):.2f}x" if "vaekit" in runs else "-"
        print(
            f"{side:11}{taken:>9.4f}{faster:>9}{peaks[side] / MIB:>10.0f}{operations / taken / rate:>9.2f}"
            f"{firsts[side]:>13.1f} s{errors[side]:>10.1e}"
        )
    print_bars(rounds, peaks)


def image_words(task: Task) -> str:
    """The size of the images, in words."""
    rows, columns = (length * (FACTOR if task.half == "decode" else 1) for length in task.given.shape[2:])
    return f"{columns}x{rows}"


def print_bars(rounds: list[dict[str, float]], peaks: dict[str, int]) -> None:
    if "vaekit" not in peaks:
        return
    for side, bar in BARS.items():
        if side in peaks:
            print(f"vaekit is {ratio(rounds, side):.2f}x as fast as {side}; the bar is {bar}x")
    if peaks.get("diffusers", 0) > 0:
        share = peaks["vaekit"] / peaks["diffusers"]
        print(f"vaekit takes {share:.2f} of the memory of diffusers; the bar is {MEMORY_BAR:.2f}")


def ratio(rounds: list[dict[str, float]], side: str) -> float:
    """How many times as fast as a side vaekit is: the median over the rounds."""
    return statistics.median(times[side] / times["vaekit"] for times in rounds)


def timed(run: Run, device: torch.device) -> tuple[float, Tensor]:
    """Seconds until the device has done it, and what it made."""
    wait(device)
    started = time.perf_counter()
    made = run()
    wait(device)
    return time.perf_counter() - started, made


def product_rate(task: Task, size: int = 8192) -> float:
    """Floating-point operations per second of a matrix product."""
    size = size if task.device.type == "cuda" else 256
    a, b = (torch.randn(size, size, device=task.device).to(DTYPES[task.dtype]) for _ in range(2))
    torch.mm(a, b)
    return 2 * size**3 / min(timed(lambda: torch.mm(a, b), task.device)[0] for _ in range(5))


def count_operations(task: Task, widths: list[int]) -> int:
    """Two for each multiply-add of the network's convolutions and matrix products, for this input."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        Half(make_vae("sd1", widths), task.half)(task.given.to("meta"))
    return counter.get_total_flops()


def outcome(run: Run) -> Tensor | None:
    """What it makes; None where memory does not do for it."""
    try:
        return run()
    except torch.OutOfMemoryError:
        return None


# What CUDA counts; a CPU, on which the script is only tried, counts nothing.


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def forget_peak(device: torch.device) -> None:
    free(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


# The sides, ready to run: the model is loaded, the input is where it is wanted. Weights of others stay loaded.


def by_vaekit(task: Task) -> Run:
    plan = vaekit.Plan(device=str(task.device), dtype=task.dtype, batch_size=task.batch_size)
    return functools.partial(run_engine, vaekit.Engine(vaekit.load(task.folder), plan), task.half, task.given)


def by_diffusers(task: Task) -> Run:
    network = diffusers_half("sd1", task.half, task.folder).to(task.device, DTYPES[task.dtype])
    return inferring(network.to(memory_format=torch.channels_last), task)


def by_compiled(task: Task) -> Run:
    network = diffusers_half("sd1", task.half, task.folder).to(task.device, DTYPES[task.dtype])
    return inferring(torch.compile(network.to(memory_format=torch.channels_last), dynamic=False), task)


def inferring(network: Callable[[Tensor], Tensor], task: Task) -> Run:
    given = task.given.to(DTYPES[task.dtype]).contiguous(memory_format=torch.channels_last)
    return torch.inference_mode()(functools.partial(network, given))


PREPARED = {"vaekit": by_vaekit, "diffusers": by_diffusers, "compiled": by_compiled}


if __name__ == "__main__":
    main()

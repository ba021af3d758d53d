"""Time encoding and decoding of one image on all CPU cores, in vaekit and in other libraries with the same weights.

    python bench/cpu.py [--jobs sd1-decode,tiny-decode] [--sides vaekit,diffusers,openvino] [--side 512] [--runs 5]

The VAEs have the size of SD1's (83,653,863 weights) and of TAESD, and random weights. Each library runs in fp32 with
the fastest of its common settings, which are tried first. Then all take turns in one process, so that drift of the
machine's speed affects them equally; ratios are medians over the rounds. The efficiency is the floating-point
operations of the plain network (two for each multiply-add of its convolutions and matrix products, as torch's
FlopCounterMode counts them) per second, relative to a large fp32 matrix product in the same run; an algorithm with
fewer operations can exceed 1.
"""

import argparse
import functools
import importlib.util
import logging
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import vaekit
from measuring import (
    HALVES,
    MODELS,
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

JOBS = tuple(f"{model}-{half}" for model in MODELS for half in HALVES)
EAGER_BAR, BEST_BAR = 2.0, 1.8
"""How many times as fast as diffusers eager, and as the fastest peer, vaekit is to be."""
PAUSE = 0.2
"""Seconds before each run: thread pools spin for a while after their work, on the cores of the next side."""
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Task:
    """What all sides are to do."""

    model: str
    half: str
    folder: Path
    """The VAE in diffusers' layout; exported networks are put beside it."""
    given: Tensor
    backend: str | None


def main() -> None:
    options = parse()
    sys.stdout.reconfigure(line_buffering=True)
    sides = [side for side in options.sides if ready(side)]
    print(heading(*(side for side in sides if side in ("openvino", "onnxruntime"))))
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            write_vae(model, options.widths, Path(folder) / model)
        for job in options.jobs:
            model, half = job.split("-")
            task = Task(model, half, Path(folder) / model, sample(half, options.side), options.backend)
            compare(task, sides, options)
    print("eager/: how many times as fast as diffusers eager. /vaekit: how many times as fast vaekit is.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs, sides = (functools.partial(names_among, known) for known in (JOBS, tuple(SIDES)))
    parser.add_argument("--jobs", type=jobs, default=list(JOBS), help=f"of {', '.join(JOBS)}")
    parser.add_argument("--sides", type=sides, default=list(SIDES), help=f"of {', '.join(SIDES)}")
    parser.add_argument("--side", type=int, default=512, help="pixels along each side of the image")
    parser.add_argument("--runs", type=int, default=5, help="timed rounds, after one that is not counted")
    parser.add_argument("--widths", type=four_widths, default="128,256,512,512", help="channels of sd1's levels")
    parser.add_argument("--backend", help="the backend of vaekit's plan; chosen by vaekit without it")
    return parser.parse_args()


def compare(task: Task, sides: list[str], options: argparse.Namespace) -> None:
    """Print the table of one job."""
    with torch.inference_mode():
        expected = diffusers_half(task.model, task.half, task.folder)(task.given)
    settings, runs, errors = {}, {}, {}
    for side in sides:
        say(f"{task.model} {task.half}: {side}")
        settings[side], runs[side] = fastest(dict(SIDES[side](task)))
        errors[side] = (runs[side]() - expected).abs().max().item()
    products = [product_rate()]
    rounds = []
    for number in range(options.runs):
        say(f"{task.model} {task.half}: round {number + 1} of {options.runs}")
        rounds.append({side: seconds(run) for side, run in runs.items()})
        products.append(product_rate())
    operations, reached = count_operations(task, options.widths), max(products)
    print(
        f"\n{task.model} {task.half}, {options.side}x{options.side}: {operations / 1e9:.4g} GFLOP; "
        f"matrix products reach {reached / 1e9:,.0f} GFLOP/s; values from {expected.min():.2g} to {expected.max():.2g}"
    )
    print(f"{'':14}{'seconds':>9}{'eager/':>9}{'/vaekit':>9}{'efficiency':>12}{'error':>10}  setting")
    for side in sides:
        taken = statistics.median(times[side] for times in rounds)
        print(
            f"{side:14}{taken:>9.3f}{ratio(rounds, 'diffusers', side)}{ratio(rounds, side, 'vaekit')}"
            f"{operations / taken / reached:>12.2f}{errors[side]:>10.1e}  {settings[side]}"
        )
    print_bars(rounds, sides)


def ratio(rounds: list[dict[str, float]], slower: str, faster: str) -> str:
    """The median over the rounds, as a cell."""
    both = slower in rounds[0] and faster in rounds[0]
    return f"{median_ratio(rounds, slower, faster):>8.2f}x" if both else f"{'-':>9}"


def median_ratio(rounds: list[dict[str, float]], slower: str, faster: str) -> float:
    return statistics.median(times[slower] / times[faster] for times in rounds)


def print_bars(rounds: list[dict[str, float]], sides: list[str]) -> None:
    peers = {side: median_ratio(rounds, side, "vaekit") for side in sides if "vaekit" in sides and side != "vaekit"}
    if "diffusers" in peers:
        print(f"vaekit is {peers['diffusers']:.2f}x as fast as diffusers eager; the bar is {EAGER_BAR}x")
    if peers:
        best = min(peers, key=peers.__getitem__)
        print(f"vaekit is {peers[best]:.2f}x as fast as the best peer, {best}; the bar is {BEST_BAR}x")


def fastest(settings: dict[str, Run]) -> tuple[str, Run]:
    """A side's fastest setting, by one run of each after one that is not counted; an only one is not tried."""
    if len(settings) == 1:
        return next(iter(settings.items()))
    tried = {}
    for name, run in settings.items():
        run()
        tried[name] = seconds(run)
        say(f"    {name}: {tried[name]:.3f} s")
    best = min(tried, key=tried.__getitem__)
    return best, settings[best]


def seconds(run: Run) -> float:
    time.sleep(PAUSE)
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def product_rate(size: int = 2048) -> float:
    """Floating-point operations per second of a matrix product: the better of torch's and numpy's."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    c, d = a.numpy(), b.numpy()
    return 2 * size**3 / min(seconds(work) for _ in range(3) for work in (lambda: a @ b, lambda: c @ d))


def count_operations(task: Task, widths: list[int]) -> int:
    """Two for each multiply-add of the network's convolutions and matrix products, for this input."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        Half(make_vae(task.model, widths), task.half)(task.given.to("meta"))
    return counter.get_total_flops()


# The sides. Each yields its settings by name, ready to run: the model is loaded, the input is where it is wanted.


def by_vaekit(task: Task) -> Iterator[tuple[str, Run]]:
    chosen = {} if task.backend is None else {"backend": task.backend}
    engine = vaekit.Engine(vaekit.load(task.folder), vaekit.Plan(device="cpu", **chosen))
    yield task.backend or "", functools.partial(run_engine, engine, task.half, task.given)


def by_diffusers(task: Task) -> Iterator[tuple[str, Run]]:
    for name, layout in LAYOUTS.items():
        network = diffusers_half(task.model, task.half, task.folder).to(memory_format=layout)
        yield name, inferring(network, task.given.contiguous(memory_format=layout))


def by_torch_compile(task: Task) -> Iterator[tuple[str, Run]]:
    torch.compiler.reset()  # or the shapes of the jobs before would make this one's sizes dynamic
    for name, layout in LAYOUTS.items():
        network = diffusers_half(task.model, task.half, task.folder).to(memory_format=layout)
        yield name, inferring(torch.compile(network, dynamic=False), task.given.contiguous(memory_format=layout))
    network = diffusers_half(task.model, task.half, task.folder)
    frozen = torch.compile(network, dynamic=False, options={"freezing": True})
    yield "freezing", inferring(frozen, task.given)  # which packs the weights in a layout of its own choice


def inferring(network: Callable[[Tensor], Tensor], given: Tensor) -> Run:
    return torch.inference_mode()(functools.partial(network, given))


def by_openvino(task: Task) -> Iterator[tuple[str, Run]]:
    import openvino

    core = openvino.Core()
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # the default is bf16 on processors that have it
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    request = core.compile_model(core.read_model(exported(task)), "CPU", config).create_infer_request()
    array = task.given.numpy()
    yield "from ONNX", lambda: torch.from_numpy(request.infer({0: array}, share_inputs=True)[0])


def by_onnxruntime(task: Task) -> Iterator[tuple[str, Run]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(exported(task), options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: task.given.numpy()}
    yield "all optimizations", lambda: torch.from_numpy(session.run(None, given)[0])


def exported(task: Task) -> Path:
    """diffusers' half as an ONNX file for this size, written once."""
    path = task.folder / f"{task.half}.onnx"
    if not path.exists():
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            network = diffusers_half(task.model, task.half, task.folder)
            torch.onnx.export(network, (task.given,), path, dynamo=True, verbose=False)
    return path


SIDES = {
    "vaekit": by_vaekit,
    "diffusers": by_diffusers,
    "torch.compile": by_torch_compile,
    "openvino": by_openvino,
    "onnxruntime": by_onnxruntime,
}
NEEDS = {"openvino": ("openvino", "onnx", "onnxscript"), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}


def ready(side: str) -> bool:
    """Whether a side can run here; a line says why not."""
    missing = [package for package in NEEDS.get(side, ()) if importlib.util.find_spec(package) is None]
    if side == "torch.compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        missing.append("a C++ compiler")
    if missing:
        print(f"{side} is skipped: it needs {', '.join(missing)}")
    return not missing


if __name__ == "__main__":
    main()

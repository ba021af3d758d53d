"""Compare reconstructing a folder, file to file, with the engine alone on images in memory, for a tiny VAE.

    python bench/folder.py [--images 200] [--side 512] [--rounds 10] [--width 64]

The VAE has TAESD's shape and random values. The images are dead leaves, half of them PNG and half JPEG. The folder is
processed like in `vaekit reconstruct`: read, encode, decode, measure, write. Both take turns in one process, so that
drift of the machine's speed affects them equally; loading the VAE and starting Python are excluded. The processor time
of reading and of writing (with measuring) is that of their threads.
"""

import argparse
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import vaekit
from vaekit.domains.images.files import round_trip_stages
from vaekit.domains.images.read import read_image
from vaekit.domains.images.write import to_bytes
from vaekit.families import assemble, family_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.tasks.batch import run_files
from vaekit.testcards.dead_leaves import dead_leaves

SCENES = 4
"""Different dead leaves; the images are places in them, upright or mirrored."""


def main() -> None:
    options = parse()
    engine = vaekit.Engine(make_vae(options.width), vaekit.Plan(device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        report(options, engine, make_images(options.images, options.side, Path(folder)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--side", type=int, default=512, help="pixels along each side of an image")
    parser.add_argument("--rounds", type=int, default=10, help="turns; each takes its part of the images")
    parser.add_argument("--width", type=int, default=64, help="channels of the VAE")
    return parser.parse_args()


def make_vae(width: int) -> vaekit.VAE:
    torch.manual_seed(0)
    config = TinyConfig(3, 4, (), (width,) * 4, (width,) * 4, (1, 3, 3, 3), (3, 3, 3, 1), False)
    return assemble(family_of("tiny"), config).eval()


def make_images(count: int, side: int, folder: Path) -> list[Path]:
    generator = torch.Generator().manual_seed(0)
    scenes = dead_leaves(min(count, SCENES), (side * 3 // 2, side * 3 // 2), generator)
    paths = []
    for number in range(count):
        top, left = torch.randint(side // 2 + 1, (2,), generator=generator).tolist()
        scene = scenes[number % len(scenes), None, :, top : top + side, left : left + side]
        image = Image.fromarray(to_bytes(scene if number // SCENES % 2 else scene.flip(-1)))
        paths.append(folder / f"{number:04}.{'jpg' if number % 2 else 'png'}")
        image.save(paths[-1], quality=92)
    return paths


def report(options: argparse.Namespace, engine: vaekit.Engine, paths: Sequence[Path]) -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("vaekit", "torch", "pillow"))
    print(f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, {packages}")
    print(f"{len(paths)} images of {options.side}x{options.side}, tiny VAE of width {options.width}, fp32")
    bare, whole, parts = [], [], dict.fromkeys(("read", "write"), 0.0)
    pixels = read_image(paths[0]).pixels
    engine.reconstruct(pixels)
    size = -(-len(paths) // options.rounds)
    for first in range(0, len(paths), size):
        some = paths[first : first + size]
        given = [read_image(path).pixels for path in some]
        bare.append(timed(lambda given=given: [engine.reconstruct(image) for image in given], len(some)))
        whole.append(timed(lambda some=some: through(engine, some, parts), len(some)))
    print(f"{'':14}{'images/s':>12}{'processor':>12}")
    for name, times in (("engine alone", bare), ("files to files", whole)):
        seconds, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:14}{1 / seconds:>12.3f}{1e3 * processor:>9.0f} ms")
    ratios = [alone / together for (alone, _), (together, _) in zip(bare, whole, strict=True)]
    print(f"ratio: {statistics.median(ratios):.3f} of the engine's throughput ({min(ratios):.3f} to {max(ratios):.3f})")
    told = ", ".join(f"{name} {1e3 * seconds / len(paths):.1f} ms" for name, seconds in parts.items())
    print(f"besides the engine, processor time for each image: {told}")


def through(engine: vaekit.Engine, paths: Sequence[Path], parts: dict[str, float]) -> None:
    """Do what `vaekit reconstruct` does with a folder; add the processor time of reading and writing to `parts`."""
    with tempfile.TemporaryDirectory() as out:
        steps = round_trip_stages(engine, {path: Path(out) / f"{path.stem}.png" for path in paths})
        measured = replace(steps, **{name: summed(getattr(steps, name), name, parts) for name in parts})
        batch = run_files(paths, measured)
        assert len(batch.results) == len(paths) == len(list(Path(out).iterdir())) and batch.complete


def summed(step: Callable[..., Any], name: str, parts: dict[str, float]) -> Callable[..., Any]:
    lock = threading.Lock()

    def run(*arguments: Any) -> Any:
        started = time.thread_time()
        result = step(*arguments)
        with lock:
            parts[name] += time.thread_time() - started
        return result

    return run


def timed(work: Callable[[], object], count: int) -> tuple[float, float]:
    """Seconds for each of so many images: on the clock and of the processor."""
    started, processor = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - started) / count, (time.process_time() - processor) / count


if __name__ == "__main__":
    main()

"""Compare `cache` with one and with several workers of Ray on this machine, and with this process alone.

    python bench/ray_cache.py [--images 400] [--side 256] [--workers 2] [--rounds 3] [--width 32]

The VAE has TAESD's shape and random values; the images are dead leaves in JPEG. Each worker has one thread. The rate
is that of the items after the first shard of each worker, so that starting workers is not counted; how long that takes
is stated beside it. Sides take turns, and the fastest round of each counts. The shards of all sides must be equal, byte
for byte.
"""

import argparse
import os
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.cluster.connection import connected
from vaekit.cluster.ray_runner import RayRunner
from vaekit.domains.images.write import to_bytes
from vaekit.errors import counted
from vaekit.families import assemble, family_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.shards import IN_PROCESS, Runner
from vaekit.tasks.cache import CacheCallbacks, CacheOptions, cache
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.testcards.dead_leaves import dead_leaves

SCENES = 4
"""Different dead leaves; the images are places in them."""


@dataclass
class Clock:
    """When how many items were done."""

    workers: int
    begin: float = field(default_factory=time.perf_counter)
    times: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, done: int, _: int) -> None:
        self.times.append((time.perf_counter(), done))

    @property
    def start(self) -> float:
        """Seconds until each worker has done a shard, about."""
        return self.times[self.workers - 1][0] - self.begin

    @property
    def rate(self) -> float:
        """Items per second after that."""
        (begin, before), (end, after) = self.times[self.workers - 1], self.times[-1]
        return (after - before) / (end - begin)


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as name, connected(None, options.workers):
        folder = Path(name)
        make_images(options.images, options.side, folder / "images")
        model = make_model(options.width, folder / "vae.safetensors")
        # Ray runs already, and is kept: a worker has one CPU, however many there are.
        sides: dict[str, tuple[Runner, int]] = {"this process": (IN_PROCESS, 1)}
        sides |= {named(count): (RayRunner(workers=count, say=print), count) for count in (1, options.workers)}
        best: dict[str, Clock] = {}
        contents = set()
        for _ in range(options.rounds):
            for side, (runner, count) in sides.items():
                clock = run(model, folder, options, runner, count)
                contents.add(content(folder / "cache"))
                if side not in best or clock.rate > best[side].rate:
                    best[side] = clock
                print(f"  {side}: {clock.rate:.2f} images/s", flush=True)
    report(options, best, len(contents) == 1)


def named(workers: int) -> str:
    """The name of a side."""
    return counted(workers, "worker")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--side", type=int, default=256, help="pixels along each side of an image")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=32, help="channels of the VAE")
    parser.add_argument("--shard", type=int, default=10, help="images of a shard")
    return parser.parse_args()


def make_images(count: int, side: int, folder: Path) -> None:
    """Write images."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    scenes = dead_leaves(min(count, SCENES), (side * 3 // 2, side * 3 // 2), generator)
    for number in range(count):
        top, left = torch.randint(side // 2 + 1, (2,), generator=generator).tolist()
        scene = scenes[number % len(scenes), None, :, top : top + side, left : left + side]
        Image.fromarray(to_bytes(scene)).save(folder / f"{number:05}.jpg", quality=90)


def make_model(width: int, path: Path) -> OpenModel:
    """A VAE with random values, in a file."""
    torch.manual_seed(0)
    config = TinyConfig(3, 4, (), (width,) * 4, (width,) * 4, (1, 3, 3, 3), (3, 3, 3, 1), False)
    save(assemble(family_of("tiny"), config).eval(), path)
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu", memory="1GiB"))


def run(model: OpenModel, folder: Path, options: argparse.Namespace, runner: Runner, workers: int) -> Clock:
    """Cache all images."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    clock = Clock(workers)

    def scanned(_done: int, _total: int) -> None:
        clock.begin = time.perf_counter()

    wanted = CacheOptions(dtype="fp32", shard_items=options.shard)
    cache(model, folder / "images", folder / "cache", wanted, CacheCallbacks(scanned, clock), runner)
    return clock


def content(folder: Path) -> tuple[tuple[str, bytes], ...]:
    """The shards of a cache."""
    return tuple((path.name, path.read_bytes()) for path in sorted((folder / "shards").glob("*.safetensors")))


def report(options: argparse.Namespace, best: dict[str, Clock], equal: bool) -> None:
    """Print the table."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}")
    print(f"torch {torch.__version__}, Ray {version('ray')}; {options.images} images of {options.side}x{options.side}")
    for side, clock in best.items():
        print(f"{side:14} {clock.rate:8.2f} images/s, {clock.start:5.1f} s to start")
    one, many = best[named(1)].rate, best[named(options.workers)].rate
    print(f"{options.workers} workers are {many / one:.2f}x as fast as one; the bar is {0.85 * options.workers:.2f}x")
    print(f"shards are {'equal' if equal else 'NOT EQUAL'}")


if __name__ == "__main__":
    main()

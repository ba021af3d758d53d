"""Search at scale: LanceDB against the exact scan, and an index of many small images in flat memory.

    python bench/search_scale.py vectors [--count 100000] [--dimension 256]
    python bench/search_scale.py images DATA --vae VAE [--copies 1]

`vectors` indexes vectors of a mixture of clusters in a subspace with noise around it, and prints the time to write and
divide them, recall@10 and the time of a query of both ways to search. `images` indexes a data set, each item `copies`
times with a different shift and brightness, and prints the rate, and the memory of the process while it goes on.
"""

import argparse
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.datasets.dataset import ArrayRecord, Line, Record
from vaekit.datasets.whole import Whole
from vaekit.retrieval.description import Description
from vaekit.retrieval.index import Candidates, ExactScan, Index, opened_for_change
from vaekit.retrieval.lance import NEIGHBORS, open_lance, shared, synchronize
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.look import Look
from vaekit.retrieval.update import chunk_size, update
from vaekit.tasks.embeddings import LOOK, prepare_for, values_per_item
from vaekit.tasks.index import open_data
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

QUERIES = 200
CLUSTERS, SUBSPACE, SPREAD, NOISE = 200, 24, 0.6, 0.3


@dataclass
class Numbers:
    """Items that are numbers."""

    count: int
    kind = "numbers"
    digest = ""

    def __len__(self) -> int:
        return self.count

    def key(self, item: int) -> str:
        return str(item)

    def read(self, item: int) -> Record:
        return Line(str(item), str(item))


@dataclass
class Rows:
    """Looks up the vector of a number."""

    vectors: Tensor
    identity: dict[str, Any] = field(default_factory=lambda: {"embedding": "rows"})

    @property
    def dimension(self) -> int:
        return self.vectors.shape[1]

    def __call__(self, x: Tensor) -> Tensor:
        return self.vectors[x[:, 0].long()]


@dataclass
class Copies:
    """A data set of arrays, each item several times with a shift and another brightness."""

    data: Whole
    copies: int
    kind = "copies"
    digest = ""

    def __len__(self) -> int:
        return len(self.data) * self.copies

    def key(self, item: int) -> str:
        return f"{self.data.key(item // self.copies)}-{item % self.copies}"

    def read(self, item: int) -> Record:
        number = item % self.copies
        record = self.data.read(item // self.copies)
        if not number:
            return record
        if not isinstance(record, ArrayRecord):
            raise SystemExit("copies need a data set of arrays, such as npz or idx")
        moved = np.roll(record.values, (number, -number), (0, 1))
        darker = (moved.astype(np.float32) * (1 - 0.1 * number)).astype(record.values.dtype)
        return ArrayRecord(self.key(item), darker, record.full_scale)


def made_vectors(count: int, dimension: int) -> Tensor:
    """Unit vectors around the centers of clusters in a random subspace, with noise beside it."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(SUBSPACE, dimension, generator=generator)
    centers = torch.randn(CLUSTERS, SUBSPACE, generator=generator)
    chosen = torch.randint(CLUSTERS, (count,), generator=generator)
    inside = centers[chosen] + SPREAD * torch.randn(count, SUBSPACE, generator=generator)
    vectors = inside @ basis + NOISE * torch.randn(count, dimension, generator=generator)
    return vectors / vectors.norm(dim=1, keepdim=True)


def megabytes() -> float:
    """The resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def timed_search(index: Index, queries: np.ndarray, search: Candidates) -> tuple[list[list[int]], list[float]]:
    """The ids of the neighbors of each query, and the seconds of the processor that each search took."""
    found, seconds = [], []
    for query in queries:
        started = time.process_time()
        found.append([match.row.id for match in index.search(query, NEIGHBORS, search)])
        seconds.append(time.process_time() - started)
    return found, seconds


def bench_vectors(count: int, dimension: int) -> None:
    """Write, divide and search vectors."""
    rows = Rows(made_vectors(count, dimension))
    with tempfile.TemporaryDirectory() as folder:
        description = Description(rows.identity, dimension, {})
        with opened_for_change(Path(folder) / "index", description) as index:
            started = time.perf_counter()
            update(index, Numbers(count), numbers_of, rows, (), 1024)
            print(f"{count:,} vectors of {dimension} values: written in {time.perf_counter() - started:.1f} s")
            started = time.perf_counter()
            state = synchronize(index)
            print(f"lancedb: copied, divided and measured in {time.perf_counter() - started:.1f} s")
            lance = open_lance(index)
            assert lance is not None
            queries = (made_vectors(count + QUERIES, dimension)[-QUERIES:]).numpy()
            exact, exact_seconds = timed_search(index, queries, ExactScan(index))
            found, seconds = timed_search(index, queries, lance)
            print(f"{'search':20} {'recall@10':>10} {'median ms':>10} {'p95 ms':>10}  (time of the processor)")
            for name, recall, times in (
                ("exact", 1.0, exact_seconds),
                (f"lancedb ({state.cells} cells)", shared(exact, found), seconds),
            ):
                print(f"{name:20} {recall:10.3f} {1e3 * np.median(times):10.1f} {1e3 * np.quantile(times, 0.95):10.1f}")
            sizes = {path.name: size_of(path) for path in sorted(index.folder.iterdir())}
            print(", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in sizes.items() if size > 2**20))


def numbers_of(records: Sequence[Record]) -> Tensor:
    """Numbers as items (b, 1)."""
    return torch.tensor([[float(record.text)] for record in records if isinstance(record, Line)])


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file())


def bench_images(path: Path, vae: str, copies: int) -> None:
    """Index images, and watch the memory."""
    model = open_model(ModelOptions(vae), EngineOptions(device="cpu", batch=64))
    data = Copies(open_data(model, path).items, copies)
    look = Look(LatentEncoder(model.engine, model.origin))
    description = Description(dict(look.identity), look.dimension, {})
    memory: list[tuple[int, float]] = []
    lock, latest = threading.Lock(), [0.0]

    def progress(done: int, _total: int) -> None:
        with lock:
            if time.perf_counter() - latest[0] > 1:
                latest[0] = time.perf_counter()
                memory.append((done, megabytes()))

    with tempfile.TemporaryDirectory() as folder:
        for turn in ("first", "again"):
            memory.clear()
            before = time.process_time()
            with opened_for_change(Path(folder) / "index", description) as index:
                chunk = chunk_size(values_per_item(LOOK, model))
                changes = update(index, data, prepare_for(LOOK, model), look, (), chunk, progress=progress)
            rate = len(data) / changes.seconds
            print(
                f"{turn}: {len(data):,} images, {changes.embedded:,} embedded in {changes.seconds / 60:.1f} min, "
                f"{rate:,.0f}/s; processor {(time.process_time() - before) / 60:.1f} min"
            )
            if turn == "first" and memory:
                shown = memory[:: max(1, len(memory) // 10)]
                print("memory in MiB: " + ", ".join(f"{size:.0f} at {done:,}" for done, size in shown))
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    vectors = kinds.add_parser("vectors")
    vectors.add_argument("--count", type=int, default=100_000)
    vectors.add_argument("--dimension", type=int, default=256)
    images = kinds.add_parser("images")
    images.add_argument("data", type=Path)
    images.add_argument("--vae", required=True)
    images.add_argument("--copies", type=int, default=1)
    given = parser.parse_args()
    if given.kind == "vectors":
        bench_vectors(given.count, given.dimension)
    else:
        bench_images(given.data, given.vae, given.copies)


if __name__ == "__main__":
    sys.exit(main())

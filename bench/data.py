"""Measure how fast images are read for training, and the processor time that it takes.

    python bench/data.py FOLDER [--size 256] [--batch 32] [--seconds 5] [--rounds 5]

Batches are requested as by the training loop and discarded. Each number of worker threads has a turn in every round; 0
makes batches in the loop's own thread. "busy" is processor time over wall time.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import torch

from vaekit.domains.images.preparation import Preparation
from vaekit.domains.images.training_data import available_cores, open_training_data
from vaekit.training.data import Stream, ahead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=256, help="of the crops")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    stream = Stream(open_training_data(options.folder, Preparation(options.size), seed=0).source, 0)
    print(f"{len(stream.source):,} images, crops of {options.size}, {available_cores()} cores", flush=True)
    turns: dict[int, list[tuple[float, float]]] = {workers: [] for workers in range(available_cores() + 1)}
    for _ in range(options.rounds):
        for workers, told in turns.items():
            told.append(turn(stream, options.batch, workers, options.seconds))
    for workers, told in turns.items():
        speed, busy = (statistics.median(column) for column in zip(*told, strict=True))
        print(f"{workers} threads: {speed:7,.0f} images/s, {busy:.2f} cores busy")


def turn(stream: Stream, batch: int, workers: int, seconds: float) -> tuple[float, float]:
    """Images per second, and processor time over wall time."""
    places: Iterator[int] = count(0, batch)
    with closing(ahead(stream, places, batch, workers)) as batches:
        next(batches)
        made, started, worked = 0, time.perf_counter(), time.process_time()
        while (passed := time.perf_counter() - started) < seconds:
            made += len(next(batches))
        return made / passed, (time.process_time() - worked) / passed


if __name__ == "__main__":
    main()

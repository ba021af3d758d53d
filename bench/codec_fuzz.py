"""Round trips of lossless compression: random VAEs and items, written here and read by processes with other settings.

    python bench/codec_fuzz.py --first 0 --count 10000

Each seed is a round trip of its own, so that ranges of seeds can be run one after the other. Readers differ from the
writer in threads, in the instructions of the processor that torch, MKL and NumPy use, as on another machine, and in
that networks are compiled. A mismatch is an item that comes back as another one, or an error.
"""

import argparse
import os
import pickle
import subprocess
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import IO, Any, cast

import torch

from codec_cases import Case, case
from vaekit.codec.bits_back import Coding
from vaekit.codec.chain import bits_back_chain, chain_items
from vaekit.codec.vae_coding import LatentCoding

THREADS = "OMP_NUM_THREADS"
READERS: dict[str, dict[str, str]] = {
    "one thread": {THREADS: "1"},
    "three threads": {THREADS: "3"},
    "no vectors": {
        THREADS: "1",
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
    },
    "another BLAS": {THREADS: "2", "MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Nehalem"},
}
"""Environments."""
COMPILED = "compiled"
WRITER_THREADS = (1, 2)


@dataclass
class Reader:
    """A process that decodes chains."""

    name: str
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        # Threads that wait without spinning leave the processor to the other side.
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **READERS.get(self.name, {})}
        command = [sys.executable, __file__, "--reader", self.name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def read(self, coding: Coding, content: bytes, items: int) -> str:
        """The checksum of the items, or an error."""
        stdin, stdout = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        pickle.dump((replace(cast(LatentCoding, coding)), content, items), stdin)  # without what is cached
        stdin.flush()
        return str(pickle.load(stdout))

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


@dataclass
class Table:
    """Results."""

    done: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    mismatches: list[tuple[int, str, str, str]] = field(default_factory=list)
    """Seed, reader, kind of VAE, what came back."""

    def rows(self) -> list[str]:
        """As text."""
        wrong = Counter(label for _, reader, kind, _ in self.mismatches for label in (reader, kind))
        head = f"{'':50} {'round trips':>12} {'bytes':>12} {'mismatches':>11}"
        return [
            head,
            *(f"{label:50} {self.done[label]:12,} {self.size[label]:12,} {wrong[label]:11,}" for label in self.done),
        ]


def read_for_ever(name: str) -> None:
    """The other side of `Reader`."""
    stdout = sys.stdout.buffer
    while True:
        try:
            coding, content, items = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if name == COMPILED:
                compile_networks(coding)
            answer = checksum(coding, chain_items(coding, content, items))
        except Exception as error:  # any error is a mismatch, and the next round trip follows
            answer = f"{type(error).__name__}: {error}"
        pickle.dump(answer, stdout)
        stdout.flush()


def compile_networks(coding: Any) -> None:
    """Compile both halves of the VAE."""
    torch._dynamo.reset()
    coding.vae.encoder.compile()
    coding.vae.decoder.compile()


def checksum(coding: Coding, x: torch.Tensor) -> str:
    """Of the cells of items."""
    return f"{zlib.crc32(coding.plain(x)):08x}"


def run(first: int, count: int, compile_every: int) -> Table:
    """Round trips of consecutive seeds."""
    names = list(READERS)
    readers = {name: Reader(name) for name in [*names, *([COMPILED] if compile_every else [])]}
    table, started = Table(), time.monotonic()
    for seed in range(first, first + count):
        compiled = bool(compile_every) and seed % compile_every == 0
        name = COMPILED if compiled else names[seed % len(names)]
        torch.set_num_threads(WRITER_THREADS[seed // len(names) % 2])
        each: Case = case(seed)
        content = bits_back_chain(each.coding, each.x, each.batch).content
        found = readers[name].read(each.coding, content, len(each.x))
        for label in (name, each.label):
            table.done[label] += 1
            table.size[label] += len(content)
        if found != checksum(each.coding, each.x):
            table.mismatches.append((seed, name, each.label, found))
            print(f"mismatch: seed {seed}, {name}, {each.label}: {found}", flush=True)
        if seed % 100 == 99:
            print(f"up to seed {seed}: {len(table.mismatches)} mismatches", file=sys.stderr, flush=True)
    for reader in readers.values():
        reader.close()
    print(f"{count:,} round trips in {time.monotonic() - started:.0f} s: {len(table.mismatches)} mismatches")
    return table


def main() -> None:
    """Run, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="First seed.")
    parser.add_argument("--count", type=int, default=10_000, help="Number of round trips.")
    parser.add_argument("--compile-every", type=int, default=500, help="Seeds with compiled networks; 0 for none.")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader is not None:
        read_for_ever(arguments.reader)
        return
    table = run(arguments.first, arguments.count, arguments.compile_every)
    print("\n".join(table.rows()))
    sys.exit(bool(table.mismatches))


if __name__ == "__main__":
    main()

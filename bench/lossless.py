"""Sizes of held-out rows or molecules, compressed by a VAE, beside xz, zstd and bzip2.

    python bench/lossless.py tables TABLE.npz --out FOLDER [--set KEY=VALUE ...]
    python bench/lossless.py molecules TRAIN HELD_OUT --out FOLDER [--set KEY=VALUE ...]

TABLE.npz has an array X of rows: a random half of them is trained on, and the other half is compressed, as CSV. TRAIN
and HELD_OUT are files of SMILES such as MOSES': the first 100,000 of the one are trained on, and the first 10,000 of
the other compressed. Trains the recipe of that name into FOLDER/run (or resumes; a finished run is not trained again),
compresses the held-out file, restores it, checks that its bytes came back, and prints the size beside those by general
programs. The VAE itself is not counted.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molecules import smiles, written

TRAINED, COMPRESSED = 100_000, 10_000
"""Molecules."""
PROGRAMS = {
    "xz -9e": ("xz", "-9e", "-k", "-c"),
    "zstd --ultra -22": ("zstd", "--ultra", "-22", "-q", "-c"),
    "zstd -19": ("zstd", "-19", "-q", "-c"),
    "bzip2 -9": ("bzip2", "-9", "-k", "-c"),
}
"""They write to the standard output."""


def tables(sources: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """The rows to train on and those to compress, as CSV files."""
    (source,) = sources
    with np.load(source, allow_pickle=False) as file:
        rows = file["X"]
    order = np.random.default_rng(0).permutation(len(rows))
    halves = order[: len(rows) // 2], order[len(rows) // 2 :]
    paths = out / "train.csv", out / "test.csv"
    for path, half in zip(paths, halves, strict=True):
        with path.open("w", newline="") as csv_file:
            lines = csv.writer(csv_file, lineterminator="\n")
            lines.writerow([f"x{i}" for i in range(rows.shape[1])])
            lines.writerows([f"{value:.10g}" for value in row] for row in rows[half].tolist())
    return paths


def molecules(sources: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """The molecules to train on and those to compress, one in each line."""
    train, held_out = sources
    return written(out / "train.smi", smiles(train, TRAINED)), written(out / "test.smi", smiles(held_out, COMPRESSED))


PREPARATIONS = {"tables": tables, "molecules": molecules}


def vaekit(*arguments: object) -> str:
    """Run a verb; its output."""
    command = [sys.executable, "-m", "vaekit", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=PREPARATIONS)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    out: Path = asked.out
    out.mkdir(parents=True, exist_ok=True)
    train, held_out = PREPARATIONS[asked.recipe](asked.sources, out)
    run, compressed, restored = out / "run", out / "test.vk", out / "restored"
    started = time.monotonic()
    settings = [part for each in asked.set for part in ("--set", each)]
    vaekit("train", asked.recipe, "--data", train, "--out", run, *settings)
    print(f"trained in {(time.monotonic() - started) / 60:.1f} min with this call", flush=True)
    started = time.monotonic()
    facts = json.loads(vaekit("compress", held_out, compressed, "--vae", run, "--json"))
    print(f"compressed in {time.monotonic() - started:.0f} s: {json.dumps(facts)}", flush=True)
    started = time.monotonic()
    vaekit("decompress", compressed, restored, "--vae", run)
    (back,) = [restored] if restored.is_file() else list(restored.iterdir())
    same = back.read_bytes() == held_out.read_bytes()
    print(f"restored in {time.monotonic() - started:.0f} s; {'the same bytes' if same else 'OTHER BYTES'}", flush=True)
    plain = held_out.stat().st_size
    sizes = {"vaekit compress": compressed.stat().st_size} | {
        name: len(subprocess.run([*command, str(held_out)], check=True, stdout=subprocess.PIPE).stdout)
        for name, command in PROGRAMS.items()
    }
    print(f"{held_out.name}: {plain:,} bytes")
    for name, size in sizes.items():
        print(f"{name:18} {size:>10,} bytes {8 * size / plain:8.3f} bits per byte")


if __name__ == "__main__":
    main()

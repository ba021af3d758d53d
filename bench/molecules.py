"""What a VAE of molecules can do, from the verbs that users call, with the bars of docs/molecules.md.

    python bench/molecules.py TRAIN HELD_OUT --out FOLDER [--count 100000] [--held-out 2000] [--samples 10000]
        [--set KEY=VALUE ...]

TRAIN and HELD_OUT are files of molecules, such as MOSES' (CSV with a column SMILES, gzipped or not). Trains the recipe
`molecules` on the first --count of TRAIN into FOLDER/run (or resumes; a finished run is not trained again), with
settings of --set, and prints: the time; validity, unique@1k, unique@10k, novelty, internal diversity and the Frechet
ChemNet distance to HELD_OUT of samples of the prior; KL, active units, mutual information; exact reconstructions and
mean Tanimoto similarity of molecules of HELD_OUT, by greedy search from the mean; distinct molecules on ten
interpolations of seven steps; and the gain in QED of 100 molecules of 0.7 to 0.8 at a Tanimoto similarity of 0.4 or
more (Jin et al. 2019, arXiv 1812.01070).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from vaekit.datasets.text_blocks import TextBlocks
from vaekit.domains.molecules.properties import PROPERTIES
from vaekit.domains.molecules.similarity import tanimoto

PAIRS, STEPS = 10, 7
STARTS, SIMILAR = 100, 0.4


def smiles(path: Path, count: int) -> list[str]:
    """The first molecules of a file whose first cells are SMILES, with or without a header."""
    with TextBlocks(path, print, "a text file") as file:
        lines = (line for block in file.read() for line in block.splitlines())
        cells = (line.replace(",", " ").split()[0] for line in lines if line.strip())
        return list(islice((cell for cell in cells if cell.lower() != "smiles"), count))


def vaekit(*arguments: object) -> dict[str, Any]:
    """Run a verb, and read its JSON output."""
    command = [sys.executable, "-m", "vaekit", *map(str, arguments), "--json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=os.environ)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def written(path: Path, molecules: list[str]) -> Path:
    """A file of molecules."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{each}\n" for each in molecules), "utf-8")
    return path


def trained(data: Path, out: Path, settings: list[str]) -> None:
    """Train, and print how long it took."""
    started = time.monotonic()
    options = [part for each in settings for part in ("--set", each)]
    command = [sys.executable, "-m", "vaekit", "train", "molecules", "--data", str(data), "--out", str(out), *options]
    subprocess.run(command, check=True)
    print(f"training: {(time.monotonic() - started) / 60:.1f} min with this call", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--held-out", type=int, default=2_000, dest="kept")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--steps", type=int, default=60, help="of optimise")
    asked = parser.parse_args()
    out: Path = asked.out
    data = written(out / "train.smi", smiles(asked.train, asked.count))
    held_out = smiles(asked.held_out, asked.kept)
    test = written(out / "test.smi", held_out)
    trained(data, out / "run", asked.set)
    vae = ("--vae", out / "run")

    drawn = ("--samples", asked.samples, "--trained-on", data)
    evaluation = vaekit("evaluate", *vae, "--data", test, *drawn, "--out", out / "evaluation")
    print(json.dumps(evaluation, indent=1), flush=True)

    distinct, trends = [], []
    for number in range(PAIRS):
        ends = [held_out[2 * number], held_out[2 * number + 1]]
        folder = out / "interpolations" / str(number)
        vaekit("interpolate", *ends, *vae, "--steps", STEPS, "--out", folder)
        (path,) = folder.glob("interpolation*.smi")
        line = path.read_text("utf-8").split()
        distinct.append(len(set(line)))
        similar = tanimoto([line[0]] * len(line), line)
        trends.append(sum(a >= b for a, b in pairwise(similar)) / (len(line) - 1))
    print(
        f"interpolate: distinct molecules of {STEPS + 2}: {distinct}; Tanimoto to the first end falls in "
        f"{sum(trends) / len(trends):.0%} of the steps",
        flush=True,
    )

    qed = dict(zip(held_out, PROPERTIES["QED"](held_out), strict=True))
    chosen = [each for each in held_out if 0.7 <= qed[each] <= 0.8][:STARTS]
    if not chosen:
        print(f"optimise: none of {len(held_out):,} molecules has a QED of 0.7 to 0.8")
        return
    starts = written(out / "starts.smi", chosen)
    started = time.monotonic()
    options = ("--property", "QED", "--similarity", SIMILAR, "--steps", asked.steps)
    found = vaekit("optimise", starts, *vae, *options, "--out", out / "optimised")
    items = [item for file in found["files"] for item in file["items"]]
    gains = [item["after"] - item["before"] for item in items]
    after, before = (median(item[name] for item in items) for name in ("after", "before"))
    print(
        f"optimise: QED {before:.3f} -> {after:.3f} (medians of {len(items)}), median gain {median(gains):+.3f}, at "
        f"Tanimoto >= {min(item['similarity'] for item in items):.2f}, {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()

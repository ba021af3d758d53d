"""How much `optimise` gains for items that are decoded and judged, such as molecules, and how long it takes.

    python bench/optimise_items.py leads.smi --vae RUN --property QED --similarity 0.4 [--count 100] [--within 3 6]
        [--method auto gradient cma-es] [--steps 60]

For every method, number of steps and distance bound: the median of the property of the first items of the file, before
and after, the median gain, the share of items that stay as they are, the mean similarity to the original, and seconds.
The results of the last run stay in the folder --out.
"""

import argparse
import time
from itertools import product
from pathlib import Path
from statistics import median

from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.optimise import optimise
from vaekit.tasks.optimised import OptimiseOptions
from vaekit.tasks.options import EngineOptions, ModelOptions

COLUMNS = ("method", "steps", "within", "before", "reconstruction", "after", "gain", "unchanged", "similarity", "time")


def first_items(model: OpenModel, path: Path, count: int, folder: Path) -> Path:
    """A file with the first items of another."""
    loaded = model.domain.read(path, model.schema)
    target = folder / f"first{model.domain.ending}"
    model.domain.write(model.schema.to_items(loaded.x[:count]), target, model.schema)
    return target


def row(model: OpenModel, path: Path, out: Path, options: OptimiseOptions) -> list[str]:
    """The measures of one search."""
    start = time.perf_counter()
    found = optimise(model, [path], out, options)
    seconds = time.perf_counter() - start
    (file,) = found.batch.results
    items = file.items
    similar = [item.similarity for item in items if item.similarity is not None]
    medians = [median(getattr(item, name) for item in items) for name in ("before", "reconstruction", "after")]
    return [
        found.method,
        str(options.steps),
        f"{options.within:g}",
        *(f"{each:.4g}" for each in medians),
        f"{median(item.after - item.before for item in items):+.4g}",
        f"{sum(item.unchanged for item in items) / len(items):.0%}",
        f"{sum(similar) / len(similar):.2f}" if similar else "-",
        f"{seconds:.0f} s",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", type=Path)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--property", required=True)
    parser.add_argument("--similarity", type=float)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--within", type=float, nargs="+", default=[3.0])
    parser.add_argument("--density", type=float, default=0.01)
    parser.add_argument("--method", nargs="+", default=["auto"])
    parser.add_argument("--steps", type=int, nargs="+", default=[60])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("optimise_items"))
    asked = parser.parse_args()
    model = open_model(ModelOptions(asked.vae), EngineOptions())
    asked.out.mkdir(parents=True, exist_ok=True)
    path = first_items(model, asked.items, asked.count, asked.out)
    print("  ".join(COLUMNS))
    for method, steps, within in product(asked.method, asked.steps, asked.within):
        options = OptimiseOptions(
            asked.property,
            within=within,
            density=asked.density,
            method=method,
            steps=steps,
            data=asked.data,
            similarity=asked.similarity,
        )
        print("  ".join(row(model, path, asked.out / "results", options)), flush=True)


if __name__ == "__main__":
    main()

"""Plant faults in images and tabulate which defects are named.

    python bench/defects.py FOLDER|skimage [--most 12] [--side 768] [--cases "blur 1,salt"] [--noise 0,0.5,1,2] [--bar]

Each image (its longer side brought to `--side` where it is larger) gets each fault of `planted_faults.py` in each of
its ways, is rounded to 8 bits, gets Gaussian noise of each standard deviation in `--noise` (in levels of 255), is
rounded again, and is evaluated alone. A case passes if exactly the planted defect is named. `--bar` keeps only the ten
cases that the thresholds must pass. They were fitted on images of scikit-image, photographs and drawings, never on
Kodak's, which are the test set.
"""

import argparse
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from faults import Fault, Pixels, as_file, noise
from planted_faults import BAR, MORE
from vaekit.comparison.defects import find_defects
from vaekit.comparison.signals import signals

Case = tuple[frozenset[str], Mapping[str, Fault]]
"""The defects to be named, and ways to plant them."""
OF_SKIMAGE = ("astronaut", "chelsea", "coffee", "rocket")
SUFFIXES = {".png", ".jpg", ".jpeg"}


def main() -> None:
    options = parse()
    table = BAR if options.bar else {**BAR, **MORE}
    if options.cases:
        table = {case: table[case] for case in options.cases.split(",")}
    levels = [float(level) for level in options.noise.split(",")]
    named: dict[tuple[str, float], Counter[str]] = defaultdict(Counter)
    right: dict[tuple[str, float], list[bool]] = defaultdict(list)
    ways: dict[tuple[str, str, float], list[bool]] = defaultdict(list)
    seconds = []
    for name, image in images(options):
        for case, way, level, planted in planted_in(image, name, table, levels):
            wanted = table[case][0]
            started = time.process_time()
            seen = signals(as_images(image), as_images(planted))
            seconds.append(time.process_time() - started)
            found = frozenset(defect.name for defect in find_defects([seen]))
            named[case, level][", ".join(sorted(found)) or "none"] += 1
            right[case, level].append(found == wanted)
            ways[case, way, level].append(found == wanted)
            if found != wanted:
                print(f"{case} | {way} | {name} | {level}: {sorted(found)} {seen}", file=sys.stderr, flush=True)
    print("correct, by the standard deviation of the noise in levels")
    print(f"{'planted':18} " + " ".join(f"{level:>9g}" for level in levels) + "  named")
    for case in table:
        shares = [f"{sum(right[case, level])}/{len(right[case, level])}" for level in levels]
        names = sum((named[case, level] for level in levels), Counter()).most_common(6)
        print(f"{case:18} {' '.join(f'{s:>9}' for s in shares)}  {'; '.join(f'{n} {count}' for n, count in names)}")
    print("\nways that fail")
    for (case, way, level), passed in ways.items():
        if not all(passed):
            print(f"{case:18} {way:18} noise {level:<4g} {sum(passed)}/{len(passed)}")
    bar = [case for case in table if case in BAR]
    if bar:
        means = [100 * np.mean([np.mean(right[case, level]) for case in bar]) for level in levels]
        print("\nthe ten cases, each weighing the same: " + ", ".join(f"{mean:.1f} %" for mean in means))
    print(f"signals of one image: {1000 * np.median(seconds):.0f} ms of processor time")


def planted_in(
    image: Pixels, name: str, table: Mapping[str, Case], levels: Sequence[float]
) -> Iterator[tuple[str, str, float, Pixels]]:
    """Each fault in each of its ways, with each level of noise: case, way, level, and what a file keeps of it."""
    for case, (_, faults) in table.items():
        for way, fault in faults.items():
            random = np.random.default_rng(zlib.crc32(f"{case} {way} {name}".encode()))
            planted = as_file(fault(image, random))
            for level in levels:
                yield case, way, level, as_file(noise(level)(planted, random)) if level else planted


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of images, or skimage for those that scikit-image brings")
    parser.add_argument("--most", type=int, default=12, help="images, spread evenly over the folder")
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--cases", default="")
    parser.add_argument("--noise", default="0", help="standard deviations in levels of 255: 0,0.5,1,2")
    parser.add_argument("--bar", action="store_true")
    return parser.parse_args()


def images(options: argparse.Namespace) -> Iterator[tuple[str, Pixels]]:
    if options.folder == "skimage":
        import skimage.data

        for name in OF_SKIMAGE[: options.most]:
            yield name, getattr(skimage.data, name)()[..., :3] / 255
        return
    paths = sorted(path for path in Path(options.folder).rglob("*") if path.suffix in SUFFIXES)
    for path in paths[:: max(1, len(paths) // options.most)][: options.most]:
        image = Image.open(path).convert("RGB")
        image.thumbnail((options.side, options.side), Image.Resampling.LANCZOS)
        yield path.stem, np.asarray(image) / 255


def as_images(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0).float() * 2 - 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""`vaekit compare` over many images: time, and peak memory for a tenth of them and for all.

    python bench/report.py --images-from DIR --vae A --vae B [--images 100] [--lpips PATH]

The images are 768x512 crops of those in the folder, as PNG. Each run is a process of its own, started from the command
line; its peak is for the whole process, of which torch and vaekit take about 250 MB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

WIDTH, HEIGHT = 768, 512
MB = 1e6


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (max(1, options.images // 10), options.images):
            images = folder / str(count)
            cut(options.images_from, count, images)
            seconds, peak, first = compare(images, options, folder / f"{count}.html")
            print(f"{count} images, {len(options.vae)} VAEs: {seconds:.0f} s, peak {peak / MB:.0f} MB; first: {first}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images-from", type=Path, required=True)
    parser.add_argument("--vae", action="append", required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--lpips", type=Path)
    return parser.parse_args()


def cut(source: Path, count: int, folder: Path) -> None:
    """So many different pieces of the images in a folder."""
    folder.mkdir()
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        with Image.open(paths[number % len(paths)]) as image:
            left, top = (
                int(torch.randint(0, max(1, side - wanted + 1), (1,), generator=generator))
                for side, wanted in zip(image.size, (WIDTH, HEIGHT), strict=True)
            )
            piece = image.convert("RGB").crop((left, top, left + WIDTH, top + HEIGHT))
            piece.save(folder / f"{number:03}.png", compress_level=1)


def compare(images: Path, options: argparse.Namespace, page: Path) -> tuple[float, int, str]:
    """Seconds, the peak in bytes, and the name of the best."""
    command = [sys.executable, "-m", "vaekit", "compare", str(images), "--out", str(page), "--json"]
    for vae in options.vae:
        command += ["--vae", vae]
    command += ["--lpips", str(options.lpips)] if options.lpips else []
    started = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert running.stdout is not None
    told = json.loads(running.stdout.read())
    _, status, usage = os.wait4(running.pid, 0)
    assert status == 0
    return time.perf_counter() - started, usage.ru_maxrss * 1024, told["candidates"][0]["name"]


if __name__ == "__main__":
    main()

"""The measures of latent spaces (docs/latent-space.md) for several VAEs on the same images, as Markdown tables.

    python bench/latent_space.py VAE [VAE ...] --data DIR [--size 256] [--limit N] [--json FILE]
    python bench/latent_space.py VAE [VAE ...] --data DIR [--samples] [--picture FILE]    samples of N(0, I), a picture
    python bench/latent_space.py --cifar cifar10.npy | --mnist DIR --write DIR    images of a container as PNG
    python bench/latent_space.py --photos DIR ... --size 96 --write DIR    crops of photographs as PNG
    python bench/latent_space.py VAE --data DIR --noise-floor    PPL against float64

All VAEs have the same images, by hash of name and seed 0. Features are AlexNet's of the LPIPS weights in the package,
unless Inception is installed. `--noise-floor` repeats the perceptual path length with other steps, and in double
precision, for a few pairs: the difference is what rounding adds.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vaekit
from vaekit.datasets.array_files import read_idx
from vaekit.domains.images.evaluate import image_items
from vaekit.domains.images.perception import enlarged, image_perception
from vaekit.domains.images.read import find_images
from vaekit.domains.measuring import MeasureOptions
from vaekit.evaluation.latent_space import PATHS
from vaekit.evaluation.protocol import chosen_names
from vaekit.json import dumps
from vaekit.latents.paths import linear
from vaekit.metrics.frechet import frechet_distance, gaussian_of
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.image.lpips import ALEX, LPIPS
from vaekit.pretrained.lpips_weights import load_lpips
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.vae import VAE

RECONSTRUCTION = ("psnr", "ssim", "lpips", "rfid", "rkid", "kl_bits_per_latent")
STEPS = (1e-2, 1e-3, 1e-4, 1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vaes", nargs="*", metavar="VAE")
    parser.add_argument("--data", type=Path, help="a folder of images")
    parser.add_argument("--size", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--paths", type=int, default=PATHS, help="images whose paths and equivariance are measured")
    parser.add_argument("--samples", action="store_true", help="the Frechet distance of samples of N(0, I)")
    parser.add_argument("--picture", type=Path, help="write paths between images, and samples, of each VAE as one PNG")
    parser.add_argument("--json", type=Path, help="also write results and curves here")
    parser.add_argument("--noise-floor", action="store_true")
    parser.add_argument("--cifar", type=Path, help="rows of 32x32x3 values, .npy or a PNG sprite")
    parser.add_argument("--mnist", type=Path, help="a folder with MNIST's idx files")
    parser.add_argument("--photos", type=Path, nargs="+", help="folders of photographs, to write crops of")
    parser.add_argument("--write", type=Path, help="where images of a container go")
    options = parser.parse_args()
    if options.write is not None:
        write_images(options)
        return
    if options.noise_floor:
        for vae in options.vaes:
            print(noise_floor(vae, options.data, options.size), flush=True)
        return
    if options.samples or options.picture is not None:
        for vae in options.vaes if options.samples else ():
            print(sample_distances(vae, options.data, options.limit or 2000), flush=True)
        if options.picture is not None:
            write_picture(options.vaes, options.data, options.picture)
        return
    found, seconds = {}, {}
    for vae in options.vaes:
        started = time.monotonic()
        found[vae] = measured(vae, options)
        seconds[vae] = time.monotonic() - started
        print(f"{vae}: {seconds[vae]:.0f} s", flush=True)
        if options.json is not None:
            options.json.write_text(dumps(found) + "\n")
    print(tables(found, seconds))


def measured(vae: str, options: argparse.Namespace) -> dict[str, object]:
    """Reconstruction and latent space of one VAE."""
    wanted = EvaluateOptions(MeasureOptions(options.size), limit=options.limit, latent=True, paths=options.paths)
    result = evaluate_data(vaekit.load(vae), Plan(device="cpu", batch_size=16, memory="2GiB"), options.data, wanted)
    assert result.latent is not None
    return {**result.evaluation.as_json(), "latent": result.latent.as_json()}


def tables(found: dict[str, dict], seconds: dict[str, float]) -> str:
    """Two tables, a column for each VAE."""
    names = [Path(vae).name for vae in found]
    lines = []
    for title, results in (
        (
            "reconstruction",
            [
                {key: each["results"][key] for key in RECONSTRUCTION if key in each["results"]}
                for each in found.values()
            ],
        ),
        ("latent space", [each["latent"]["results"] for each in found.values()]),
    ):
        lines += [f"| {title} | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for key in dict.fromkeys(key for result in results for key in result):
            one = next(result[key] for result in results if key in result)
            label = f"{one['title']}{', ' + one['unit'] if one['unit'] else ''}"
            lines.append(f"| {label} | " + " | ".join(cell(result.get(key)) for result in results) + " |")
        lines.append("")
    counts = {each["measured"] for each in found.values()}
    times = ", ".join(f"{Path(name).name} {each:.0f}" for name, each in seconds.items())
    return "\n".join([*lines, f"{max(counts):,} images; seconds: {times}"])


def cell(result: dict | None) -> str:
    """A value with its standard error."""
    if result is None:
        return ""
    error = result["standard_error"]
    return f"{float(result['value']):.3g}" + (f" ± {float(error):.1g}" if error else "")


@torch.no_grad()
def noise_floor(name: str, data: Path, size: int | None, pairs: int = 10) -> str:
    """The perceptual path length of a few pairs for several steps: as measured, and in double precision."""
    exact, lpips, exact_lpips = vaekit.load(name).eval(), load_lpips(ALEX).lpips, load_lpips(ALEX).lpips.double()
    exact_lpips.weights.float()  # its features are compared in single precision
    engine = Engine(vaekit.load(name), Plan(device="cpu"))
    items = image_items(data, exact, MeasureOptions(size))
    x = torch.stack([items.read(each) for each in chosen_names(items.names, pairs + 1, 0)])
    z = engine.encode(x).mode.double()
    exact.double()
    lines = [f"{name}: PPL of {pairs} pairs"]
    for step in STEPS:
        t = torch.tensor([0.3, 0.3 + step], dtype=torch.float64)
        points = [linear(z[i], z[i + 1], t) for i in range(pairs)]
        single = [engine.decode(each.float(), tuple(x.shape[2:])) for each in points]
        double = [exact.decode(each) for each in points]
        columns = [mean_length(lpips, single, step), mean_length(exact_lpips, double, step)]
        lines.append(f"  step {step:.0e}: engine, fp32 {columns[0]:.5g}; fp64 {columns[1]:.5g}")
    return "\n".join(lines)


def mean_length(lpips: LPIPS, images: list[torch.Tensor], step: float) -> float:
    """The mean over pairs of LPIPS / step^2."""
    pairs = [enlarged(as_rgb(each)) for each in images]
    return float(np.mean([lpips(pair[:1], pair[1:]).item() / step**2 for pair in pairs]))


def loaded(name: str, data: Path, count: int) -> tuple[VAE, torch.Tensor, torch.Tensor]:
    """A VAE of one image size, images, and their latents."""
    vae = vaekit.load(name).eval()
    items = image_items(data, vae, MeasureOptions())
    x = torch.stack([items.read(each) for each in chosen_names(items.names, count, 0)])
    return vae, x, vae.encode(x).mode


@torch.no_grad()
def sample_distances(name: str, data: Path, count: int) -> str:
    """The Frechet distance, in AlexNet's features, of decoded samples of N(0, I): taken as raw latents, and as
    normalized ones."""
    vae, x, z = loaded(name, data, count)
    features = image_perception(MeasureOptions(), torch.device("cpu")).features
    assert features is not None
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    kinds = {"data": x, "reconstructions": vae.decode(z), "raw": vae.decode(noise)}
    if vae.normalization is not None:
        kinds["normalized"] = vae.decode(vae.denormalize(noise))
    fitted = {
        key: gaussian_of(torch.cat([features.extract(part) for part in images.split(64)]))
        for key, images in kinds.items()
    }
    first = fitted.pop("data")
    values = ", ".join(f"{key} {frechet_distance(first, other):.3f}" for key, other in fitted.items())
    return f"{name}: Frechet distance ({features.settings['features']}, {len(x):,} images): {values}"


@torch.no_grad()
def write_picture(names: Sequence[str], data: Path, path: Path, columns: int = 9, paths: int = 3) -> None:
    """For each VAE, paths between pairs of images, and two rows of samples of N(0, I) in normalized latents.

    The PNG has 16 gray levels, and images of at most 44 pixels.
    """
    blocks = []
    for name in names:
        vae, _, z = loaded(name, data, 400)
        t, apart = torch.linspace(0, 1, columns), len(z) // 2 + 3
        rows = [vae.decode(linear(z[31 * i], z[31 * i + apart], t)) for i in range(paths)]
        noise = torch.randn(2 * columns, *z.shape[1:], generator=torch.Generator().manual_seed(0))
        samples = vae.decode(noise if vae.normalization is None else vae.denormalize(noise))
        rows += samples.split(columns)
        sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
        blocks += [sheet, torch.ones(1, 6, sheet.shape[2])]
    pixels = (torch.cat(blocks[:-1], dim=1)[0].clamp(-1, 1) + 1) * 127.5
    image = Image.fromarray(pixels.round().byte().numpy())
    scale = min(1, 44 / vae.geometry.size[0])
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    small.quantize(16).save(path, optimize=True)


def write_images(options: argparse.Namespace) -> None:
    """Write the first images of a container, or crops of photographs, as PNG files."""
    folder, limit, cifar, mnist = options.write, options.limit or 2000, options.cifar, options.mnist
    folder.mkdir(parents=True, exist_ok=True)
    if options.photos:
        images = crops(find_images(options.photos), options.size or 96, limit)
    elif mnist is not None:
        images = read_idx(next(mnist.glob("t10k-images*")))[:limit]
    else:
        assert cifar is not None
        raw = np.load(cifar) if cifar.suffix == ".npy" else np.asarray(Image.open(cifar).convert("RGB"))
        images = raw.reshape(-1, 32, 32, 3)[:limit]
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:05}.png")
    print(f"{len(images)} images in {folder}")


def crops(paths: Sequence[Path], side: int, count: int) -> list[np.ndarray]:
    """Squares of `side` pixels, as many of each photograph as of the others, at places drawn with seed 0."""
    random, found = np.random.default_rng(0), []
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        for _ in range(-(-count // len(paths))):
            top, left = (int(random.integers(0, extent - side + 1)) for extent in pixels.shape[:2])
            found.append(pixels[top : top + side, left : left + side])
    return found[:count]


if __name__ == "__main__":
    main()

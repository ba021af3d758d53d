"""Rate and distortion of a codec beside JPEG, WebP, AVIF and JPEG XL, on the same images in one run.

    python bench/codec_kodak.py IMAGES --vae RUN [--qualities 0 10 ... 100] [--plot FILE.png]

Rates are bits per pixel of whole files, and PSNR is that of 8-bit RGB values, both means over the images. The
Bjontegaard rate difference (VCEG-M33) is that of JPEG's curve: log-rates are interpolated over PSNR by piecewise cubic
Hermite polynomials, and averaged over the interval of PSNR that both curves have, which is printed. Other codecs are
Pillow's, with its defaults (JPEG 4:2:0; AVIF 4:2:0, speed 6), and JPEG XL's effort 7 if `pillow-jxl-plugin` is
installed. Then the median seconds are printed for encoding and decoding the first image, in turns.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.interpolate import PchipInterpolator  # type: ignore[import-untyped]

from vaekit.tasks.compress_images import Codec, Rate, bits_per_pixel, compress_images, mean_psnr
from vaekit.tasks.model import open_model
from vaekit.tasks.options import ModelOptions

OTHERS: dict[str, Sequence[int]] = {
    "JPEG": (3, 5, 8, 12, 18, 27, 40, 55, 70, 80, 88, 94),
    "WEBP": (0, 5, 12, 25, 40, 60, 75, 85, 92, 97),
    "AVIF": (5, 15, 25, 35, 45, 55, 65, 75, 85),
    "JXL": (5, 15, 30, 45, 60, 70, 80, 88, 94),
}
REPETITIONS = 5
Curve = list[tuple[float, float, float]]
"""Quality, bits per pixel and PSNR of each point."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--qualities", type=float, nargs="+", default=[0, 8, 16, 25, 35, 45, 55, 65, 75, 85])
    parser.add_argument("--plot", type=Path, help="a picture of the curves (matplotlib)")
    options = parser.parse_args()
    images = sorted(path for path in options.images.iterdir() if path.suffix == ".png")
    codec = Codec.of(open_model(ModelOptions(options.vae)))
    if codec is None:
        raise SystemExit(f"{options.vae} is no codec.")
    print(f"{len(images)} images, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    curves = {"vaekit": own_curve(codec, images, options.qualities)}
    if find_spec("pillow_jxl"):
        import_module("pillow_jxl")
    for name, qualities in OTHERS.items():
        if name in Image.registered_extensions().values():
            curves[name] = other_curve(name, images, qualities)
    for name, curve in curves.items():
        print(f"\n{name}\n  quality  bits/pixel  PSNR dB")
        for quality, rate, distortion in curve:
            print(f"  {quality:7.4g}  {rate:10.3f}  {distortion:7.2f}")
    print("\ncodec    BD-rate against JPEG  over PSNR dB   at 27 / 30 / 33 dB, of JPEG's bytes")
    for name, curve in curves.items():
        if name != "JPEG":
            print(f"{name:8} {difference(curves['JPEG'], curve)}")
    timings(codec, images[0])
    if options.plot:
        plot(curves, options.plot)


def own_curve(codec: Codec, images: Sequence[Path], qualities: Sequence[float]) -> Curve:
    """Real files, each decoded again from what it holds."""
    points = []
    with tempfile.TemporaryDirectory() as folder:
        for quality in qualities:
            results = [
                compress_images(codec, path, Path(folder) / "x.vk", Rate(float(quality)), verify=True).results[0]
                for path in images
            ]
            points.append((quality, bits_per_pixel(results), mean_psnr(results)))
    return points


def other_curve(name: str, images: Sequence[Path], qualities: Sequence[int]) -> Curve:
    """The same for a codec of Pillow."""
    points = []
    for quality in qualities:
        rates, distortions = [], []
        for path in images:
            with Image.open(path) as image:
                original = image.convert("RGB")
            file = io.BytesIO()
            original.save(file, name, quality=quality)
            with Image.open(file) as image:
                error = np.asarray(image.convert("RGB"), np.float64) - np.asarray(original, np.float64)
            rates.append(8 * len(file.getvalue()) / (original.width * original.height))
            distortions.append(10 * np.log10(255**2 / np.square(error).mean()))
        points.append((float(quality), float(np.mean(rates)), float(np.mean(distortions))))
    return points


def log_rate(curve: Curve) -> tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float, float]:
    """The logarithm of the rate as a function of PSNR, and the interval where it is known."""
    rates, distortions = np.array([point[1:] for point in sorted(curve, key=lambda point: point[2])]).T
    return PchipInterpolator(distortions, np.log(rates)), distortions[0], distortions[-1]


def difference(reference: Curve, curve: Curve) -> str:
    """The Bjontegaard rate difference, its interval, and relative rates at three values of PSNR."""
    (one, first, last), (other, start, end) = log_rate(reference), log_rate(curve)
    low, high = max(first, start), min(last, end)
    grid = np.linspace(low, high, 1000)
    mean = np.expm1(np.mean(other(grid) - one(grid)))
    ratios = [
        f"{np.exp(other(np.array([at])) - one(np.array([at])))[0]:.2f}" if low <= at <= high else "-"
        for at in (27.0, 30.0, 33.0)
    ]
    return f"{mean:>+20.1%}  {low:.1f} to {high:.1f}   {' / '.join(ratios)}"


def timings(codec: Codec, path: Path) -> None:
    """The median seconds of encoding and decoding one image."""
    x = codec.model.domain.read_all([path], codec.model.schema, codec.model.engine.geometry).x
    file = codec.encoded(x, 30.0)
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(REPETITIONS + 1):
        started = time.perf_counter()
        codec.encoded(x, 30.0)
        middle = time.perf_counter()
        codec.decoded(file)
        seconds["encode"].append(middle - started)
        seconds["decode"].append(time.perf_counter() - middle)
    shown = ", ".join(f"{name} {median(each[1:]):.2f} s" for name, each in seconds.items())
    print(f"\n{path.name}, {x.shape[3]}x{x.shape[2]}: {shown} (medians of {REPETITIONS})")


def plot(curves: dict[str, Curve], path: Path) -> None:
    """Draw the curves."""
    pyplot = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
    for name, curve in curves.items():
        axes.plot([point[1] for point in curve], [point[2] for point in curve], marker="o", markersize=3, label=name)
    axes.set(xlabel="bits per pixel", ylabel="PSNR, dB", xlim=(0, 2), ylim=(22, 40))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()

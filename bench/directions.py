"""Measure, from pixels, what learned directions of latent space change: strokes of digits, faces, photographs.

    python bench/directions.py DATA [--digits VAE] [--faces VAE] [--photos VAE] [--out DIR]

DATA holds the folders mnist, faces, kodak and photos. Directions are learned by `vaekit.tasks.direction` from some of
the items, and move others:

digits  Thickness of strokes and slant, measured in pixels as by Morpho-MNIST (Castro et al. 2019, arXiv 1809.10780).
        They are learned from 6,000 training digits, and move 200 test digits by -2 to 2 standard deviations.
faces   Brightness is the mean gray level. For the size of the head, photographs are enlarged by known factors, which
        are the labels. The size of a result is measured by registration: the enlargement of the face that has not been
        moved with the highest correlation. They are learned from 36 persons, and move the faces of four others.
photos  Exposure, contrast and white balance of photographs are altered by known amounts, which are the labels. They are
        learned from some photographs, and move others, which are compared to the photographs altered by that amount.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize
from skimage.transform import resize
from torch import Tensor

from vaekit.checkpoints.direction_files import load_direction
from vaekit.datasets.array_files import read_idx
from vaekit.domains.images.domain import ImageSchema
from vaekit.domains.images.preparation import Preparation
from vaekit.domains.images.write import write_image
from vaekit.latents.directions import Direction
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.image.lab import encoded_light, lab, linear_light
from vaekit.tasks.direction import DirectionOptions, DirectionResult, direction
from vaekit.tasks.edit import moved
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

Levels = NDArray[np.uint8]
SIDE = 128
"""Of photographs, in pixels."""
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
METHODS = ("mean", "ridge")


@dataclass(frozen=True)
class Learned:
    """A direction, and what `vaekit direction` says of it."""

    result: DirectionResult
    direction: Direction


class Workbench:
    """A VAE, labelled arrays of images, and the directions that were learned from them."""

    def __init__(self, vae: str, folder: Path) -> None:
        model = open_model(ModelOptions(vae), EngineOptions(device="cpu", batch=64))
        size = model.engine.geometry.size
        preparation = Preparation(size[0] if size else SIDE, model.engine.geometry.channels)
        self.model: OpenModel = replace(model, schema=ImageSchema(preparation))
        self.folder = folder

    def store(self, name: str, x: NDArray[Any], labels: Mapping[str, Sequence[float]]) -> Path:
        """Write a data set."""
        path = self.folder / f"{name}.npz"
        np.savez(path, x=x, **{key: np.asarray(values) for key, values in labels.items()})
        return path

    def learn(self, data: Path, label: str, method: str, *others: "Learned", spread: bool = False) -> Learned:
        """Learn a direction."""
        against = tuple(other.result.file for other in others)
        out = self.folder / f"{label}-{method}-{len(others)}-{spread}.safetensors"
        options = DirectionOptions(label, method=method, orthogonal_to=against, spread=spread)
        return Learned(direction(self.model, [data], out, options), load_direction(out).direction)

    def reconstructed(self, pixels: Tensor) -> Tensor:
        """Images (b, c, h, w) in [-1, 1], encoded and decoded."""
        return self.model.engine.reconstruct(pixels).clamp(-1, 1)

    def edited(self, pixels: Tensor, learned: Direction, strength: float) -> Tensor:
        """Images (b, c, h, w) in [-1, 1], moved."""
        z = moved([learned], [strength], self.model.engine.encode(pixels).mode)
        return self.model.engine.decode(z, tuple(pixels.shape[2:])).clamp(-1, 1)


def as_pixels(levels: NDArray[Any]) -> Tensor:
    """Gray levels (n, h, w) or colors (n, h, w, 3) as (n, c, h, w) in [-1, 1]."""
    values = levels[..., None] if levels.ndim == 3 else levels
    return torch.from_numpy(np.moveaxis(values, 3, 1).astype(np.float32)) / 127.5 - 1


def levels_of(image: Tensor) -> Levels:
    """An image (c, h, w) in [-1, 1] as 8-bit levels (h, w, c)."""
    return ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def score_of(result: DirectionResult) -> str:
    """Held-out R^2 of a direction, and that of the best linear probe."""
    own, best = result.score, result.probe_score
    return f"{own.r2 if own else float('nan'):.2f} ({best.r2 if best else float('nan'):.2f})"


def print_rows(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


# Digits


def thickness(digit: NDArray[Any]) -> float:
    """Mean thickness of strokes in pixels: twice the mean distance of the skeleton to the background, at four times the
    resolution (Morpho-MNIST)."""
    ink = resize(digit.astype(float), (112, 112), order=3) > digit.max() / 2
    skeleton = skeletonize(ink)
    return float(2 * distance_transform_edt(ink)[skeleton].mean() / 4) if skeleton.any() else float("nan")


def slant(digit: NDArray[Any]) -> float:
    """Shear in degrees, positive to the right, from the second moments of the ink (Morpho-MNIST)."""
    ink = digit.astype(float)
    y, x = np.mgrid[: ink.shape[0], : ink.shape[1]]
    y, x = y - (ink * y).sum() / ink.sum(), x - (ink * x).sum() / ink.sum()
    return float(np.degrees(np.arctan(-(ink * x * y).sum() / (ink * y * y).sum())))


MEASURES: Mapping[str, Callable[[NDArray[Any]], float]] = {"thickness": thickness, "slant": slant}


def measured(x: Tensor, measure: Callable[[NDArray[Any]], float]) -> NDArray[np.float64]:
    """A measure of each of images (n, 1, h, w)."""
    return np.array([measure(each) for each in ((x[:, 0] + 1) / 2).numpy()])


def trend(values: NDArray[np.float64]) -> tuple[float, float]:
    """Of values (steps, n): the mean slope per step, and the mean correlation with the steps."""
    steps, kept = np.array(STEPS), values[:, np.isfinite(values).all(axis=0)]
    slopes = (steps[:, None] * kept).sum(axis=0) / (steps**2).sum()
    spread = np.sqrt((steps**2).sum()) * np.linalg.norm(kept - kept.mean(axis=0), axis=0)
    products = (steps[:, None] * (kept - kept.mean(axis=0))).sum(axis=0)
    return float(slopes.mean()), float((products / np.maximum(spread, 1e-12)).mean())


def digits(bench: Workbench, data: Path, out: Path, count: int) -> None:
    """Thickness and slant."""
    train = read_idx(data / "mnist" / "train-images-idx3-ubyte.gz")[: 30 * count]
    test = as_pixels(read_idx(data / "mnist" / "t10k-images-idx3-ubyte.gz")[:count])
    labels = {name: [measure(digit) for digit in train] for name, measure in MEASURES.items()}
    stds = {name: float(np.nanstd(values)) for name, values in labels.items()}
    path = bench.store("digits", train, labels)
    print_rows(
        f"Digits: {len(train):,} labelled; in the data thickness {np.nanmean(labels['thickness']):.2f} +- "
        f"{stds['thickness']:.2f} pixels, slant {np.nanmean(labels['slant']):.1f} +- {stds['slant']:.1f} degrees; "
        f"correlation {np.corrcoef(*(np.nan_to_num(values) for values in labels.values()))[0, 1]:+.2f}. "
        f"{count} test digits moved by {', '.join(f'{step:+g}' for step in STEPS)} steps.",
        ("direction", "method", "orthogonal", "R2 held out (probe)", "own, per step", "r", "predicted",
         "after decoding", "other, per step", "other, in std", "predicted", "after decoding"),
        [digit_row(bench, path, test, name, method, alone, stds, out) for name in MEASURES for method in METHODS
         for alone in (False, True)],
    )  # fmt: skip


def digit_row(
    bench: Workbench,
    path: Path,
    test: Tensor,
    name: str,
    method: str,
    alone: bool,
    stds: Mapping[str, float],
    out: Path,
) -> list[str]:
    """Learn one direction, and measure moved digits."""
    other = next(each for each in MEASURES if each != name)
    against = [bench.learn(path, other, method)] if alone else []
    learned = bench.learn(path, name, method, *against)
    frames = [bench.edited(test, learned.direction, step) for step in STEPS]
    own, r = trend(np.stack([measured(frame, MEASURES[name]) for frame in frames]))
    side, _ = trend(np.stack([measured(frame, MEASURES[other]) for frame in frames]))
    effect = next(each for each in learned.result.side_effects if each.label == other)
    strips = [torch.cat([frame[i : i + 1] for frame in frames], dim=3) for i in (0, 1, 2, 3)]
    write_image(out / f"{name}-{method}{'-orthogonal' if alone else ''}.png", as_rgb(torch.cat(strips, dim=2)))
    return [
        *(name, method, "yes" if alone else "no", score_of(learned.result), f"{own:+.2f}", f"{r:+.2f}"),
        *(f"{learned.result.step:+.2f}", f"{learned.result.decoded_step or 0:+.2f}", f"{side:+.2f}"),
        *(f"{side / stds[other]:+.2f}", f"{effect.change:+.2f}", f"{effect.decoded or 0:+.2f}"),
    ]


# Faces


def square_of(face: Image.Image, side: int, size: int = 64) -> Levels:
    """The middle square of a face of a side, as size x size pixels."""
    left, top = (face.width - side) // 2, (face.height - side) // 2
    return np.asarray(face.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC))


def enlargement(moved_face: Tensor, start: Tensor, factors: NDArray[np.float64]) -> float:
    """The natural logarithm of the factor by which a face (1, h, w) was enlarged from `start`: that with the highest
    correlation of the middle."""
    side = start.shape[-1]
    inside = slice(side // 8, side - side // 8)
    wanted = moved_face[0, inside, inside].flatten()

    def correlation(factor: float) -> float:
        grid = torch.nn.functional.affine_grid(torch.eye(2, 3)[None] / factor, [1, 1, side, side], align_corners=False)
        scaled = torch.nn.functional.grid_sample(start[None], grid, padding_mode="border", align_corners=False)
        return float(torch.corrcoef(torch.stack([wanted, scaled[0, 0, inside, inside].flatten()]))[0, 1])

    return float(np.log(max(factors, key=correlation)))


def faces(bench: Workbench, data: Path, out: Path) -> None:
    """Brightness and the size of the head."""
    people = [[Image.open(path) for path in sorted((data / "faces" / "att_faces" / f"s{i}").glob("*.pgm"))]
              for i in range(1, 41)]  # fmt: skip
    sides = (68, 74, 80, 86, 92)
    known = [(square_of(face, side), np.log(80 / side)) for person in people[:36] for face in person for side in sides]
    x = np.stack([pixels for pixels, _ in known])
    path = bench.store("faces", x, {"size": [size for _, size in known], "brightness": x.mean(axis=(1, 2)).tolist()})
    test = as_pixels(np.stack([square_of(face, 80) for person in people[36:] for face in person]))
    factors = np.exp(np.linspace(-0.3, 0.3, 61))
    larger = as_pixels(np.stack([square_of(face, 74) for person in people[36:] for face in person]))
    pairs = zip(bench.reconstructed(larger), bench.reconstructed(test), strict=True)
    size = np.mean([enlargement(one, other, factors) for one, other in pairs])
    print(f"Reconstructions of faces that are enlarged by {100 * np.log(80 / 74):.1f} % measure {100 * size:+.1f} %.")
    rows = []
    for name, method, alone in (
        (name, method, alone) for name in ("brightness", "size") for method in METHODS for alone in (False, True)
    ):
        other = "size" if name == "brightness" else "brightness"
        learned = bench.learn(path, name, method, *([bench.learn(path, other, method)] if alone else []))
        frames = [bench.edited(test, learned.direction, step) for step in STEPS]
        start = frames[STEPS.index(0)]
        light, r_light = trend(np.stack([frame.mean(dim=(1, 2, 3)).numpy() * 127.5 for frame in frames]))
        size, r_size = trend(np.array([[enlargement(a, b, factors) for a, b in zip(frame, start, strict=True)]
                                       for frame in frames]))  # fmt: skip
        strips = [torch.cat([frame[i : i + 1] for frame in frames], dim=3) for i in (0, 10, 20, 30)]
        write_image(out / f"{name}-{method}{'-orthogonal' if alone else ''}.png", as_rgb(torch.cat(strips, dim=2)))
        steps = (learned.result.step, learned.result.decoded_step or 0)
        rows.append([
            *(name, method, "yes" if alone else "no", score_of(learned.result)),
            *(f"{light:+.1f}", f"{r_light:+.2f}", f"{100 * size:+.1f} %", f"{r_size:+.2f}"),
            *(f"{step:+.1f}" if name == "brightness" else f"{100 * step:+.1f} %" for step in steps),
        ])  # fmt: skip
    print_rows(
        f"Faces: {len(x):,} squares of 36 persons, enlarged by {80 / 92:.2f} to {80 / 68:.2f}; {len(test)} faces of "
        "four others moved.",
        ("direction", "method", "orthogonal", "R2 held out (probe)", "gray levels, per step", "r", "size, per step",
         "r", "own, predicted", "after decoding"),
        rows,
    )  # fmt: skip


# Photographs


def exposed(photo: Tensor, stops: float) -> Tensor:
    """Light times 2 ** stops."""
    return encoded_light(linear_light(photo) * 2**stops)


def contrasted(photo: Tensor, amount: float) -> Tensor:
    """The distance of values from middle gray times 2 ** amount."""
    return (photo * 2**amount).clamp(-1, 1)


def warmed(photo: Tensor, amount: float) -> Tensor:
    """Red light times 2 ** amount, and blue light divided by it."""
    return encoded_light(linear_light(photo) * torch.tensor([2**amount, 1, 2**-amount]).view(3, 1, 1))


ALTERED: Mapping[str, tuple[Callable[[Tensor, float], Tensor], float]] = {
    "exposure": (exposed, 1.0),
    "contrast": (contrasted, 0.6),
    "warmth": (warmed, 0.4),
}
"""The change, and its largest amount."""


def means(pixels: Tensor) -> dict[str, float]:
    """Mean lightness L*, its standard deviation over pixels, and mean b* of images (n, 3, h, w)."""
    lightness, _, yellow = lab(pixels).unbind(1)
    contrast = lightness.std(dim=(1, 2)).mean().item()
    return {"exposure": lightness.mean().item(), "contrast": contrast, "warmth": yellow.mean().item()}


def decibels(one: Tensor, other: Tensor) -> float:
    """Mean PSNR over images (n, c, h, w) in [-1, 1]."""
    errors = ((one - other) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * errors.log10()).mean())


def photograph(path: Path) -> Tensor:
    """The middle square of a photograph, (3, SIDE, SIDE) in [-1, 1]."""
    with Image.open(path) as image:
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        square = image.convert("RGB").crop((left, top, left + short, top + short))
        return as_pixels(np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))[None])[0]


def photos(bench: Workbench, data: Path, out: Path) -> None:
    """Exposure, contrast and white balance."""
    kodak = sorted((data / "kodak").glob("*.png"))
    known = [photograph(path) for path in (*kodak[:-4], *sorted((data / "photos").glob("*.png")))]
    test = [photograph(path) for path in kodak[-4:]]
    rows = []
    learned: dict[tuple[str, bool], Learned] = {}
    for name, (change, most) in ALTERED.items():
        amounts = np.linspace(-most, most, 3)
        x = np.stack([levels_of(change(photo, amount)) for photo in known for amount in amounts])
        path = bench.store(name, x, {name: np.tile(amounts, len(known)).tolist()})
        for spread in (False, True) if name == "contrast" else (False,):
            learned[name, spread] = bench.learn(path, name, "mean", spread=spread)
    start = torch.stack(test)
    plain = bench.reconstructed(start)
    for (name, spread), each in learned.items():
        change, most = ALTERED[name]
        for amount in (-most / 2, most / 2):
            target = torch.stack([change(photo, amount) for photo in test])
            ceiling = decibels(bench.reconstructed(target), target)
            steps = amount * each.result.distance
            result = bench.edited(start, each.direction, steps)
            rows.append([
                *(f"{name}{', --spread' * spread}", score_of(each.result), f"{amount:+.2f}", f"{steps:+.2f}"),
                f"{means(target)[name] - means(start)[name]:+.1f}",
                f"{means(result)[name] - means(plain)[name]:+.1f}",
                *(f"{decibels(plain, target):.1f}", f"{decibels(result, target):.1f}", f"{ceiling:.1f}"),
            ])  # fmt: skip
            if amount > 0:
                shown = [torch.cat([some[i : i + 1] for some in (plain, result, target)], dim=3) for i in (0, 1)]
                write_image(out / f"{name}{'-spread' * spread}.png", as_rgb(torch.cat(shown, dim=2)))
    print_rows(
        f"Photographs: {len(known)} altered by three amounts each; {len(test)} others moved. Lightness L*, its "
        "standard deviation, and b*; PSNR against the altered photograph.",
        ("direction", "R2 held out (probe)", "amount", "steps", "change, altered", "change, moved",
         "PSNR not moved", "moved", "altered, reconstructed"),
        rows,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    for name in ("digits", "faces", "photos"):
        parser.add_argument(f"--{name}", help="the VAE")
    parser.add_argument("--count", type=int, default=200, help="moved digits; 30 times as many are labelled")
    parser.add_argument("--out", type=Path, default=Path("directions"), help="folder for images")
    told = parser.parse_args()
    for part in ("digits", "faces", "photos"):
        vae, started = getattr(told, part), time.perf_counter()
        if vae is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            bench, out = Workbench(vae, Path(folder)), told.out / part
            if part == "digits":
                digits(bench, told.data, out, told.count)
            else:
                {"faces": faces, "photos": photos}[part](bench, told.data, out)
        print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

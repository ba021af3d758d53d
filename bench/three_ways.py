"""VAE against GAN against diffusion: the same digits, the same minutes, one table and one picture.

    python bench/three_ways.py --mnist DIR --out DIR [--minutes 20] [--samples 5000] [--set KEY=VALUE ...]

Each way gets --minutes of training in all, without labels: a VAE (mnist-latent); a small GAN; rectified flow on pixels;
rectified flow on the latents of a VAE, which takes a third of the minutes; a VQ-VAE, which takes a third, and a
transformer over its codes. `vaekit train` trains VAEs and flows, and the same call goes on where they were interrupted;
`three_ways_models.py` has the others. The table has, for the samples of each, for the training digits and for
reconstructions:

    Frechet    the distance to the test digits in the features of a classifier (see diffusion_mnist.py): quality
    precision  the share of samples within the manifold of test digits in these features, and
    recall     the share of test digits within that of samples: coverage (Kynkaanniemi et al. 2019, arXiv 1904.06991,
               3 nearest neighbors)
    classes    the distance of the shares of classes, as the classifier sees them, from those of the test digits (total
               variation; 0 to 1): collapsed modes
    sharpness  the mean squared gradient, relative to the test digits; below 1 is blur
    seconds    per 1,000 samples; milliseconds of a step of training, with 128 images; parameters

THREE_WAYS.png in --out has a row of samples of each.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion_mnist import BATCH, CALLBACKS, Digits, digits, features, opened, reconstructed, trained_classifier
from three_ways_models import size, trained_code_prior, trained_gan
from vaekit.diffusion.samplers import follow, time_grid
from vaekit.distributions import Quantized
from vaekit.domains.images.write import write_image
from vaekit.metrics.frechet import frechet_distance, gaussian_of
from vaekit.metrics.image.color import as_rgb
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.train import TrainOptions, train
from vaekit.training.seeds import generator_for

SIDE = 28
NEIGHBORS = 3
SHARE = 1 / 3
"""The part of the minutes for the VAE of a model in two parts."""
SHOWN = 12
"""Samples of each way in the picture."""
GRAY = ("data.size=28", "data.channels=1", "vae.image_channels=1", "vae.codes=128")
"""Changes of the recipe `vq`: 7x7 codes of 128."""
UNCONDITIONAL = ('diffusion.condition={kind="none"}', "diffusion.sampling.guidance=1")
Sampler = Callable[[int, torch.Generator], Tensor]
"""(number, generator) -> images (number, 1, 28, 28) in [-1, 1]."""


@dataclass(frozen=True)
class Way:
    """A trained generator."""

    sample: Sampler
    parameters: int
    step_ms: float
    """Milliseconds of a step of its last part."""


def trained_run(recipe: str, mnist: Path, out: Path, minutes: float, changes: tuple[str, ...], vae: str = "") -> float:
    """Train by a recipe; returns the milliseconds of a step, from the log."""
    source = ModelOptions(vae) if vae else None
    train(TrainOptions(recipe, mnist, out, None, minutes, 0, changes, vae=source), CALLBACKS)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    seconds = [(each["samples"], each["seconds"]) for each in lines if not each.get("held_out")]
    batch = json.loads((out / "recipe.json").read_text("utf-8"))["recipe"]["schedule"]["batch_size"]
    (first, start), (last, end) = seconds[0], seconds[-1]
    return 1000 * (end - start) / max(1, last - first) * batch


def vae_way(mnist: Path, out: Path, minutes: float) -> Way:
    """Samples are means of p(x|z) for z from the prior."""
    step = trained_run("mnist-latent", mnist, out, minutes, ())
    vae = open_model(ModelOptions(str(out)), EngineOptions()).engine.vae

    def sample(count: int, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            return vae.likelihood(torch.randn(count, *latent_of(vae), generator=generator)).mode

    return Way(sample, size(vae), step)


def latent_of(vae: torch.nn.Module) -> tuple[int, ...]:
    """The shape of its latents."""
    with torch.no_grad():
        return tuple(vae.encode(torch.zeros(1, 1, SIDE, SIDE)).mode.shape[1:])  # type: ignore[operator]


def gan_way(images: Tensor, minutes: float) -> Way:
    """The GAN makes 32x32 images; their margins are those that were added to the digits."""
    made = trained_gan(F.pad(images, (2, 2, 2, 2), value=-1.0), 60 * minutes)
    return Way(lambda count, g: made.sample(count, g)[..., 2:-2, 2:-2], made.parameters, 1000 * made.seconds_per_step)


def flow_way(run: Path, step: float) -> Way:
    """Samples of a diffusion model."""
    generator = opened(run)
    sampling = generator.file.facts.sampling

    def sample(count: int, randomness: torch.Generator) -> Tensor:
        noise = torch.randn(count, *generator.shape, generator=randomness)
        none = torch.zeros(count, dtype=torch.long)
        times = time_grid(sampling.steps, generator.file.facts.shift)
        with torch.no_grad():
            z = follow(lambda x, t: generator.model(x, t, none), noise, times, sampling.sampler)
            return generator.space.decode(generator.model.denormalize(z), (SIDE, SIDE))

    return Way(sample, size(generator.model), step)


def codes_way(mnist: Path, images: Tensor, out: Path, minutes: float) -> Way:
    """A VQ-VAE, and a transformer over its codes."""
    trained_run("vq", mnist, out, SHARE * minutes, GRAY)
    vae = open_model(ModelOptions(str(out)), EngineOptions()).engine.vae.eval()
    with torch.no_grad():
        posteriors = [vae.encode(part) for part in images.split(BATCH)]
        codes = torch.cat([each.codes for each in posteriors if isinstance(each, Quantized)])
    embed = vae.to_posterior.embed

    def decode(chosen: Tensor) -> Tensor:
        return vae.likelihood(embed(chosen)).mode

    made = trained_code_prior(codes, int(codes.max()) + 1, decode, 60 * (1 - SHARE) * minutes)
    return Way(made.sample, made.parameters + size(vae), 1000 * made.seconds_per_step)


def within(points: Tensor, others: Tensor) -> float:
    """The share of points that are within the manifold of others: nearer to one of them than its third neighbor."""
    radii = torch.cat([torch.cdist(part, others).kthvalue(NEIGHBORS + 1, dim=1).values for part in others.split(BATCH)])
    return (
        torch.cat([(torch.cdist(part, others) <= radii).any(dim=1) for part in points.split(BATCH)])
        .float()
        .mean()
        .item()
    )


def sharpness(images: Tensor) -> float:
    """The mean squared difference of neighboring pixels."""
    return (images.diff(dim=2).square().mean() + images.diff(dim=3).square().mean()).item()


class Judge:
    """The measures of a set of images."""

    def __init__(self, folder: Path, training: Digits, test: Digits) -> None:
        self.classifier, right = trained_classifier(folder / "classifier.pt", training, test, 6)
        print(f"classifier: right on {right:.2%} of the test digits", flush=True)
        self.features = features(self.classifier, test.images)
        self.gaussian = gaussian_of(self.features)
        self.classes = self.shares(self.features)
        self.sharpness = sharpness(test.images)

    @torch.no_grad()
    def shares(self, rows: Tensor) -> Tensor:
        """The share of each class, as the classifier sees it, (10,)."""
        return self.classifier.out(rows).argmax(dim=1).bincount(minlength=10) / len(rows)

    def row(self, images: Tensor) -> Mapping[str, float]:
        """The measures of images (n, 1, 28, 28)."""
        rows = features(self.classifier, images)
        expected = self.features[: len(rows)]
        return {
            "Frechet": float(frechet_distance(gaussian_of(rows), self.gaussian)),
            "precision": within(rows, expected),
            "recall": within(expected, rows),
            "classes": 0.5 * (self.shares(rows) - self.classes).abs().sum().item(),
            "sharpness": sharpness(images) / self.sharpness,
        }


def timed(sample: Sampler, count: int) -> tuple[Tensor, float]:
    """Samples, clamped, and the seconds for 1,000."""
    started = time.monotonic()
    made = [
        sample(min(BATCH, count - start), generator_for(0, "three ways", start)).clamp(-1, 1)
        for start in range(0, count, BATCH)
    ]
    return torch.cat(made), 1000 * (time.monotonic() - started) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="a folder with MNIST's idx files")
    parser.add_argument("--out", type=Path, required=True, help="a folder for runs and the picture")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, for each way")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--set", action="append", default=[], help="changes of diffusion-mnist")
    asked = parser.parse_args()
    out, minutes, changes = asked.out, asked.minutes, (*UNCONDITIONAL, *asked.set)
    training, test = digits(asked.mnist, "train"), digits(asked.mnist, "t10k")
    judge = Judge(out, training, test)
    trained_run("mnist-latent", asked.mnist, out / "small-vae", SHARE * minutes, ())
    latent = trained_run(
        "diffusion-mnist", asked.mnist, out / "latent", (1 - SHARE) * minutes, changes, str(out / "small-vae")
    )
    pixels = trained_run(
        "diffusion-mnist",
        asked.mnist,
        out / "pixels",
        minutes,
        (*changes, "vae.kind=none", "diffusion.net.patch=4"),
    )
    ways = {
        "VAE": vae_way(asked.mnist, out / "vae", minutes),
        "GAN": gan_way(training.images, minutes),
        "pixel diffusion": flow_way(out / "pixels", pixels),
        "latent diffusion": flow_way(out / "latent", latent),
        "VQ + transformer": codes_way(asked.mnist, training.images, out / "vq", minutes),
    }
    real = training.images[: asked.samples]
    shown = {"training digits": real, "reconstructions": reconstructed(opened(out / "latent"), real)}
    table = {name: judge.row(images) for name, images in shown.items()}
    for name, way in ways.items():
        shown[name], seconds = timed(way.sample, asked.samples)
        extra = {"seconds": seconds, "step ms": way.step_ms, "parameters": float(way.parameters)}
        table[name] = {**judge.row(shown[name]), **extra}
    columns = ("Frechet", "precision", "recall", "classes", "sharpness", "seconds", "step ms")
    print(f"\n{'':<18}" + "".join(f"{each:>11}" for each in columns) + f"{'parameters':>12}")
    for name, values in table.items():
        cells = [f"{values[each]:>11.3f}" if each in values else f"{'':>11}" for each in columns]
        print(f"{name:<18}" + "".join(cells) + (f"{int(values['parameters']):>12,}" if "parameters" in values else ""))
    rows = [torch.cat(list(images[:SHOWN]), dim=2) for images in shown.values()]
    write_image(out / "THREE_WAYS.png", as_rgb(torch.cat(rows, dim=1)[None]))


if __name__ == "__main__":
    main()

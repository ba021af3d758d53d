"""Compare published classical VAEs with ours: ELBO, KL, active units, reconstruction, disentanglement.

    python bench/classical.py --vaes DIR --mnist DIR --faces DIR [--run RUN ...] [--limit 2000]

The VAEs are those of YannDubs/disentangling-vae, in folders named after their training data. MNIST: the test digits,
resized to 32x32 as in training (gray, so the "likelihood" is the customary cross-entropy of gray values, not a
normalized density). dSprites: sprites drawn by `testcards/sprites.py` with known factors, for the mutual information
gap; they follow that data set's description, but are not its pixels. CelebA: gray faces of another data set, 64x64. RUN
is a folder written by `vaekit train mnist-beta-tcvae`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vaekit
from vaekit.datasets.array_files import read_idx
from vaekit.domains.images.preparation import shades
from vaekit.metrics.latent.disentanglement import mutual_information_gap
from vaekit.testcards.sprites import sprites
from vaekit.training.health import ACTIVE
from vaekit.training.terms.plain import item_means
from vaekit.vae import VAE

COLUMNS = "VAE                    data                      -ELBO     KL  active   PSNR    MIG"
MIG_ITEMS = 10_000
SIDE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vaes", type=Path, required=True)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True, help="a folder of portraits")
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--limit", type=int, default=2000)
    options = parser.parse_args()
    digits = resized(read_idx(next(options.mnist.glob("t10k-images*")))[: options.limit], "L", SIDE)
    drawn = sprites(MIG_ITEMS, torch.Generator().manual_seed(0))
    portraits = [np.asarray(Image.open(path)) for path in sorted(options.faces.rglob("*.pgm"))[: options.limit]]
    data = {
        "mnist": (f"{len(digits):,} MNIST test digits", digits),
        "dsprites": (f"{options.limit:,} sprites", drawn.images[: options.limit]),
        "celeba": (f"{len(portraits)} gray faces", resized(portraits, "RGB", 64)),
    }
    print(COLUMNS, flush=True)
    for path in [*sorted(each for each in options.vaes.iterdir() if each.is_dir()), *options.run]:
        told, x = data[next((name for name in data if name in path.name), "mnist")]
        vae = vaekit.load(path)
        gap = mig(vae, drawn.images, drawn.factors) if "dsprites" in path.name else None
        print(line(path.name, told, vae, x, gap), flush=True)


def resized(images: list[np.ndarray] | np.ndarray, mode: str, side: int) -> Tensor:
    """Images of a mode and side, (n, c, side, side) in [-1, 1]."""
    images = [Image.fromarray(each).convert(mode).resize((side, side), Image.Resampling.BILINEAR) for each in images]
    pixels = torch.from_numpy(np.stack([np.atleast_3d(np.asarray(image_)) for image_ in images]))
    return shades(pixels.permute(0, 3, 1, 2))


@torch.no_grad()
def line(name: str, told: str, vae: VAE, x: Tensor, gap: float | None) -> str:
    """One row of the table."""
    posterior, prior = vae.encode(x), vae.prior
    assert prior is not None
    z = posterior.sample(torch.Generator().manual_seed(0))
    kl = posterior.kl(prior).mean().item()
    elbo = vae.likelihood(z).log_prob(x).mean().item() - kl
    active = int((posterior.mean.flatten(1).var(dim=0) > ACTIVE).sum())
    error = item_means((vae.reconstruct(x) - x).square()) / 4
    psnr = (-10 * error.log10()).mean().item()
    score = "" if gap is None else f"{gap:.3f}"
    units = f"{active}/{posterior.mean.shape[1]}"
    return f"{name:<22} {told:<24} {-elbo:>8.2f} {kl:>6.2f} {units:>7} {psnr:>6.2f} {score:>6}"


@torch.no_grad()
def mig(vae: VAE, images: Tensor, factors: Tensor) -> float:
    """The mutual information gap of the posterior means."""
    means = torch.cat([vae.encode(batch).mean.flatten(1) for batch in images.split(500)])
    return mutual_information_gap(means, factors).score


if __name__ == "__main__":
    main()

"""Examples for the page Learn of `vaekit serve`: one decoder after a pixel loss, a perceptual and an adversarial one.

    python bench/learn_losses.py DATA --lpips FILE --out FOLDER [--page FOLDER] [--samples N]

DATA is a folder with `photos`, `captioned` and `kodak`. The encoder is that of the built-in VAE; of its 16 latent
channels, the 4 principal components of the training data are kept, so that the decoder has to guess details. The
decoder learns from 64x64 crops of the first two folders with the squared error. From that checkpoint it goes on with
L1 + LPIPS, and from there with a discriminator. Between the checkpoints, weights are blended linearly, as for ESRGAN
(Wang et al. 2018, arXiv 1809.00219, section 3.4). Three crops of Kodak, decoded at every stop, are written as one WebP
file a crop, the original first, with PSNR and LPIPS of held-out crops in `losses.json`. The same command resumes after
a checkpoint.
"""

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import vaekit
from adversarial import Curve, prepared
from vaekit.distributions import Laplace, Point
from vaekit.domains.images.write import to_bytes
from vaekit.families.kl.net import KLConfig
from vaekit.metrics.image.lpips import LPIPS
from vaekit.metrics.image.psnr import psnr
from vaekit.nets.discriminator import Discriminator, DiscriminatorConfig
from vaekit.training.adversarial.adversary import Adversarial, Adversary
from vaekit.training.data import Stream
from vaekit.training.loop import initial_train_state, train
from vaekit.training.objectives import Objective
from vaekit.training.schedule import Schedule
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight
from vaekit.vae import VAE

KEPT = 4
"""Channels of the latents."""
BATCH, RATE, DECAY = 4, 5e-4, 0.99
SHOWN = (("kodim01.png", 330, 150), ("kodim05.png", 250, 190), ("kodim15.png", 250, 120))
"""Image, left and top of each crop."""
SIDE = 128
"""Of the shown crops, in pixels."""
BETWEEN = 3
"""Stops from one checkpoint to the next."""
LOOKS = 3
"""At the held-out crops, in each stage."""
QUALITY = 88
"""Of the WebP files."""


@dataclass(frozen=True)
class Stage:
    """One part of the training."""

    name: str
    share: float
    """Of the samples of the first stage."""
    weights: dict[str, float]
    """Of the terms of the objective."""
    adversarial: bool = False


STAGES = (
    Stage("pixel", 1.0, {"mse": 1.0}),
    Stage("perceptual", 0.75, {"l1": 0.1, "lpips": 1.0}),
    Stage("adversarial", 1.0, {"l1": 0.1, "lpips": 1.0}, adversarial=True),
)


class FewChannels(nn.Module):
    """Images -> the projection of a frozen encoder's latents on their first principal components, (b, z, i, j)."""

    def __init__(self, vae: VAE, examples: Tensor) -> None:
        super().__init__()
        self.vae = vae
        with torch.no_grad():
            z = torch.cat([self.latents(each) for each in examples.split(32)]).transpose(0, 1).flatten(1)
        mean = z.mean(dim=1, keepdim=True)
        _, vectors = torch.linalg.eigh((z - mean).double() @ (z - mean).double().T)
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("basis", vectors[:, -KEPT:].float())

    @torch.no_grad()
    def latents(self, x: Tensor) -> Tensor:
        """Those of the whole VAE, (b, 16, i, j)."""
        return self.vae.encode(x).mode

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        z = self.latents(x) - self.mean
        kept = torch.einsum("bcij,ck->bkij", z, self.basis)
        return torch.einsum("bkij,ck->bcij", kept, self.basis) + self.mean


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    source, held_out = prepared(options.data)
    held_out = held_out[::4]
    stream = Stream(source, options.seed)
    lpips = LPIPS.from_tensors(load_file(options.lpips)).to(memory_format=torch.channels_last)
    vae = start(stream)
    checkpoints = [learn(vae, stage, options, stream, held_out, lpips) for stage in STAGES]
    write(vae, checkpoints, options, held_out, lpips)


def start(stream: Stream[Tensor]) -> VAE:
    """The built-in VAE with fewer channels; only its decoder is trained."""
    builtin = vaekit.load("builtin").float().eval()
    encoder = FewChannels(VAE(builtin.encoder, builtin.to_posterior, None, Laplace), stream.batch(0, 256))
    assert isinstance(builtin.config, KLConfig)
    vae = VAE(encoder, Point, builtin.decoder, Laplace).to(memory_format=torch.channels_last)
    encoder.requires_grad_(False)
    assert vae.decoder is not None
    vae.decoder.requires_grad_(True)
    return vae


def learn(
    vae: VAE, stage: Stage, options: argparse.Namespace, stream: Stream[Tensor], held_out: Tensor, lpips: LPIPS
) -> dict[str, Tensor]:
    """The weights of the decoder after a stage, which are also those of the VAE now."""
    assert vae.decoder is not None
    path = options.out / f"{stage.name}.safetensors"
    if not path.exists():
        samples = round(options.samples * stage.share) // BATCH * BATCH
        schedule = Schedule(
            samples, BATCH, RATE, 10 * BATCH, 0.1, averages=(DECAY,), betas=(0.5, 0.9), gradient_clip=1.0
        )
        state = initial_train_state(vae, schedule)
        adversary = None
        if stage.adversarial:
            config = Adversarial(
                0, samples // 8, samples // 4, weight=0.5, learning_rate=4e-4, lecam=0.001, earned=True
            )
            adversary = Adversary(config, Discriminator(DiscriminatorConfig(width=32)))
            state.extras = {"adversary": adversary}
        terms = {name: TERMS[name](network=lpips) if name == "lpips" else TERMS[name]() for name in stage.weights}
        weights = {name: Weight.constant(weight) for name, weight in stage.weights.items()}
        curve = Curve(stage.name, options.out, held_out, lpips, max(BATCH, samples // LOOKS // BATCH * BATCH))
        train(
            state,
            stream,
            Objective(terms, weights, per_dimension=True),
            schedule,
            adversary=adversary,
            after=curve.after,
        )
        averaged = state.result.decoder
        assert averaged is not None
        save_file({name: each.contiguous() for name, each in averaged.state_dict().items()}, path)
    learned = load_file(path)
    vae.decoder.load_state_dict(learned)
    return learned


@torch.no_grad()
def write(
    vae: VAE, checkpoints: list[dict[str, Tensor]], options: argparse.Namespace, held_out: Tensor, lpips: LPIPS
) -> None:
    """Write the crops at all stops, and the measures."""
    assert vae.decoder is not None
    vae.eval()
    crops = torch.cat([crop(options.data / "kodak" / name, left, top) for name, left, top in SHOWN])
    rows = [crops]
    stops = []
    for first, second in pairwise(checkpoints):
        for number in range(BETWEEN + (second is checkpoints[-1])):
            share = number / BETWEEN
            vae.decoder.load_state_dict({name: torch.lerp(first[name], second[name], share) for name in first})
            y = torch.cat([vae.reconstruct(x) for x in held_out.split(32)]).clamp(-1, 1)
            distances = torch.cat([lpips(x, z) for x, z in zip(held_out.split(32), y.split(32), strict=True)])
            stops.append(
                {"psnr": round(psnr(held_out, y).mean().item(), 2), "lpips": round(distances.mean().item(), 4)}
            )
            rows.append(vae.reconstruct(crops).clamp(-1, 1))
            print(stops[-1], flush=True)
    folder = options.page or options.out
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(crops)):
        strip = torch.cat([row[i : i + 1] for row in rows], dim=2)
        Image.fromarray(to_bytes(strip)).save(folder / f"losses-{i + 1}.webp", quality=QUALITY, method=6)
    told = {"side": SIDE, "between": BETWEEN, "stages": [stage.name for stage in STAGES], "stops": stops}
    (folder / "losses.json").write_text(json.dumps(told) + "\n")


def crop(path: Path, left: int, top: int) -> Tensor:
    """A square of an image (1, 3, SIDE, SIDE) in [-1, 1]."""
    with Image.open(path) as image:
        pixels = image.convert("RGB").crop((left, top, left + SIDE, top + SIDE))
    levels = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3)
    return levels.permute(2, 0, 1)[None].float() / 127.5 - 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lpips", type=Path, required=True, help="AlexNet and LPIPS weights, safetensors")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the checkpoints")
    parser.add_argument("--page", type=Path, help="a folder for the examples; that of the checkpoints by default")
    parser.add_argument("--samples", type=int, default=1200, help="of the first stage")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()

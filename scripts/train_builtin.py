"""Train the VAE that comes inside the package, and write it with the numbers that its card records.

    python scripts/train_builtin.py --data DIR=WEIGHT [--data DIR=WEIGHT ...] --evaluate DIR --lpips FILE --out DIR

The pictures of all folders are read once, freed of near-duplicates, resized to three sizes and kept in memory; each
folder contributes crops in proportion to its weight. The same command with the same seed gives the same weights up to
the rounding of parallel sums. The pictures that the shipped weights have seen are listed in docs/builtin-vae.md.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.saving import save
from vaekit.distributions import DiagonalGaussian, Laplace, StandardNormal
from vaekit.domains.images.crops import Pixels, crops, pyramid
from vaekit.domains.images.reading import find_pictures
from vaekit.domains.images.roundtrip import as_written
from vaekit.metrics.lpips import LPIPS
from vaekit.metrics.psnr import psnr
from vaekit.nets.kl import KLConfig, build
from vaekit.runtime.engine import Engine
from vaekit.training.ema import EMA
from vaekit.training.linear_start import start_linear
from vaekit.training.loop import Progress, Schedule, train
from vaekit.training.objectives import PictureObjective
from vaekit.vae import VAE, LatentFrame

CONFIG = KLConfig(
    image_channels=3,
    latent_channels=4,
    hidden_channels=4,
    encoder_widths=(32, 64, 128, 128),
    decoder_widths=(32, 64, 128, 128),
    encoder_blocks=1,
    decoder_blocks=2,
    encoder_attention=(),
    decoder_attention=(),
    mid_attention=True,
    quant_conv=True,
    post_quant_conv=True,
    norm_groups=8,
)
SHORT_SIDES = (1024, 768, 512)
LAPLACE_SCALE = 0.1
BLOCKS_FOR_START = 20_000
BATCHES_FOR_FRAME = 40


def main() -> None:
    options = parse()
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures, weights = read_folders(options.data, options.crop)
    held_out = [read(path) for path in find_pictures([options.evaluate])]
    lpips = LPIPS.from_tensors(load_file(options.lpips))
    rng = np.random.default_rng(options.seed)
    factor = CONFIG.factor
    vae = fresh_vae(next(crops(pictures, weights, factor, BLOCKS_FOR_START, rng)))
    if options.start is not None:
        vae.load_state_dict(load_file(options.start))
    schedule = Schedule(
        samples=options.samples,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_samples=200 * options.batch_size,
        ema_decay=0.999,
        gradient_clip=1.0,
    )
    log = open(options.out / "log.jsonl", "a")  # noqa: SIM115 (open for the whole run)
    recent: list[dict[str, float]] = []

    def report(progress: Progress, ema: EMA) -> None:
        recent.append(progress.losses)
        step = progress.samples // options.batch_size
        if step % 50 == 0:
            means = {name: float(np.mean([part[name] for part in recent])) for name in recent[0]}
            recent.clear()
            line = {"samples": progress.samples, "seconds": round(progress.seconds), "lr": progress.learning_rate}
            print(json.dumps(line | {k: round(v, 4) for k, v in means.items()}), file=log, flush=True)
        if step % options.every == 0 or progress.samples >= options.samples:
            tensors = {key: tensor.contiguous() for key, tensor in ema.model.state_dict().items()}
            save_file(tensors, options.out / "ema.safetensors")
            scores = {"samples": progress.samples, "held_out": evaluate(ema.model, held_out, lpips)}
            print(json.dumps(scores), file=log, flush=True)

    batches = crops(pictures, weights, options.crop, options.batch_size, rng)
    averaged = train(
        vae,
        batches,
        PictureObjective(StandardNormal(), lpips, options.beta, options.perceptual_weight),
        schedule,
        torch.Generator().manual_seed(options.seed),
        autocast=torch.bfloat16,
        report=report,
    )
    write_package_file(averaged, batches, options.out / "builtin.safetensors")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="DIR=WEIGHT")
    parser.add_argument("--evaluate", type=Path, required=True, help="a folder of pictures kept out of training")
    parser.add_argument("--lpips", type=Path, required=True, help="AlexNet and LPIPS weights, safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=56_000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--beta", type=float, default=0.05)
    parser.add_argument("--perceptual-weight", type=float, default=1.0)
    parser.add_argument("--every", type=int, default=500, help="steps between evaluations")
    parser.add_argument("--start", type=Path, help="weights of an earlier run to go on from (its `ema.safetensors`)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def fresh_vae(blocks: torch.Tensor) -> VAE:
    encoder, decoder = build(CONFIG)
    start_linear(encoder, decoder, blocks)
    for net in (encoder, decoder):
        net.to(memory_format=torch.channels_last)
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, lambda mean: Laplace(mean, LAPLACE_SCALE))


def read(path: Path) -> Pixels:
    """RGB; see-through parts become a colour of the picture's own, drawn from its name."""
    with Image.open(path) as image:
        picture = ImageOps.exif_transpose(image)
        if "A" in picture.getbands() or "transparency" in picture.info:
            colour = tuple(np.random.default_rng(list(path.name.encode())).integers(0, 256, 3).tolist())
            see_through = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", see_through.size, (*colour, 255)), see_through)
        return np.asarray(picture.convert("RGB"))


def read_folders(folders: list[str], smallest: int) -> tuple[list[Pixels], list[float]]:
    pictures: list[Pixels] = []
    weights: list[float] = []
    for folder, _, weight in (entry.rpartition("=") for entry in folders):
        unique = without_duplicates([read(path) for path in find_pictures([Path(folder)])], smallest)
        versions = [version for picture in unique for version in pyramid(picture, SHORT_SIDES, smallest)]
        areas = [float(np.sqrt(version.shape[0] * version.shape[1])) for version in versions]
        pictures += versions
        weights += [float(weight) * area / sum(areas) for area in areas]
        print(f"{folder}: {len(unique)} pictures", flush=True)
    return pictures, weights


def without_duplicates(pictures: list[Pixels], smallest: int) -> list[Pixels]:
    """The largest of each set of pictures that look alike at 12x12, and none that is too small or plain."""
    kept: list[Pixels] = []
    thumbnails: list[np.ndarray] = []
    for picture in sorted(pictures, key=lambda pixels: -pixels.size):
        if min(picture.shape[:2]) < smallest or picture.std() < 5:
            continue
        thumbnail = np.asarray(Image.fromarray(picture).resize((12, 12), Image.Resampling.BOX), dtype=np.float32)
        if all(np.abs(thumbnail - other).mean() > 8 for other in thumbnails):
            kept.append(picture)
            thumbnails.append(thumbnail)
    return kept


@torch.no_grad()
def write_package_file(vae: VAE, batches: Iterator[torch.Tensor], path: Path) -> None:
    """The weights in half precision, with the frame that gives latents of mean 0 and standard deviation 1."""
    latents = torch.cat([vae.encode(next(batches)).mean for _ in range(BATCHES_FOR_FRAME)])
    vae.frame = LatentFrame(shift=(round(latents.mean().item(), 4),), scale=(round(1 / latents.std().item(), 4),))
    save(vae.half(), path)
    print(f"{path}: {path.stat().st_size:,} bytes, {vae.frame}")


@torch.no_grad()
def evaluate(vae: VAE, pictures: list[Pixels], lpips: LPIPS) -> dict[str, float]:
    """Mean PSNR (dB, between 8-bit pictures) and LPIPS(alex) of whole pictures."""
    engine, started = Engine(vae), time.monotonic()
    psnrs, distances = [], []
    for pixels in pictures:
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        y = as_written(engine.reconstruct(x))
        psnrs.append(psnr(x, y).item())
        distances.append(lpips(x, y).item())
    return {
        "psnr": round(float(np.mean(psnrs)), 3),
        "lpips": round(float(np.mean(distances)), 4),
        "seconds": round(time.monotonic() - started),
    }


if __name__ == "__main__":
    main()

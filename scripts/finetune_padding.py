"""Fine-tune a VAE until another padding is the right one, and write down what the borders said on the way.

    python scripts/finetune_padding.py --data DIR --lpips FILE --out OUT.safetensors [--start VAE] [--padding reflect]

This is how the community's reflection VAEs came to be (an SDXL VAE trained on with `padding_mode = "reflect"`), small:
it makes a file whose true padding is known, to check that measuring it finds the truth (docs/measuring.md). A few
minutes on one thread with the defaults.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from vaekit.checkpoints.borders import measure_borders
from vaekit.checkpoints.loading import load
from vaekit.checkpoints.saving import save
from vaekit.distributions import StandardNormal
from vaekit.domains.images.crops import crops, pyramid
from vaekit.domains.images.reading import find_pictures
from vaekit.metrics.lpips import LPIPS
from vaekit.training.ema import EMA
from vaekit.training.loop import Progress, Schedule, train
from vaekit.training.objectives import PictureObjective

SHORT_SIDES = (768, 512, 256)


def main() -> None:
    options = parse()
    torch.manual_seed(0)
    vae = load(options.start, padding=options.padding).float()
    paths = find_pictures([options.data])
    pictures = [
        version
        for path in paths
        for version in pyramid(np.asarray(Image.open(path).convert("RGB")), SHORT_SIDES, options.crop)
    ]
    batches = crops(pictures, [1.0] * len(pictures), options.crop, options.batch_size, np.random.default_rng(0))
    schedule = Schedule(
        samples=options.samples,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_samples=20 * options.batch_size,
        ema_decay=0.99,
        gradient_clip=1.0,
    )
    objective = PictureObjective(StandardNormal(), LPIPS.from_tensors(load_file(options.lpips)), 0.05, 1.0)

    def report(progress: Progress, ema: EMA) -> None:
        step = progress.samples // options.batch_size
        if step == 1 or step % options.every == 0:
            line = {"samples": progress.samples, "seconds": round(progress.seconds)}
            borders = dataclasses.asdict(measure_borders(ema.model))
            print(json.dumps(line | progress.losses | borders), flush=True)

    averaged = train(vae, batches, objective, schedule, torch.Generator().manual_seed(0), report=report)
    save(averaged.half(), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--lpips", type=Path, required=True, help="AlexNet and LPIPS weights, safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", default="builtin", help="the VAE to begin with")
    parser.add_argument("--padding", default="reflect", choices=("zeros", "reflect"))
    parser.add_argument("--samples", type=int, default=4_800)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--every", type=int, default=50, help="steps between looks at the borders")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""A diffusion model of captioned images: whether a classifier sees the category of the caption in what is generated.

    python bench/diffusion_captions.py DATA --out DIR [--vae builtin] [--minutes 40] [--set KEY=VALUE ...]

DATA has images in folders, and captions.json. Categories are folders of two levels ("animals/birds") with at least
--least images; every fifth image of each is held out, and seen by neither the diffusion model (recipe
diffusion-captions, trained by `vaekit train`) nor the judge, a convolutional classifier of categories. All other images
are trained on. The same call goes on where it was interrupted. Then EACH images are generated for each caption of
--captions trained images, and for each held-out caption of which the model knows a word. The table has

    images     what the judge looks at
    agrees     the share in which it sees the category of the caption, with its 95 % interval over captions
    nearest    the median distance (root mean square over pixels in [-1, 1]) to the nearest trained image, that of
               held-out images beside it: how far the model repeats its data

Chance is the share of the largest category. PAGE.png shows generated images beside the real one of each caption.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.domains.images.preparation import shades
from vaekit.domains.images.write import write_image
from vaekit.errors import NotFound
from vaekit.tasks.generate import OpenGenerator, latents_of, open_generator
from vaekit.tasks.generation import GenerateOptions
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.prompts import prompt_of
from vaekit.tasks.train import TrainCallbacks, TrainOptions, train

HELD_OUT = 5
"""One in this number of images of a category is held out."""
BATCH = 64
SEEN = 32
"""The side of the images that the judge looks at."""
SHOWN = 10
"""Captions on the page, of trained and of held-out images each."""


@dataclass(frozen=True)
class Captioned:
    """An image with its caption; the category is empty where it is not judged."""

    file: str
    caption: str
    category: str
    held_out: bool


class Judge(nn.Module):
    """Images (b, 3, s, s) in [-1, 1] -> logits (b, k)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 128)
        layers = [
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
            for a, b in pairwise(widths)
        ]
        self.maps = nn.Sequential(*layers)
        self.out = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(x, SEEN)
        return self.out(F.dropout(self.maps(small).mean(dim=(2, 3)), 0.3, self.training))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vae", default="builtin")
    parser.add_argument("--minutes", type=float, default=40.0, help="of the diffusion model")
    parser.add_argument("--least", type=int, default=20, help="images of a category that is judged")
    parser.add_argument("--captions", type=int, default=100, help="trained captions that are generated from")
    parser.add_argument("--each", type=int, default=4, help="images for each caption, at most 8")
    parser.add_argument("--steps", type=int, default=1500, help="of the judge's training")
    parser.add_argument("--size", type=int, default=64, help="side of the images")
    parser.add_argument("--set", action="append", default=[], help="changes of diffusion-captions")
    options = parser.parse_args()
    items = listed(options.data, options.least)
    classes = sorted({each.category for each in items} - {""})
    root = trained_images(options.data, items, options.out / "data")

    run = options.out / "run"
    changes = (f"data.size={options.size}", *options.set)
    train(
        TrainOptions("diffusion-captions", root, run, None, options.minutes, 0, changes, vae=ModelOptions(options.vae)),
        CALLBACKS,
    )
    generator = open_generator(GenerateOptions(run, run))

    judged = [each for each in items if each.category]
    real = torch.stack([opened(options.data, each.file, options.size) for each in judged])
    labels = torch.tensor([classes.index(each.category) for each in judged])
    held_out = torch.tensor([each.held_out for each in judged])
    judge = trained_judge(real[~held_out], labels[~held_out], len(classes), options.steps)
    trained = torch.stack([opened(options.data, each.file, options.size) for each in items if not each.held_out])
    largest = Counter(labels.tolist()).most_common(1)[0][1]
    print(f"\n{len(classes)} categories of {len(judged)} images; the largest has {largest / len(judged):.1%}")
    print(f"{'images':<34} {'agrees':>8} {'interval':>16} {'nearest':>8}", flush=True)

    apart = held_out.nonzero().squeeze(1)
    print(row("real, held out", judge, real[apart].unsqueeze(1), labels[apart], trained))
    order = torch.randperm(int((~held_out).sum()), generator=torch.Generator().manual_seed(0))[: options.captions]
    page = []
    for name, indices in (("trained", (~held_out).nonzero().squeeze(1)[order]), ("held-out", apart)):
        known = torch.tensor([known_words(generator, judged[i].caption) for i in indices.tolist()])
        indices = indices[known]
        captions = [judged[i].caption for i in indices.tolist()]
        made = generated(generator, captions, options.each)
        print(row(f"generated from {len(captions)} {name} captions", judge, made, labels[indices], trained), flush=True)
        page += [(real[i], images) for i, images in zip(indices[:SHOWN], made, strict=False)]
        (options.out / f"{name}.json").write_text(json.dumps(captions[:SHOWN], indent=1, ensure_ascii=False))
    write_image(options.out / "PAGE.png", grid(page)[None])


def listed(root: Path, least: int) -> list[Captioned]:
    """The images of captions.json."""
    entries = json.loads((root / "captions.json").read_text())
    categories = ["/".join(entry["file"].split("/")[:2]) for entry in entries]
    counts, places = Counter(categories), Counter[str]()
    items = []
    for entry, category in zip(entries, categories, strict=True):
        judged = counts[category] >= least
        held_out = judged and places[category] % HELD_OUT == HELD_OUT - 1
        places[category] += 1
        items.append(Captioned(entry["file"], entry["caption"], category if judged else "", held_out))
    return items


def path_of(root: Path, file: str) -> Path:
    """The image of an entry of captions.json, whose paths may omit the outermost folder."""
    return next(path for path in (root / file, *root.glob(f"*/{file}")) if path.is_file())


def trained_images(root: Path, items: Sequence[Captioned], out: Path) -> Path:
    """A folder of links to the images that are not held out, with their captions."""
    kept = [each for each in items if not each.held_out]
    for each in kept:
        link = out / each.file
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path_of(root, each.file).resolve())
    (out / "captions.json").write_text(json.dumps([[each.file, each.caption] for each in kept]))
    return out


def opened(root: Path, file: str, size: int) -> Tensor:
    """An image (3, size, size) in [-1, 1]."""
    with Image.open(path_of(root, file)) as image:
        small = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    return shades(torch.from_numpy(np.array(small)).permute(2, 0, 1))


def trained_judge(images: Tensor, labels: Tensor, classes: int, steps: int) -> Judge:
    """A classifier of categories."""
    torch.manual_seed(0)
    judge = Judge(classes)
    optimizer = torch.optim.AdamW(judge.parameters(), 1e-3, weight_decay=5e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)
    for _ in range(steps):
        picked = torch.randint(len(labels), (BATCH,))
        loss = F.cross_entropy(judge(varied(images[picked])), labels[picked], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return judge.eval()


def varied(images: Tensor) -> Tensor:
    """Images at other places, sizes and angles, mirrored, and with other contrasts, at random."""
    count = len(images)
    angle, scale = torch.randn(count) * 0.15, 1 + torch.randn(count) * 0.15
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    turn = torch.stack([angle.cos() * flip, -angle.sin(), angle.sin() * flip, angle.cos()], dim=1).view(-1, 2, 2)
    shift = torch.randn(count, 2, 1) * 0.1
    where = F.affine_grid(torch.cat([turn * scale[:, None, None], shift], dim=2), list(images.shape), False)
    moved = F.grid_sample(images, where, padding_mode="border", align_corners=False)
    return moved * (1 + torch.randn(count, 3, 1, 1) * 0.15) + torch.randn(count, 3, 1, 1) * 0.1


def known_words(generator: OpenGenerator, caption: str) -> bool:
    """Whether the model knows a word of a caption."""
    try:
        prompt_of(generator.file, caption, None)
    except NotFound:
        return False
    return True


def generated(generator: OpenGenerator, captions: Sequence[str], each: int) -> Tensor:
    """Images (n, each, 3, h, w) of captions."""
    sampling, size = generator.file.facts.sampling, generator.file.facts.item_size
    made = []
    for number, caption in enumerate(captions):
        prompt = prompt_of(generator.file, caption, None)
        z = latents_of(generator, prompt, sampling, 0, number * generator.together)
        made.append(generator.space.decode(z[:each], size).clamp(-1, 1))
    return torch.stack(made)


@torch.no_grad()
def row(name: str, judge: Judge, images: Tensor, labels: Tensor, trained: Tensor) -> str:
    """One row of the table, for images (n, each, 3, h, w)."""
    flat = images.flatten(0, 1)
    seen = torch.cat([judge(part).argmax(dim=1) for part in flat.split(BATCH)]).view(images.shape[:2])
    shares = (seen == labels[:, None]).float().mean(dim=1)
    half = 1.96 * shares.std().item() / len(shares) ** 0.5
    mean = shares.mean().item()
    distances = torch.cdist(flat.flatten(1), trained.flatten(1)).min(dim=1).values / trained[0].numel() ** 0.5
    interval = f"{max(0.0, mean - half):.1%} to {min(1.0, mean + half):.1%}"
    return f"{name:<34} {mean:>8.1%} {interval:>16} {distances.median().item():>8.3f}"


def grid(rows: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Rows of a real image and those generated from its caption, in two columns."""
    strips = [torch.cat([real, *images], dim=2) for real, images in rows]
    half = -(-len(strips) // 2)
    strips += [torch.ones_like(strips[0])] * (2 * half - len(strips))
    return torch.cat([torch.cat(strips[:half], dim=1), torch.cat(strips[half:], dim=1)], dim=2)


CALLBACKS = TrainCallbacks(say=lambda message: print(message, flush=True))

if __name__ == "__main__":
    main()

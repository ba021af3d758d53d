"""Measure retrieval on real images: near-duplicates with `look`, and precision by label with `meaning`.

    python bench/search_quality.py DATA duplicates --vae builtin --vae taesd [--part report] [--queries 300]
    python bench/search_quality.py DATA labels --vae builtin --images cifar10 [--items 4000]

DATA is a folder with `captioned`, `cifar10`, `faces`, `kodak`, `mnist`, `photos` and `tiles`.

duplicates: 2,000 images (illustrations, CIFAR-10, portraits, magnetic tiles, and crops of photographs) are embedded.
Queries are changed copies of some: the middle 90 % of both sides, any 90 %, JPEG of quality 60, half the size.
Recall@1 is the share of queries that find their original first. `look` was designed on the part `design`; `report` has
other images.

labels: precision@10 of 1,000 queries that are not among the items: of `meaning`, trained on the items with and
without their labels, of `look`, and of the baselines.
"""

import argparse
import io
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.datasets.array_files import read_idx
from vaekit.retrieval.latent_encoder import SIDE, LatentEncoder, at_size
from vaekit.retrieval.look import Look
from vaekit.retrieval.meaning import (
    Meaning,
    MeaningOptions,
    encoded_views,
    new_head,
    train_head,
    training_set,
)
from vaekit.retrieval.quality import LabeledItems, compare_with_baselines, label_precision
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

PARTS = ("design", "report")
KINDS = ("illustrations", "CIFAR-10", "portraits", "tiles", "crops")
COUNT = 2000
QUERIES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=("duplicates", "labels"))
    parser.add_argument("--vae", action="append", required=True)
    parser.add_argument("--part", choices=PARTS, default="report")
    parser.add_argument("--queries", type=int, default=300, help="of each kind of change")
    parser.add_argument("--count", type=int, default=COUNT, help="images that are searched")
    parser.add_argument("--images", choices=("cifar10", "mnist"), default="cifar10")
    parser.add_argument("--items", type=int, default=4000, help="for the training and the gallery")
    parser.add_argument("--views", type=int, default=MeaningOptions.views)
    parser.add_argument("--steps", type=int, default=MeaningOptions.steps)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for vae in options.vae:
        model = open_model(ModelOptions(vae=vae), EngineOptions(batch=32))
        encoder = LatentEncoder(model.engine, model.origin)
        if options.what == "duplicates":
            duplicates(encoder, Path(vae).name, options)
        else:
            labels(encoder, Path(vae).name, options)


def duplicates(encoder: LatentEncoder, name: str, options: argparse.Namespace) -> None:
    """Print recall@1 of changed copies, and the kinds of the images that were missed."""
    look, images = Look(encoder), images_of(options.data, PARTS.index(options.part))[: options.count]
    chosen = random.Random(2).sample(range(len(images)), min(options.queries, len(images)))
    started = time.perf_counter()
    gallery = torch.cat([look(tensor_of(image)) for _, image in images])
    print(f"{name}: {(time.perf_counter() - started) / len(images) * 1000:.1f} ms per image, {look.dimension} values")
    randomness, changed = random.Random(1), {}
    for number in chosen:
        for change, image in changes(images[number][1], randomness):
            changed.setdefault(change, []).append(look(tensor_of(image)))
    for change, vectors in changed.items():
        found = (torch.cat(vectors) @ gallery.T).argmax(dim=1)
        hits = [int(each) == number for each, number in zip(found, chosen, strict=True)]
        missed = [images[number][0] for number, hit in zip(chosen, hits, strict=True) if not hit]
        listed = ", ".join(f"{kind} {missed.count(kind)}" for kind in KINDS if kind in missed)
        print(f"{name:10} {change:12} recall@1 {sum(hits) / len(hits):.3f}  missed: {listed or 'none'}", flush=True)


def images_of(data: Path, part: int) -> list[tuple[str, Image.Image]]:
    """Kinds and images of one part; the parts have none in common."""
    chance = random.Random(0)
    files = {
        kind: sorted((data / folder).rglob(pattern))
        for kind, folder, pattern in (
            ("illustrations", "captioned/rgb128", "*.*"),
            ("portraits", "faces", "*.pgm"),
            ("tiles", "tiles", "*.jpg"),
        )
    }
    for paths in files.values():
        chance.shuffle(paths)
    bounds = {"illustrations": (0, 500, 951), "portraits": (0, 200, 400), "tiles": (0, 100, 200)}
    small = sprites(data)[part * 1000 : (part + 1) * 1000]
    images = [("CIFAR-10", Image.fromarray(values)) for values in small]
    for kind, paths in files.items():
        images += [(kind, opened(path)) for path in paths[bounds[kind][part] : bounds[kind][part + 1]]]
    photos = [sorted((data / folder).glob("*.png")) for folder in ("kodak", "photos")]
    large = [opened(path) for paths in photos for path in (paths[: len(paths) // 2], paths[len(paths) // 2 :])[part]]
    images += [("crops", square(large[i % len(large)], chance)) for i in range(COUNT - len(images))]
    return images


def sprites(data: Path) -> np.ndarray:
    """The images of CIFAR-10, (n, 32, 32, 3)."""
    return np.asarray(Image.open(data / "cifar10" / "data_batch_1.png")).reshape(-1, 32, 32, 3)


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def square(image: Image.Image, chance: random.Random) -> Image.Image:
    """A random square of an image."""
    side = min(chance.choice((128, 192, 256, 384)), *image.size)
    left, top = (chance.randrange(extent - side + 1) for extent in image.size)
    return image.crop((left, top, left + side, top + side))


def changes(image: Image.Image, chance: random.Random) -> Iterator[tuple[str, Image.Image]]:
    """Changed copies of an image."""
    width, height = image.size
    inner = (round(width * 0.9), round(height * 0.9))
    free = (width - inner[0], height - inner[1])
    for name, left, top in (
        ("middle 90 %", free[0] // 2, free[1] // 2),
        ("any 90 %", chance.randrange(free[0] + 1), chance.randrange(free[1] + 1)),
    ):
        yield name, image.crop((left, top, left + inner[0], top + inner[1]))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    yield "JPEG 60", Image.open(buffer).convert("RGB")
    yield "half size", image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BICUBIC)


def tensor_of(image: Image.Image) -> Tensor:
    """An image as `Schema.to_small_tensor` gives it."""
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    return at_size(x, (SIDE, SIDE))


def labels(encoder: LatentEncoder, name: str, options: argparse.Namespace) -> None:
    """Print precision@10 of `meaning`, of `look` and of the baselines."""
    gallery, queries = labeled(options.data, options.images, options.items)
    settings, started = MeaningOptions(views=options.views, steps=options.steps), time.perf_counter()
    latents = encoded_views(encoder, gallery.x, settings, lambda _: None)
    encoded = time.perf_counter()
    print(
        f"{name}, {options.images}, {len(gallery.labels):,} items: {(encoded - started) / 60:.1f} minutes of encoding"
    )
    for about, known in (("without labels", ()), ("with labels", gallery.labels)):
        began = time.perf_counter()
        head = new_head(tuple(latents.shape[2:]), settings.seed)
        head.standardize.fit(latents.flatten(0, 1))
        train_head(head, training_set(latents, known), settings, math.inf, lambda _: None)
        minutes = (time.perf_counter() - began) / 60
        value = label_precision(Meaning(encoder, head), gallery, queries)
        print(f"  meaning {about}: {value:.3f}, trained in {minutes:.1f} minutes", flush=True)
    print(
        "  " + "  ".join(f"{each} {value:.3f}" for each, value in others(encoder, gallery, queries).items()), flush=True
    )


def others(encoder: LatentEncoder, gallery: LabeledItems, queries: LabeledItems) -> dict[str, float]:
    """Precision@10 of `look` and of the baselines."""
    results = dict(compare_with_baselines(Look(encoder), gallery, queries))
    return {"look": results.pop("embedding")} | results


def labeled(data: Path, images: str, items: int) -> tuple[LabeledItems, LabeledItems]:
    """Items to train on and to find, and queries: of CIFAR-10 others, of MNIST those of the test set."""
    if images == "cifar10":
        names = [str(label) for label in json.loads((data / "cifar10" / "train_lables.json").read_text())]
        x = torch.from_numpy(sprites(data).copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
        last = len(x) - QUERIES
        return LabeledItems(x[: min(items, last)], names[: min(items, last)]), LabeledItems(
            x[last:], names[last : len(x)]
        )
    both = []
    for part, count in (("train", items), ("t10k", QUERIES)):
        digits = read_idx(data / "mnist" / f"{part}-images-idx3-ubyte.gz")[:count]
        names = [str(label) for label in read_idx(data / "mnist" / f"{part}-labels-idx1-ubyte.gz")[:count]]
        both.append(LabeledItems(torch.tensor(np.array(digits)).view(-1, 1, 28, 28).float() / 127.5 - 1, names))
    return both[0], both[1]


if __name__ == "__main__":
    main()

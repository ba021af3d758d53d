"""`meaning`: a small network on top of the frozen encoder, trained on the user's data.

It is trained with the contrastive loss of SupCon (Khosla et al. 2020, arXiv 2004.11362, equation 2): two views of an
item are brought together, and so are items with the same label, where there are labels. Without any label this is the
loss of SimCLR. The encoder runs once for every view, and the network is trained on the latents.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from vaekit.errors import BadPlan, NoTrainingData
from vaekit.retrieval.embedding import Vectors, unit_vectors
from vaekit.retrieval.head import DIMENSION, Head, normalized
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.views import random_views
from vaekit.shapes import Items

Progress = Callable[[int, int], None]
"""Called with the number of steps of work so far and of all."""
TEMPERATURE = 0.2
"""Of the contrastive loss."""
NOISE = 0.1
"""Standard deviation of the noise on latents, relative to theirs."""
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-4
CHUNK = 64
"""Items that are encoded at a time."""
LEAST_ITEMS = 16


@dataclass(frozen=True)
class MeaningOptions:
    """How the network is trained. Results are reproducible, unless the time limit ends the training."""

    seed: int = 0
    views: int = 4
    """Random views of each item; each is encoded once."""
    steps: int = 600
    batch: int = 256
    minutes: float = 15.0
    """The time limit."""


class Meaning:
    """A trained network on top of an encoder."""

    def __init__(self, encoder: LatentEncoder, head: Head) -> None:
        self.encoder, self.head = encoder, head.eval()

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {"embedding": "meaning", "vae": self.encoder.origin.fingerprint, "network": digest_of(self.head)}

    @property
    def dimension(self) -> int:
        return DIMENSION

    @torch.no_grad()
    def __call__(self, x: Items) -> Vectors:
        return unit_vectors(self.head(self.encoder(x)), "The vector")


def train_meaning(
    encoder: LatentEncoder,
    x: Items,
    labels: Sequence[str | None] | None = None,
    options: MeaningOptions = MeaningOptions(),  # noqa: B008 (a frozen value)
    progress: Progress = lambda _done, _all: None,
) -> Meaning:
    """Train the network on items.

    Args:
        encoder: the frozen encoder.
        x: items (n, ...), as the VAE takes them; a few thousand.
        labels: of the items; None for an item without. Items with a label that no other has count as without.
        options: how.
        progress: called with the number of encoded views and steps.

    Raises:
        NoTrainingData: there are fewer than 16 items.
        BadPlan: latents have no fixed size, or options are out of range.
    """
    check(encoder, x, options)
    stop_at = time.monotonic() + 60 * options.minutes
    total = options.views + 1 + options.steps
    latents = encoded_views(encoder, x, options, lambda done: progress(done, total))
    shape = encoder.latent_shape
    assert shape is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        head, projector = Head(shape), nn.Sequential()
    head.standardize.fit(latents.flatten(0, 1))
    numbers = label_numbers(labels, len(x))
    generator = torch.Generator().manual_seed(options.seed)
    train_head(
        head, latents, numbers, options, generator, stop_at, lambda done: progress(options.views + 1 + done, total)
    )
    return Meaning(encoder, head)


def check(encoder: LatentEncoder, x: Items, options: MeaningOptions) -> None:
    if len(x) < LEAST_ITEMS:
        raise NoTrainingData(
            f"There are {len(x)} items.",
            f"`meaning` is trained on {LEAST_ITEMS} or more.",
            "Use `look`, which needs no training.",
        )
    if encoder.latent_shape is None:
        raise BadPlan(
            "The latents of this VAE have the size of their item.",
            "`meaning` needs latents of one size.",
            "Use `look`, or a VAE of images, rows or sentences.",
        )
    if min(options.views, options.steps, options.batch - 1, options.minutes) <= 0:
        raise BadPlan(
            f"There are {options.views} views, {options.steps} steps of {options.batch} items, and "
            f"{options.minutes:g} minutes.",
            "Expected 1 or more views and steps, 2 or more items, and some time.",
            "",
        )


def encoded_views(
    encoder: LatentEncoder, x: Items, options: MeaningOptions, progress: Callable[[int], None]
) -> Float[Tensor, "n v ..."]:
    """The latents of the items and of their random views, (n, 1 + views, z, ...)."""
    generator = torch.Generator().manual_seed(options.seed)
    columns = []
    for view in range(options.views + 1):
        parts = [encoder(random_views(part, generator) if view else part) for part in x.split(CHUNK)]
        columns.append(torch.cat(parts))
        progress(view + 1)
    return torch.stack(columns, dim=1)


def label_numbers(labels: Sequence[str | None] | None, count: int) -> Tensor:
    """Labels as integers; items without have numbers that no other item has."""
    known = {label: number for number, label in enumerate(dict.fromkeys(filter(None, labels or ())))}
    own = range(len(known), len(known) + count)
    return torch.tensor([known.get(label, alone) for label, alone in zip(labels or [None] * count, own, strict=True)])


def train_head(
    head: Head,
    latents: Float[Tensor, "n v ..."],
    labels: Tensor,
    options: MeaningOptions,
    generator: Generator,
    stop_at: float,
    progress: Callable[[int], None],
) -> None:
    """Train the network on latents (n, views, z, ...) and the numbers of their labels (n,), in place."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, options.steps, pct_start=0.1)
    scale = head.standardize.std.view(1, -1, *[1] * (latents.dim() - 3))
    head.train()
    for step in range(options.steps):
        if time.monotonic() > stop_at:
            break
        batch = torch.randperm(len(latents), generator=generator)[: options.batch]
        first = torch.randint(latents.shape[1], (len(batch),), generator=generator)
        other = (first + torch.randint(1, latents.shape[1], (len(batch),), generator=generator)) % latents.shape[1]
        z = torch.cat([latents[batch, first], latents[batch, other]])
        z = z + NOISE * scale * torch.randn(z.shape, generator=generator)
        vectors = normalized(head(z))
        loss = contrastive_loss(vectors, same(torch.cat([labels[batch]] * 2)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(step + 1)
    head.eval()


def same(labels: Tensor) -> Bool[Tensor, "b b"]:
    """Which pairs have the same label, without each item's pair with itself."""
    return (labels.unsqueeze(0) == labels.unsqueeze(1)).fill_diagonal_(False)


def contrastive_loss(vectors: Float[Tensor, "b d"], positives: Bool[Tensor, "b b"]) -> Tensor:
    """The mean over items and their positives of -log softmax of the similarity among all other items."""
    similar = (vectors @ vectors.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    log_shares = similar.log_softmax(dim=1).masked_fill(~positives, 0)
    return -(log_shares.sum(dim=1) / positives.sum(dim=1)).mean()


def digest_of(head: Head) -> str:
    """SHA-256 of the weights."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(head.state_dict().items()):
        hashed.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return hashed.hexdigest()

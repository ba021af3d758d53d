"""`meaning`: a small network on top of the frozen encoder, trained on the user's data.

It is trained with the contrastive loss of SupCon (Khosla et al. 2020, arXiv 2004.11362, equation 2): two views of an
item are brought together, and so are items with the same label, where there are labels. Without any label this is the
loss of SimCLR. Where there are labels, vectors are also classified by their similarity to one learned vector per label
(normalized softmax: Zhai and Wu 2019, arXiv 1811.12649), which is learned faster. The encoder runs once for every view,
and the network is trained on the latents.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from vaekit.errors import BadPlan, NoTrainingData
from vaekit.retrieval.embedding import Vectors, unit_vectors
from vaekit.retrieval.head import DIMENSION, Head, digest_of
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.views import random_views
from vaekit.shapes import Items

Progress = Callable[[int, int], None]
"""Called with the number of finished steps of work and of all."""
TEMPERATURE = 0.2
"""Of the contrastive loss."""
LABEL_TEMPERATURE = 0.1
"""Of the classification."""
NOISE = 0.3
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
    steps: int = 500
    batch: int = 256
    """Items per step; two views of each."""
    minutes: float = 20.0
    """The time limit."""


@dataclass(frozen=True, eq=False)
class Meaning:
    """A trained network on top of an encoder."""

    encoder: LatentEncoder
    head: Head

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {
            "embedding": "meaning",
            "version": 1,
            "vae": self.encoder.origin.fingerprint,
            "network": digest_of(self.head),
        }

    @property
    def dimension(self) -> int:
        return DIMENSION

    @torch.no_grad()
    def __call__(self, x: Items) -> Vectors:
        """Embed items (b, ...), see `Embedding`."""
        return unit_vectors(self.head(self.encoder(x)), "The vector")


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What the network is trained on."""

    latents: Float[Tensor, "n v ..."]
    """Of the items and of their random views, (n, 1 + views, z, ...)."""
    labels: Tensor
    """The numbers of their labels (n,); those without a label have higher numbers, which no other has."""
    classes: int
    """The number of labels."""


def train_meaning(
    encoder: LatentEncoder,
    x: Items,
    labels: Sequence[str | None] = (),
    options: MeaningOptions = MeaningOptions(),
    progress: Progress = lambda _done, _all: None,
) -> Meaning:
    """Train the network on items.

    Args:
        encoder: the frozen encoder.
        x: items (n, ...), as the VAE takes them; a few thousand.
        labels: of the items, None for an item without; empty for no labels.
        options: how.
        progress: called with the number of encoded views and finished steps, and of all.

    Raises:
        NoTrainingData: there are fewer than 16 items.
        BadPlan: latents have no fixed size, or options are out of range.
        BadItem: the latents of an item are not finite.
    """
    shape = checked_shape(encoder, x, options)
    started, views = time.monotonic(), options.views + 1
    total = views + options.steps
    latents = encoded_views(encoder, x, options, lambda done: progress(done, total))
    head = new_head(shape, options.seed)
    head.standardize.fit(latents.flatten(0, 1))
    train_head(
        head,
        training_set(latents, labels),
        options,
        started + 60 * options.minutes,
        lambda done: progress(views + done, total),
    )
    return Meaning(encoder, head)


def checked_shape(encoder: LatentEncoder, x: Items, options: MeaningOptions) -> tuple[int, ...]:
    """The shape of the latent of one item, after checks of the arguments of `train_meaning`."""
    if len(x) < LEAST_ITEMS:
        raise NoTrainingData(
            f"There are {len(x)} items.",
            f"`meaning` is trained on {LEAST_ITEMS} or more.",
            "Use `look`, which needs no training.",
        )
    if min(options.views, options.steps, options.batch - 1, options.minutes) <= 0:
        raise BadPlan(
            f"Training has {options.views} views, {options.steps} steps of {options.batch} items, and "
            f"{options.minutes:g} minutes.",
            "Expected 1 or more views and steps, 2 or more items, and a positive time.",
            "",
        )
    shape = encoder.latent_shape()
    if shape is None:
        raise BadPlan(
            "The latents of this VAE have a size that depends on the item.",
            "`meaning` needs latents of one size.",
            "Use `look`, or a VAE of images, rows or sentences.",
        )
    return shape


def encoded_views(
    encoder: LatentEncoder, x: Items, options: MeaningOptions, progress: Callable[[int], None]
) -> Float[Tensor, "n v ..."]:
    """The latents of the items and of their random views, (n, 1 + views, z, ...).

    Raises:
        BadItem: some are not finite.
    """
    generator = torch.Generator().manual_seed(options.seed)
    columns = []
    for view in range(options.views + 1):
        parts = [encoder(random_views(part, generator) if view else part) for part in x.split(CHUNK)]
        columns.append(torch.cat(parts).cpu())
        unit_vectors(columns[-1].flatten(1), "The latent")
        progress(view + 1)
    return torch.stack(columns, dim=1)


def training_set(latents: Float[Tensor, "n v ..."], labels: Sequence[str | None] = ()) -> TrainingSet:
    """Latents of items with the numbers of their labels."""
    given = list(labels) or [None] * len(latents)
    known = {label: number for number, label in enumerate(dict.fromkeys(each for each in given if each is not None))}
    numbers = [len(known) + position if label is None else known[label] for position, label in enumerate(given)]
    return TrainingSet(latents, torch.tensor(numbers), len(known))


def new_head(shape: tuple[int, ...], seed: int) -> Head:
    """An untrained network for latents of a shape; random numbers of the caller are not touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(shape)


def train_head(
    head: Head, data: TrainingSet, options: MeaningOptions, stop_at: float, progress: Callable[[int], None]
) -> None:
    """Train the network in place, up to a time of `time.monotonic`."""
    generator = torch.Generator().manual_seed(options.seed)
    prototypes = nn.Parameter(torch.randn(data.classes, DIMENSION, generator=generator))
    optimizer = torch.optim.AdamW([*head.parameters(), prototypes], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, options.steps, pct_start=0.1)
    head.train()
    for step in range(options.steps):
        if time.monotonic() > stop_at:
            break
        z, numbers = drawn_batch(head, data, options.batch, generator)
        vectors = F.normalize(head(z), dim=1)
        loss = contrastive_loss(vectors, same(numbers)) + label_loss(vectors, numbers, prototypes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(step + 1)
    head.eval()


def drawn_batch(head: Head, data: TrainingSet, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Latents of two different views of random items, with noise, and the numbers of their labels."""
    count, views = data.latents.shape[:2]
    items = torch.randperm(count, generator=generator)[:batch]
    first = torch.randint(views, (len(items),), generator=generator)
    other = (first + torch.randint(1, views, (len(items),), generator=generator)) % views
    z = torch.cat([data.latents[items, first], data.latents[items, other]])
    noise = NOISE * head.standardize.per_channel(head.standardize.std, z) * torch.randn(z.shape, generator=generator)
    return z + noise, data.labels[items].repeat(2)


def same(labels: Tensor) -> Bool[Tensor, "b b"]:
    """Which pairs have the same label, without the pair of each item with itself."""
    return (labels.unsqueeze(0) == labels.unsqueeze(1)).fill_diagonal_(False)


def contrastive_loss(vectors: Float[Tensor, "b d"], positives: Bool[Tensor, "b b"]) -> Tensor:
    """The mean over items and their positives of -log softmax of the similarity among all other items."""
    similar = (vectors @ vectors.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    log_shares = similar.log_softmax(dim=1).masked_fill(~positives, 0)
    return -(log_shares.sum(dim=1) / positives.sum(dim=1)).mean()


def label_loss(vectors: Float[Tensor, "b d"], numbers: Tensor, prototypes: Float[Tensor, "k d"]) -> Tensor:
    """Cross-entropy of the labels under the softmax of the similarity to the vector of each label; 0 without labels."""
    labeled = numbers < len(prototypes)
    if not labeled.any():
        return vectors.new_zeros(())
    similar = vectors[labeled] @ F.normalize(prototypes, dim=1).T / LABEL_TEMPERATURE
    return F.cross_entropy(similar, numbers[labeled])

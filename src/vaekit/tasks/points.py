"""Single points of a latent space, as a walk through it visits them: from a text, a seed or latents to an item that is
shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from vaekit.distributions import SampledPrior
from vaekit.errors import BadItem, NoPrior, printable
from vaekit.tasks.given import write_texts
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import LatentOptions
from vaekit.tasks.sample import CHUNK
from vaekit.training.seeds import generator_for


@dataclass(frozen=True)
class Point:
    """Where a point is; one of the three."""

    text: str | None = None
    """An item, for a VAE of texts: SMILES, a sentence."""
    seed: int | None = None
    """That of the prior: the point is the latent of the first of `vaekit sample --seed`."""
    latent: Sequence[float] | None = None
    """The raw latent itself, its values in order."""


@dataclass(frozen=True, eq=False)
class ShownItem:
    """The item at a point."""

    text: str | None
    """On one line; None where items are not texts."""
    is_valid: bool
    """Whether it is one of the domain: False for SMILES of no molecule."""
    image: Tensor | None
    """The domain's preview of it, (3, h, w) in [-1, 1]; None where it has none."""


def item_size(model: OpenModel) -> tuple[int, ...]:
    """The size of the items along each axis: that of the VAE, or the domain's default."""
    return model.engine.geometry.size or tuple(model.schema.example().shape[2:])


def latent_shape(model: OpenModel) -> tuple[int, ...]:
    """The shape (z, ...) of the raw latent of an item of that size."""
    return (model.engine.geometry.latent_channels, *model.engine.latent_size(*item_size(model)))


def latents_of(model: OpenModel, points: Sequence[Point]) -> Tensor:
    """The raw latents of points, (n, z, ...).

    Raises:
        BadItem: a text is not an item, items of this VAE are not texts, or latents have another number of values or are
            not finite.
        NoPrior: there are seeds, and no prior.
    """
    shape = latent_shape(model)
    z = torch.zeros(len(points), *shape)
    texts = {i: point.text for i, point in enumerate(points) if point.text is not None}
    if texts:
        z[list(texts)] = encoded_texts(model, list(texts.values())).cpu().float()
    for i, point in enumerate(points):
        if point.seed is not None:
            z[i] = drawn(model, point.seed)
        if point.latent is not None:
            z[i] = given_latent(point.latent, shape)
    return z


def encoded_texts(model: OpenModel, texts: Sequence[str]) -> Tensor:
    """The modes of the posteriors of items that are given as texts.

    Raises:
        BadItem: one of them is not an item, or items of this VAE are not texts.
    """
    if not model.domain.is_text:
        raise BadItem(
            f"The VAE is one of {model.domain.items}, which are not texts.",
            "Expected a seed or latents.",
            "Give one of those.",
        )
    with TemporaryDirectory(prefix="vaekit-") as folder:
        path = Path(folder) / f"items{model.domain.ending}"
        write_texts(model, texts, path)
        loaded = model.domain.read_all([path], model.schema, model.engine.geometry)
        if loaded.skipped or len(loaded.x) != len(texts):
            reasons = "; ".join(loaded.skipped.values()) or "it cannot be read"
            raise BadItem(
                f"A text is not a {model.domain.item} that this VAE takes: {printable(reasons, 300)}.",
                f"Expected {model.domain.items} like those that it was trained on.",
                "",
            )
        return model.encode(loaded, LatentOptions())


def drawn(model: OpenModel, seed: int) -> Tensor:
    """The latent (z, ...) of the first item of `vaekit sample` with a seed.

    Raises:
        NoPrior: the VAE has no prior that can be sampled.
    """
    prior = model.engine.vae.prior
    if not isinstance(prior, SampledPrior):
        raise NoPrior("The VAE has no prior that can be sampled.", "Expected items or latents.", "Give one of those.")
    return prior.sample(torch.empty(CHUNK, *latent_shape(model)), generator_for(seed, "sample", 0))[0]


def given_latent(values: Sequence[float], shape: tuple[int, ...]) -> Tensor:
    """Values as a latent of a shape.

    Raises:
        BadItem: there are more or fewer, or they are not finite.
    """
    if len(values) != prod(shape):
        raise BadItem(f"A latent has {len(values):,} values.", f"Expected {prod(shape):,}: {list(shape)}.", "")
    latent = torch.tensor(values, dtype=torch.float32)
    if not latent.isfinite().all():
        raise BadItem("A latent has values that are not finite in float32.", "Expected numbers below 3.4e38.", "")
    return latent.view(shape)


def shown_items(model: OpenModel, z: Tensor) -> list[ShownItem]:
    """Decode raw latents (n, z, ...), and show each item as its domain does.

    Raises:
        HalfMissing: the VAE has no decoder.
        BadItem: the result is not finite.
        MissingPackage: the domain needs a package to draw.
    """
    items = model.schema.to_items(model.decode(z, item_size(model)))
    return [
        ShownItem(
            item if model.domain.is_text else model.domain.text(item),
            model.domain.is_valid(item),
            model.domain.preview([item]),
        )
        for item in items
    ]

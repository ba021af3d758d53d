"""`meaning` on a small untrained VAE: planted groups are separated, with and without labels."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vaekit.checkpoints.latent_files import origin_of
from vaekit.errors import BadItem, BadPlan, NoTrainingData
from vaekit.families.kl.net import KLConfig
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.mlp import MLPConfig
from vaekit.normalization import LatentNormalization
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.meaning import MeaningOptions, contrastive_loss, label_loss, same, train_meaning, training_set
from vaekit.retrieval.quality import exact_neighbors, precision
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

RandomVAE = Callable[[Any, LatentNormalization | None], VAE]
QUICK = MeaningOptions(views=2, steps=16, batch=24)


def planted(count: int, seed: int) -> tuple[Tensor, list[str]]:
    """Images with a stripe, upright or level, of a random color and at a random place; and which it is."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16) * 0.4 - 0.2
    x = x + 0.02 * torch.randn(x.shape, generator=generator)
    places = torch.randint(2, 11, (count,), generator=generator).tolist()
    for i, place in enumerate(places):
        stripe = x[i, :, :, place : place + 3] if i % 2 else x[i, :, place : place + 3]
        stripe += 0.8
    return x.clamp(-1, 1), ["upright" if i % 2 else "level" for i in range(count)]


@pytest.fixture
def encoder(random_vae: RandomVAE, small_kl: KLConfig) -> LatentEncoder:
    vae = random_vae(small_kl, None)
    return LatentEncoder(Engine(vae, Plan(device="cpu", backend="torch", batch_size=32)), origin_of(vae))


def test_labels_separate_planted_groups(encoder: LatentEncoder) -> None:
    x, labels = planted(64, 0)
    calls: list[tuple[int, int]] = []
    meaning = train_meaning(encoder, x, labels, QUICK, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (19, 19)
    assert isinstance(meaning, Embedding)
    queries, wanted = planted(20, 1)
    vectors = meaning(queries)
    assert vectors.shape == (20, meaning.dimension)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(vectors, torch.cat([meaning(part) for part in queries.split(3)]), atol=1e-5, rtol=0)
    assert precision(exact_neighbors(vectors, meaning(x)), wanted, labels) > 0.9


def test_labels_separate_rows_whatever_else_varies(random_vae: RandomVAE) -> None:
    vae = random_vae(PartsConfig(MLPConfig((5,), 5, (16,)), GaussianPart(), ColumnsPart(("normal:5",))), None)
    rows = torch.randn(80, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.3, 2, 2, 2, 2])
    rows[:, 0] += torch.tensor([2.0, -2.0]).repeat(40)
    labels = ["high", "low"] * 40
    encoder = LatentEncoder(Engine(vae, Plan(device="cpu", batch_size=32)), origin_of(vae))
    meaning = train_meaning(encoder, rows[:60], labels[:60], MeaningOptions(views=2, steps=60, batch=32))
    neighbors = exact_neighbors(meaning(rows[60:]), meaning(rows[:60]), 5)
    assert precision(neighbors, labels[60:], labels[:60]) > 0.8


def test_training_is_reproducible_and_follows_its_seed(encoder: LatentEncoder) -> None:
    x, _ = planted(16, 0)
    options = MeaningOptions(views=1, steps=2, batch=8)
    torch.manual_seed(1)
    first = train_meaning(encoder, x, options=options)
    torch.manual_seed(2)
    assert train_meaning(encoder, x, options=options).identity == first.identity
    other = MeaningOptions(seed=1, views=1, steps=2, batch=8)
    assert train_meaning(encoder, x, options=other).identity != first.identity


def test_a_view_is_nearest_to_its_item_without_labels() -> None:
    vectors = torch.eye(4).repeat(2, 1)
    near = contrastive_loss(vectors, same(torch.arange(4).repeat(2)))
    far = contrastive_loss(vectors, same(torch.tensor([0, 1, 2, 3, 1, 2, 3, 0])))
    assert near < far


def test_items_without_a_label_are_alone() -> None:
    latents = torch.zeros(4, 2, 3)
    data = training_set(latents, ["cat", None, "cat", None])
    assert data.labels[0] == data.labels[2] == 0
    assert len(set(data.labels.tolist())) == 3
    assert data.classes == 1
    nothing = training_set(latents)
    assert len(set(nothing.labels.tolist())) == 4
    assert nothing.classes == 0


def test_items_without_a_label_are_not_classified() -> None:
    vectors, prototypes = torch.eye(3), torch.eye(3)[:2]
    right, wrong = torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2])
    assert label_loss(vectors, right, prototypes) < 0.01 < label_loss(vectors, wrong, prototypes)
    assert label_loss(vectors, right + 2, prototypes) == 0
    assert label_loss(vectors, right, prototypes[:0]) == 0


@pytest.mark.parametrize(
    ("count", "options", "error"),
    [
        (15, QUICK, NoTrainingData),
        (16, MeaningOptions(steps=0), BadPlan),
        (16, MeaningOptions(batch=1), BadPlan),
        (16, MeaningOptions(views=0), BadPlan),
    ],
)
def test_training_that_makes_no_sense_is_refused(
    encoder: LatentEncoder, count: int, options: MeaningOptions, error: type[Exception]
) -> None:
    with pytest.raises(error):
        train_meaning(encoder, planted(count, 0)[0], options=options)


def test_items_that_are_not_finite_are_refused(encoder: LatentEncoder) -> None:
    x, _ = planted(16, 0)
    x[3] = torch.nan
    with pytest.raises(BadItem):
        train_meaning(encoder, x, options=QUICK)


def test_the_time_is_limited(encoder: LatentEncoder) -> None:
    calls: list[int] = []
    options = MeaningOptions(views=1, steps=10**6, batch=8, minutes=1e-6)
    train_meaning(encoder, planted(16, 0)[0], options=options, progress=lambda done, _: calls.append(done))
    assert len(calls) == 2

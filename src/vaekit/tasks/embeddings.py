"""Make the embedding of an index by its name: `look`, `meaning`, or a function of the user."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vaekit.datasets.dataset import Dataset
from vaekit.domains.in_memory import schema_digest
from vaekit.errors import BadItem, BadPlan, counted, printable
from vaekit.reading import exists
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.external import load_external
from vaekit.retrieval.index import HEAD
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.look import LARGE, Look
from vaekit.retrieval.meaning import Meaning, MeaningOptions, train_meaning
from vaekit.retrieval.meaning_files import load_meaning, save_meaning
from vaekit.retrieval.update import Prepare
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.index_quality import first_by_hash, query_positions, readable
from vaekit.tasks.model import OpenModel

LOOK, MEANING = "look", "meaning"
SAMPLE = 4000
"""The maximum number of items that `meaning` is trained on."""


@dataclass(frozen=True, eq=False)
class EmbeddingSource:
    """What embeddings are made from."""

    model: OpenModel
    data: Dataset
    labels: Sequence[str | None]
    prepare: Prepare
    """Records to items for the embedding."""
    folder: Path
    """Of the index."""
    say: Callable[[str], None] = lambda _: None
    """Called with a sentence before a long step."""
    progress: Progress = no_progress
    """Called with the number of finished steps of a training and of all."""
    seed: int = 0
    """Of a training."""


def check_name(name: str) -> None:
    """Check the name of an embedding.

    Raises:
        BadPlan: there is none of this name, and it is not the name of a function.
    """
    if name not in (LOOK, MEANING) and ":" not in name:
        raise BadPlan(
            f"There is no embedding {printable(name)!r}.",
            f"Expected {LOOK}, {MEANING}, or a function as module:function.",
            "",
        )


def side_of(name: str, model: OpenModel) -> int | None:
    """The side of whole images for an embedding; None for items as the VAE takes them, such as those of a function of
    the user."""
    geometry = model.engine.geometry
    if ":" in name or geometry.axes != 2:
        return None
    if geometry.size is not None:
        return geometry.size[0]
    return max(LARGE[0], LARGE[1] * max(geometry.factors))


def values_per_item(name: str, model: OpenModel) -> int:
    """The number of values of an item that an embedding is given."""
    side, example = side_of(name, model), model.schema.example()
    return example.numel() if side is None else int(example.shape[1]) * side**2


def prepare_for(name: str, model: OpenModel) -> Prepare:
    """How records become items for an embedding."""
    side = side_of(name, model)
    return model.schema.to_tensor if side is None else partial(model.schema.to_small_tensor, side=side)


def preparation_of(name: str, model: OpenModel) -> dict[str, Any]:
    """The description of `prepare_for`, for an index."""
    return {"domain": model.domain.name, "schema": schema_digest(model.schema), "side": side_of(name, model)}


def embedding_named(name: str, source: EmbeddingSource) -> Embedding:
    """The embedding of a new index, or of one that is brought up to date. `meaning` is trained once.

    Raises:
        BadPlan, NotFound: there is no such embedding.
        NoTrainingData, BadItem: there are too few items to train it.
        BadCheckpoint, LatentMismatch: the stored network is damaged, or of another VAE.
    """
    known = stored_embedding(name, source.model, source.folder)
    return train(source) if known is None else known


def stored_embedding(name: str, model: OpenModel, folder: Path) -> Embedding | None:
    """An embedding that needs no training any more; None for one that does.

    Raises:
        BadPlan, NotFound: there is no such embedding.
        BadCheckpoint, LatentMismatch: the stored network is damaged, or of another VAE.
    """
    check_name(name)
    encoder = LatentEncoder(model.engine, model.origin)
    if name == LOOK:
        return Look(encoder)
    if name == MEANING:
        return load_meaning(encoder, folder / HEAD) if exists(folder / HEAD) else None
    return load_external(name, model.schema.example())


def train(source: EmbeddingSource) -> Meaning:
    """Train `meaning` on items of the data, without those that serve as queries for precision, and store it.

    Raises:
        NoTrainingData, BadItem: there are too few items.
        CannotWrite: for example, the disk is full.
    """
    data, model = source.data, source.model
    queries = set(query_positions(data, source.labels))
    others = [position for position in range(len(data)) if position not in queries]
    chosen = dict(readable(data, source.prepare, first_by_hash(data, others, SAMPLE)))
    if not chosen:
        raise BadItem(
            f"None of {counted(len(others), model.domain.item, model.domain.items)} can be read.", "", "Check the data."
        )
    labels = [source.labels[position] for position in chosen] if source.labels else []
    about = "with their labels" if labels else "without labels"
    source.say(f"Training `meaning` on {len(chosen):,} {model.domain.items} {about}; this takes minutes.")
    encoder = LatentEncoder(model.engine, model.origin)
    trained = train_meaning(
        encoder, torch.cat(list(chosen.values())), labels, MeaningOptions(seed=source.seed), source.progress
    )
    save_meaning(trained, source.folder / HEAD)
    return trained

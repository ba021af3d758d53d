"""Make the embedding of an index by its name: `look`, `meaning`, or a function of the user."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vaekit.datasets.dataset import Dataset
from vaekit.errors import BadItem, BadPlan, printable
from vaekit.reading import exists
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.external import load_external
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.look import Look
from vaekit.retrieval.meaning import Meaning, load_meaning, save_meaning, train_meaning
from vaekit.tasks.index_quality import first_by_hash, query_positions, readable
from vaekit.tasks.model import OpenModel

LOOK, MEANING = "look", "meaning"
HEAD = "meaning.safetensors"
"""The network of `meaning`, in the folder of the index."""
SAMPLE = 4000
"""The maximum number of items that `meaning` is trained on."""


@dataclass(frozen=True, eq=False)
class EmbeddingSource:
    """What embeddings are made from."""

    model: OpenModel
    data: Dataset
    labels: Sequence[str | None]
    folder: Path
    """Of the index."""
    say: Callable[[str], None]
    """Called with a sentence before a long step."""


def embedding_named(name: str, source: EmbeddingSource) -> Embedding:
    """The embedding of a new index, or of one that is brought up to date. `meaning` is trained once.

    Raises:
        BadPlan, NotFound: there is no such embedding.
        NoTrainingData, BadItem: there are too few items to train it.
    """
    known = stored_embedding(name, source.model, source.folder)
    return train(source) if known is None else known


def stored_embedding(name: str, model: OpenModel, folder: Path) -> Embedding | None:
    """An embedding that needs no training any more; None for one that does.

    Raises:
        BadPlan, NotFound: there is no such embedding.
        BadIndex: the stored network is damaged.
    """
    encoder = LatentEncoder(model.engine, model.origin)
    if name == LOOK:
        return Look(encoder)
    if name == MEANING:
        return load_meaning(encoder, folder / HEAD) if exists(folder / HEAD) else None
    if ":" not in name:
        raise BadPlan(
            f"There is no embedding {printable(name)!r}.", f"Expected {LOOK}, {MEANING}, or a function as module:function.", ""
        )
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
    chosen = dict(readable(data, model.schema.to_tensor, first_by_hash(data, others, SAMPLE)))
    if not chosen:
        raise BadItem(f"None of {len(others):,} {model.domain.items} can be read.", "", "Check the data.")
    labels = [source.labels[position] for position in chosen] if source.labels else None
    about = "with their labels" if labels else "without labels"
    source.say(f"Training `meaning` on {len(chosen):,} {model.domain.items} {about}; this takes minutes.")
    encoder = LatentEncoder(model.engine, model.origin)
    trained = train_meaning(encoder, torch.cat(list(chosen.values())), labels)
    save_meaning(trained, source.folder / HEAD)
    return trained

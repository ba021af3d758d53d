"""Make the embedding of an index by its name: `look`, `meaning`, or a function of the user."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import Dataset
from vaekit.errors import BadPlan, printable
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.external import load_external
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.look import Look
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
    assert known is not None
    return known


def stored_embedding(name: str, model: OpenModel, folder: Path) -> Embedding | None:
    """An embedding that needs no training any more; None for one that does.

    Raises:
        BadPlan, NotFound: there is no such embedding.
        BadIndex: the stored network is damaged.
    """
    encoder = LatentEncoder(model.engine, model.origin)
    if name == LOOK:
        return Look(encoder)
    if ":" not in name:
        raise BadPlan(
            f"There is no embedding {printable(name)!r}.",
            f"Expected {LOOK}, {MEANING}, or a function as module:function.",
            "",
        )
    return load_external(name, model.schema.example())

"""Index items by meaning or look: embed them, and keep their vectors on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.whole import Whole, labels_of, whole
from vaekit.domains.item_batches import open_items
from vaekit.errors import BadIndex, IndexMismatch, printable
from vaekit.json import dumps, json_object
from vaekit.reading import exists, read_text
from vaekit.retrieval.description import Description, read_description
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.index import HEAD, Index, check_folder, is_empty, opened_for_change, opened_for_search
from vaekit.retrieval.matrix import REBUILD
from vaekit.retrieval.update import Changes, Embed, Embedded, Job, chunk_size, embedded, embedding_here, look, update
from vaekit.shards import IN_PROCESS, InProcess, Runner, Work, run_in_order
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.embeddings import (
    LOOK,
    MEANING,
    EmbeddingSource,
    check_name,
    embedding_named,
    preparation_of,
    prepare_for,
    stored_embedding,
    values_per_item,
)
from vaekit.tasks.index_quality import AUTO, Quality, check_store, is_current, measure
from vaekit.tasks.model import OpenModel

QUALITY = "quality.json"
"""The measured quality of the index, as of the last change."""


@dataclass(frozen=True)
class IndexOptions:
    """What is indexed, and how."""

    embed: str = LOOK
    """"look", "meaning", or a function as `module:function`."""
    label: str | None = None
    """The column of labels; None for the first usual one, if there is any."""
    store: str = AUTO
    """"exact", "lancedb", or "auto": LanceDB for 100,000 items and more, where it is installed."""
    vae: str = ""
    """The name of the VAE, for the index: searches load it again."""
    seed: int = 0
    """Of the training of "meaning"."""


@dataclass(frozen=True)
class IndexResult:
    """The index after a run."""

    folder: Path
    items: int
    """The number of items in the index."""
    changes: Changes
    embedding: Mapping[str, Any]
    """The identity of the embedding."""
    dimension: int
    quality: Quality
    notes: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Embedded items per second."""
        return self.changes.embedded / max(self.changes.seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        changes = asdict(self.changes) | {"skipped": len(self.changes.skipped), "embedded": self.changes.embedded}
        return {
            "index": self.folder,
            "items": self.items,
            **changes,
            "items_per_second": self.rate,
            "failures": [{"item": name, "error": error} for name, error in self.changes.skipped.items()],
            "embedding": self.embedding,
            "dimension": self.dimension,
            **asdict(self.quality),
        }


@dataclass(frozen=True, eq=False)
class IndexData:
    """A data set that is indexed."""

    items: Whole
    labels: Sequence[str | None]
    """One for each item; empty for none."""
    log: SkipLog
    """Folders that cannot be listed, and messages."""
    said: list[str] = field(default_factory=list)


def index(
    model: OpenModel,
    path: Path,
    out: Path,
    options: IndexOptions = IndexOptions(),
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda _: None,
    runner: Runner = IN_PROCESS,
) -> IndexResult:
    """Write an index of the items of a data set, or bring one up to date.

    Only new and edited items are embedded; those that are gone are removed. After an interruption, the same call
    continues.

    Args:
        model: the VAE.
        path: the data set.
        out: the folder of the index.
        options: how.
        progress: called with the number of finished items and of all.
        say: called with a sentence before a long step.
        runner: reads and embeds items. Its workers must see the data and the index at the same paths.

    Raises:
        NotFound, NoTrainingData: there are no items, or no such labels. The index is unchanged.
        BadItem: no item can be read or embedded.
        IndexMismatch: the index was made with another VAE, another embedding or other data. It is unchanged.
        BadIndex: it is damaged, or of another version.
        CannotWrite: for example, the disk is full, or another process is changing the index.
        BadPlan, MissingPackage: an option has no such value, or needs a package that is not installed.
    """
    check_store(options.store)
    check_name(options.embed)
    data = open_data(model, path, options.label)
    check_folder(out)
    refuse_other_index(out, path, data.items, options)
    prepare = prepare_for(options.embed, model)
    source = EmbeddingSource(model, data.items, data.labels, prepare, out, say, progress, options.seed)
    embedding = embedding_named(options.embed, source)
    description = Description(
        embedding=dict(embedding.identity),
        dimension=embedding.dimension,
        preparation=preparation_of(options.embed, model),
        vae=lasting_name(options.vae),
        embed=options.embed,
        data=os.path.realpath(path),
        label=options.label or "",
    )
    with opened_for_change(out, description) as opened:
        embed = embedding_here(data.items, prepare, embedding)
        if not isinstance(runner, InProcess):
            files = IndexedFiles(model, path.absolute(), options.embed, out.absolute())
            embed = embedding_by(runner, files)
        changes = update(
            opened,
            data.items,
            embed,
            data.labels,
            chunk_size(values_per_item(options.embed, model)),
            list(data.log.reasons),
            progress,
        )
        quality = quality_of(opened, changes, options, source, embedding)
        return IndexResult(
            out, len(opened), changes, embedding.identity, embedding.dimension, quality, (*data.said, *model.notes)
        )


def open_data(model: OpenModel, path: Path, label: str | None = None) -> IndexData:
    """Open a data set with both of its splits.

    Raises:
        NotFound, NoTrainingData: there are no items, or no such labels.
    """
    said: list[str] = []
    log = SkipLog(say=said.append)
    items = whole(open_items(model.domain, path, log, model.schema))
    return IndexData(items, labels_of(items, label), log, said)


@dataclass(frozen=True, eq=False)
class IndexedFiles:
    """What is embedded, for any process."""

    model: OpenModel
    path: Path
    """Of the data set."""
    embed: str
    folder: Path
    """Of the index."""


def embedding_by(runner: Runner, files: IndexedFiles) -> Embed:
    """Embed by a runner, whose workers read the items."""

    def embed(chunks: Iterator[list[Job]]) -> Generator[Embedded, None, None]:
        shards = map(Chunk, chunks)
        with closing(run_in_order(runner, Work(partial(start_embedding, files)), shards)) as done:
            for _, result in done:
                yield result

    return embed


@dataclass(frozen=True)
class Chunk:
    """Items that are read and embedded at once."""

    jobs: list[Job]

    def __str__(self) -> str:
        return f"the items {self.jobs[0].entry.name} to {self.jobs[-1].entry.name}"


def start_embedding(files: IndexedFiles) -> Callable[[Chunk], Embedded]:
    """The function that reads and embeds a chunk."""
    data, model = open_data(files.model, files.path).items, files.model
    prepare, embedding = prepare_for(files.embed, model), stored_embedding(files.embed, model, files.folder)
    assert embedding is not None, "it was trained before items are embedded"

    def embed(chunk: Chunk) -> Embedded:
        for job in chunk.jobs:
            check_same_item(data, job, files.path)
        return embedded([look(job, data, prepare) for job in chunk.jobs], embedding)

    return embed


def check_same_item(data: Whole, job: Job, path: Path) -> None:
    """Check that a process sees an item where the one that started the run sees it.

    Raises:
        IndexMismatch: it sees other data.
    """
    entry = job.entry
    if entry.position >= len(data) or data.key(entry.position) != entry.key:
        raise IndexMismatch(
            f"A worker does not find {printable(entry.key)} in {path} where the run found it.",
            "Expected the same data on all machines, and no changes during a run.",
            "Run the same command again; if the machines have different disks, put the data on a shared one.",
        )


def lasting_name(vae: str) -> str:
    """The name of a VAE; an absolute path if it is a path."""
    return os.path.realpath(vae) if vae and exists(Path(vae)) else vae


def refuse_other_index(folder: Path, path: Path, data: Whole, options: IndexOptions) -> None:
    """Check that an index, if there is one, has this embedding, and is of this data set or shares items with it.
    Otherwise an embedding would be trained in vain, or all items of the index would count as gone.

    Raises:
        IndexMismatch: it is another one.
        BadIndex: it is damaged, or of another version, or lacks the network of `meaning`.
    """
    if is_empty(folder):
        return
    before = read_description(folder)
    if before.embed != options.embed:
        raise IndexMismatch(
            f"The index {folder} was made with the embedding {printable(before.embed)!r}, not "
            f"{printable(options.embed)!r}.",
            "Vectors of different embeddings cannot be compared.",
            f"Add --embed {printable(before.embed)}, or write another index.",
        )
    if options.embed == MEANING and not exists(folder / HEAD):
        raise BadIndex(f"The index {folder} has lost its network, {HEAD}.", "", REBUILD)
    if before.data in ("", os.path.realpath(path)):
        return
    with opened_for_search(folder) as opened:
        shared = any(opened.rows.find(data.key(position), 0) is not None for position in range(len(data)))
    if not shared:
        raise IndexMismatch(
            f"The index {folder} is of {before.data}, and {path} has none of its items.",
            "An index is of one data set: items that are gone from it are removed.",
            "Write another index, or remove this one first.",
        )


def quality_of(
    opened: Index, changes: Changes, options: IndexOptions, source: EmbeddingSource, embedding: Embedding
) -> Quality:
    """The quality of an index: measured if it changed, else as it was measured before."""
    path = opened.folder / QUALITY
    labels = hashlib.sha256(json.dumps(list(source.labels)).encode()).hexdigest()
    key = {"store": options.store, "items": len(opened), "labels": labels}
    if not (changes.embedded or changes.removed):
        try:
            known = json_object(read_text(path))
        except (OSError, ValueError):
            known = {}
        if known.get("of") == key:
            restored = Quality.restored(known.get("quality"))
            if restored is not None and is_current(restored, opened):
                return restored
    quality = measure(opened, options.store, embedding, source.data, source.labels, source.prepare)
    with atomic_file(path) as part:
        part.write_text(dumps({"of": key, "quality": asdict(quality)}) + "\n", "utf-8")
    return quality

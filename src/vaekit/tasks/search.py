"""Search an index: the neighbors of an item, shown beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vaekit.checkpoints.latent_files import SUFFIX
from vaekit.datasets.dataset import Dataset, Record
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.whole import whole
from vaekit.domains.item_batches import open_items
from vaekit.domains.item_functions import ItemSimilarity
from vaekit.errors import BadIndex, BadItem, BadPlan, IndexMismatch, NotFound, VaekitError, counted, printable
from vaekit.json import plain
from vaekit.reading import exists
from vaekit.records import differences
from vaekit.report.neighbors import SearchReport, ShownItem, write_page, write_sheet
from vaekit.retrieval.contents import content_digest, text_of
from vaekit.retrieval.description import Description, read_description
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.index import HEAD, Index, Match, opened_for_search
from vaekit.retrieval.matrix import REBUILD, Vectors
from vaekit.retrieval.rows import Entry
from vaekit.retrieval.update import checked_vectors
from vaekit.tasks.embeddings import LOOK, MEANING, preparation_of, prepare_for, stored_embedding
from vaekit.tasks.given import check_count, is_text, readable
from vaekit.tasks.index_quality import neighbors_of
from vaekit.tasks.model import OpenModel
from vaekit.tasks.record import write_record

NAME = "search"
"""The start of the names of files."""
MOST = 10_000
"""Neighbors of one search."""
MOST_SHOWN = 100
"""Neighbors on the sheet and on the page."""
ITSELF = "the query itself"


@dataclass(frozen=True)
class SearchOptions:
    """How an index is searched."""

    k: int = 10
    """The number of neighbors."""
    embed: str | None = None
    """The function of an index with an external embedding, as `module:function`. It is never taken from the index."""
    data: Path | None = None
    """The data set of the index, if it has moved."""
    exclude_itself: bool = False
    """Leave out items with the content of the query."""


@dataclass(frozen=True)
class Neighbor:
    """A neighbor of the query."""

    rank: int
    item: str
    label: str | None
    distance: float
    """Cosine distance, from 0 to 2."""
    similarity: float
    """Cosine, from -1 to 1."""
    itself: bool
    """Whether its content is that of the query."""
    item_similarity: float | None = None
    """The similarity of the items themselves, by the measure of the domain; None without one, or where an item cannot
    be read any more."""
    text: str | None = None
    """The item, where items are texts and it can be read."""


@dataclass(frozen=True)
class SearchResult:
    """The neighbors of an item."""

    query: str
    neighbors: tuple[Neighbor, ...]
    items: int
    """The number of items in the index."""
    store: str
    """How it was searched: "exact" or "lancedb"."""
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    measure: str | None = None
    """The name of the domain's measure of similarity; None without one."""


@dataclass(frozen=True, eq=False)
class Query:
    """The item whose neighbors are searched."""

    name: str
    vector: Vectors
    digest: bytes
    label: str | None = None
    source: Entry | Record | None = None
    """The item: an entry of the index, or a record of a file."""
    notes: tuple[str, ...] = ()


def search(
    model: OpenModel, item: str, folder: Path, options: SearchOptions = SearchOptions(), out: Path | None = None
) -> SearchResult:
    """Search the neighbors of an item in an index.

    An item of the index is its own first neighbor, and is marked.

    Args:
        model: the VAE of the index; see `description_of`.
        item: a file, whose first item is the query, the name of an item of the index, or where items are texts, a text.
        folder: of the index.
        options: how.
        out: a folder for a contact sheet, a page and a record; None for none.

    Raises:
        NotFound, BadItem: the item cannot be read, or has no vector.
        IndexMismatch: the VAE or the embedding is not that of the index.
        BadIndex: the folder holds no index, or a damaged one.
        BadPlan: an option is out of range.
        CannotWrite: for example, the disk is full.
    """
    if not 1 <= options.k <= MOST:
        raise BadPlan(f"There are {options.k:,} neighbors.", f"Expected 1 to {MOST:,}.", "")
    with opened_for_search(folder) as opened:
        if not len(opened):
            raise BadIndex(f"The index {folder} holds no items.", "", "Run `vaekit index` again, which goes on.")
        check_model(opened, model)
        query = query_of(model, item, opened, options)
        matches, same, store, remark = matches_of(opened, query, options)
        few = f"The index holds only {counted(len(opened), 'item')}." if len(opened) < options.k else ""
        notes = [note for note in (*query.notes, remark, few) if note]
        neighbors, measure = neighbors_from(matches, same), model.domain.similarity
        data, missing = None, ""
        if out is not None or measure is not None:
            data, missing = data_of(model, opened.description, options.data)
            notes += [missing] if missing else []
        if measure is not None:
            neighbors = with_similarities(model, measure, query, neighbors, matches, data)
        name = None if measure is None else measure.name
        result = SearchResult(query.name, neighbors, len(opened), store, measure=name)
        files: tuple[Path, ...] = ()
        if out is not None:
            asked = {"item": item, "index": str(folder)}
            report = report_of(model, query, matches, same, opened, data)
            report = with_measure(report, result)
            files = written(report, result, asked, options, model, out)
        return replace(result, files=files, notes=tuple(notes))


def matches_of(opened: Index, query: Query, options: SearchOptions) -> tuple[list[Match], set[int], str, str]:
    """The neighbors of a query, the ids of items with its content, the name of the search, and a remark on it."""
    same = opened.rows.of_digest(query.digest)
    nearest, store, remark = neighbors_of(opened, query.vector, options.k + len(same) * options.exclude_itself)
    found = {match.row.id: match for match in (*nearest, *opened.ranked(query.vector, same, len(same)))}
    ids = {row.id for row in same}
    return ordered(list(found.values()), ids, options), ids, store, remark


def neighbors_from(matches: Sequence[Match], same: set[int]) -> tuple[Neighbor, ...]:
    """Matches with their ranks, as plain values."""
    return tuple(
        Neighbor(
            *(rank, match.row.entry.name, match.row.entry.label),
            *(match.distance, min(1.0, max(-1.0, match.similarity)), match.row.id in same),
        )
        for rank, match in enumerate(matches, start=1)
    )


def with_similarities(
    model: OpenModel,
    measure: ItemSimilarity,
    query: Query,
    neighbors: Sequence[Neighbor],
    matches: Sequence[Match],
    data: Dataset | None,
) -> tuple[Neighbor, ...]:
    """Neighbors with the similarity of their items to the query, and where items are texts, these."""
    wanted = item_of(model, query_record(query, data))
    records = [None if data is None else record_of(data, match.row.entry) for match in matches]
    items = [item_of(model, record) for record in records]
    texts = [None if record is None or not model.domain.is_text else text_of(record) for record in records]
    places = [place for place, item in enumerate(items) if item is not None and wanted is not None]
    values = measure.of_pairs([wanted] * len(places), [items[place] for place in places]).tolist()
    similar = {place: value for place, value in zip(places, values, strict=True) if isfinite(value)}
    return tuple(
        replace(each, item_similarity=similar.get(place), text=text)
        for place, (each, text) in enumerate(zip(neighbors, texts, strict=True))
    )


def with_measure(report: SearchReport, result: SearchResult) -> SearchReport:
    """A report with the similarities of a result."""
    every = zip(report.neighbors, result.neighbors, strict=False)  # the page shows the first ones
    shown_items = [replace(item, similarity=neighbor.item_similarity) for item, neighbor in every]
    return replace(report, neighbors=shown_items, measure=result.measure)


def query_record(query: Query, data: Dataset | None) -> Record | None:
    """The query as its container holds it; None if it cannot be read any more."""
    if isinstance(query.source, Entry):
        return None if data is None else record_of(data, query.source)
    return query.source


def item_of(model: OpenModel, record: Record | None) -> Any:
    """A record as the domain writes it; None if there is none, or the VAE does not take it."""
    if record is None:
        return None
    try:
        return model.schema.to_items(model.schema.to_tensor([record]))[0]
    except VaekitError:
        return None


def description_of(folder: Path) -> Description:
    """The description of an index, with the name of its VAE.

    Raises:
        BadIndex: the folder holds no index, one of another version, or a damaged one.
    """
    return read_description(folder)


def check_model(opened: Index, model: OpenModel) -> None:
    """Check that items are prepared for a VAE as they were for the index.

    Raises:
        IndexMismatch: they are not.
    """
    known = opened.description.preparation
    changed = differences(known, preparation_of(opened.description.embed, model))
    if changed:
        raise IndexMismatch(
            f"The index {opened.folder} is of items of another VAE: {'; '.join(changed)}.",
            f"Expected the VAE {printable(opened.description.vae) or 'with which it was made'}.",
            "Leave out --vae, or give that VAE.",
        )


def query_of(model: OpenModel, item: str, opened: Index, options: SearchOptions) -> Query:
    """The query: the first item of a file, an item of the index, or a text where items are texts.

    Raises:
        NotFound, BadItem: there is no such item, or it cannot be read or embedded.
        IndexMismatch: the embedding is not that of the index.
    """
    path = Path(item)
    if item.strip() and exists(path):
        return query_of_file(model, path, opened, options)
    row = next(iter(opened.rows.named(item)), None)
    if row is None and model.domain.is_text and is_text(model, item):
        return query_of_text(model, item, opened, options)
    if row is None:
        raise NotFound(
            f"There is no file {printable(item)}, and no item of this name in the index {opened.folder}.",
            "Expected a file, or the name of an item as the results of a search show it.",
            "Check the name.",
        )
    return Query(row.entry.name, opened.vectors_of([row])[0], row.entry.digest, row.entry.label, row.entry)


def query_of_text(model: OpenModel, text: str, opened: Index, options: SearchOptions) -> Query:
    """An item given as text."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"query{model.domain.ending}"
        model.domain.write([readable(text)], path, model.schema)
        check_count(model, path, [text])
        return replace(query_of_file(model, path, opened, options), name=text)


def query_of_file(model: OpenModel, path: Path, opened: Index, options: SearchOptions) -> Query:
    """The first item of a file."""
    if path.is_dir():
        raise BadItem(f"{path} is a folder.", "Expected a file.", "Give one of its files.")
    if path.name.endswith(SUFFIX):
        raise BadItem(
            f"{path} holds latents, and an index is of embeddings of items.",
            f"Expected a file with a {model.domain.item}.",
            "Give the file that was encoded, or decode it with `vaekit decode`.",
        )
    items = whole(open_items(model.domain, path, SkipLog(), model.schema))
    record = items.read(0)
    digest = content_digest(record)
    same = opened.rows.of_digest(digest)
    label = same[0].entry.label if same else None
    if same and options.embed is None:
        vector = opened.vectors_of(same[:1])[0]
    else:
        prepare = prepare_for(opened.description.embed, model)
        vector = checked_vectors(embedding_of(model, opened, options), prepare([record]))[0]
    note = f"{path} has {len(items):,} {model.domain.items}; the query is the first one." if len(items) > 1 else ""
    return Query(path.name if len(items) == 1 else items.key(0), vector, digest, label, record, (note,) if note else ())


def embedding_of(model: OpenModel, opened: Index, options: SearchOptions) -> Embedding:
    """The embedding of an index.

    Raises:
        BadPlan: it is a function of the user, which has to be named.
        IndexMismatch: VAE or embedding are not those of the index.
    """
    known = opened.description
    name = options.embed or (known.embed if known.embed in (LOOK, MEANING) else "")
    if not name:
        raise BadPlan(
            f"The index {opened.folder} was made with the function {printable(known.embed)}.",
            "Functions named by an index are not run.",
            f"Add --embed {printable(known.embed)} if you trust it.",
        )
    embedding = stored_embedding(name, model, opened.folder)
    if embedding is None:
        raise BadIndex(f"The index {opened.folder} has lost its network, {HEAD}.", "", REBUILD)
    changed = differences(known.embedding, plain(dict(embedding.identity)))
    if changed:
        raise IndexMismatch(
            f"The index {opened.folder} was made in another way: {'; '.join(changed)}.",
            "Vectors of different VAEs or embeddings cannot be compared.",
            f"Use the VAE {printable(known.vae)} and the embedding {printable(known.embed)}.",
        )
    return embedding


def ordered(matches: Sequence[Match], same: set[int], options: SearchOptions) -> list[Match]:
    """The first k matches: those with the content of the query first, or left out; then by similarity. Equal content is
    equally similar: vectors of it that were computed in different batches may differ by rounding."""
    kept = [match for match in matches if not (options.exclude_itself and match.row.id in same)]

    def place(match: Match) -> tuple[bool, float, str, int]:
        equal, entry = match.row.id in same, match.row.entry
        return not equal, 0.0 if equal else -match.similarity, entry.key, entry.occurrence

    kept.sort(key=place)
    return kept[: options.k]


def data_of(model: OpenModel, description: Description, path: Path | None) -> tuple[Dataset | None, str]:
    """The data set of an index, or None and the reason why it cannot be read."""
    place = Path(description.data) if path is None else path
    try:
        return whole(open_items(model.domain, place, SkipLog(), model.schema)), ""
    except VaekitError as error:
        if path is not None:
            raise
        return None, f"The items are not shown: {error} If the data have moved, add --data."


def record_of(data: Dataset, entry: Entry) -> Record | None:
    """The item of an entry; None if it is not in the data any more, or cannot be read."""
    position = entry.position
    try:
        if position >= len(data) or data.key(position) != entry.key:
            numbers = [number for number in range(len(data)) if data.key(number) == entry.key]
            if entry.occurrence >= len(numbers):
                return None
            position = numbers[entry.occurrence]
        return data.read(position)
    except VaekitError:
        return None


def report_of(
    model: OpenModel, query: Query, matches: Sequence[Match], same: set[int], opened: Index, data: Dataset | None
) -> SearchReport:
    """The query and its neighbors for people."""
    neighbors = []
    for match in matches[:MOST_SHOWN]:
        entry = match.row.entry
        record = None if data is None else record_of(data, entry)
        item = shown(model, entry.name, record, entry.label)
        note = ITSELF if match.row.id in same else changed_note(record, entry)
        neighbors.append(replace(item, distance=match.distance, note=note))
    facts: Mapping[str, Any] = {
        "index": opened.folder.name,
        model.domain.items: f"{len(opened):,}",
        "VAE": opened.description.vae,
        "embedding": opened.description.embedding,
        "vector": f"{opened.description.dimension} values",
    }
    record = query_record(query, data)
    return SearchReport(shown(model, query.name, record, query.label), neighbors, model.domain.items, facts)


def changed_note(record: Record | None, entry: Entry) -> str:
    """Whether an item is not as it was when it was indexed."""
    if record is None:
        return "not available"
    try:
        return "" if content_digest(record) == entry.digest else "changed since it was indexed"
    except VaekitError:
        return "cannot be read"


def shown(model: OpenModel, name: str, record: Record | None, label: str | None) -> ShownItem:
    """An item for people: an image as the VAE sees it, or a text."""
    if record is None:
        return ShownItem(name, label)
    item = item_of(model, record)
    if item is None:
        return ShownItem(name, label)
    return ShownItem(name, label, image=model.domain.preview([item]), text=text_of(record))


def written(
    report: SearchReport,
    result: SearchResult,
    asked: Mapping[str, str],
    options: SearchOptions,
    model: OpenModel,
    out: Path,
) -> tuple[Path, ...]:
    """Write the contact sheet, where items are images, the page, and the record with the item and the index as named.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    files = []
    if report.has_images:
        files.append(out / f"{NAME}.png")
        write_sheet(report, files[-1])
    files.append(out / f"{NAME}.html")
    write_page(report, files[-1])
    record = {
        "vae": model.identity,
        **asked,
        "query": result.query,
        **plain(asdict(options)),
        "measure": result.measure,
    }
    record["neighbors"] = plain([asdict(neighbor) for neighbor in result.neighbors])
    files.append(write_record(out / f"{NAME}.json", record))
    return tuple(files)

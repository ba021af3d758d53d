"""`vaekit search`: find the neighbors of an item in an index."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_json, print_table, spinner
from vaekit.tasks.options import EngineOptions, ModelOptions


@options.with_records
def search(
    item: Annotated[
        str,
        typer.Argument(
            metavar="ITEM",
            help="A file, whose first item is taken; the name of an item of the index; or a sentence or SMILES.",
        ),
    ],
    index: Annotated[Path, typer.Option("--index", metavar="INDEX", help="Folder of the index.")],
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, max=10_000, help="Number of neighbors.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Write a contact sheet (images), an HTML page and a record into this folder.",
            show_default="none",
        ),
    ] = None,
    *,
    exclude_itself: Annotated[
        bool, typer.Option("--exclude-itself", help="Leave out items whose content is that of the query.")
    ] = False,
    vae: Annotated[
        str | None,
        typer.Option("--vae", "--vae-path", metavar="VAE", help=options.ANY_VAE, show_default="that of the index"),
    ] = None,
    models: options.Models = None,
    embed: Annotated[
        str | None,
        typer.Option(
            "--embed",
            metavar="MODULE:FUNCTION",
            help="The function of an index with your own embedding; it is never taken from the index.",
            show_default="that of the index",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DATA", help="The indexed data, if they have moved.", show_default="as indexed"),
    ] = None,
    engine: EngineOptions,
    padding: options.Padding = None,
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Find the nearest neighbors of an item in an index.

    Prints the neighbors by cosine distance: 0 is the same vector, 1 is unrelated. An item of the index is its own first
    neighbor and is marked so. Where people of a domain have a measure of similarity, such as Tanimoto for molecules, it
    is printed beside the distance.
    """
    from vaekit.tasks.model import open_model
    from vaekit.tasks.search import SearchOptions, description_of
    from vaekit.tasks.search import search as run

    name = vae or description_of(index).vae or "builtin"
    with spinner("loading the VAE"):
        model = open_model(ModelOptions(name, models, padding, weights), engine)
    result = run(model, item, index, SearchOptions(k, embed, data, exclude_itself), out)
    for note in result.notes:
        log(note)
    if as_json:
        neighbors = [vars(neighbor) for neighbor in result.neighbors]
        print_json({"index": index, "vae": name, **vars(result), "neighbors": neighbors})
        return
    labelled = any(neighbor.label is not None for neighbor in result.neighbors)
    texts = any(neighbor.text is not None for neighbor in result.neighbors)
    rows = [
        [
            str(each.rank),
            f"{each.item}{' (the query itself)' if each.itself else ''}",
            *([each.text or "-"] if texts else []),
            *([each.label or "-"] if labelled else []),
            f"{each.distance:.4f}",
            *([] if result.measure is None else [similarity_text(each.item_similarity)]),
        ]
        for each in result.neighbors
    ]
    measured = () if result.measure is None else (result.measure,)
    shown = (*((model.domain.item,) if texts else ()), *(("label",) if labelled else ()))
    columns = ("", "item", *shown, "distance", *measured)
    print_table(f"{index}: neighbors of {result.query} among {result.items:,}", columns, rows, 2 + len(shown))
    log(f"Written to {', '.join(map(str, result.files))}" if result.files else "Add --out DIR for a page to look at.")


def similarity_text(similarity: float | None) -> str:
    """A similarity for people; a dash for an item that cannot be read any more."""
    return "-" if similarity is None else f"{similarity:.2f}"

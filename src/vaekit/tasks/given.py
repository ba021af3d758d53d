"""Items given as text on the command line, such as sentences: written to a file that verbs read like any other, and
read from results."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.files import not_found
from vaekit.domains.item_batches import open_items
from vaekit.errors import BadItem, NotFound, NoTrainingData, counted, printable, shorten
from vaekit.reading import exists, open_file
from vaekit.tasks.model import OpenModel

SHOWN = 50
"""Lines of a file."""
ITEM_NAME = re.compile(r"(.+?)(:\d+|\[\d+\])")
"""The name of a file, and an item of it."""
FOLDER = "given"
"""The subfolder of the output folder with these files."""


def given_files(model: OpenModel, arguments: Sequence[str], out: Path, folder: str = FOLDER) -> list[Path]:
    """The files of arguments in order: files and folders as they are, and in place of consecutive texts a file with
    their items, which stays in the output folder, so that the call can be repeated.

    Args:
        model: the VAE.
        arguments: each a path, or the text of an item where items are texts. What ends like a file of such items, or
            begins like an existing folder, is a path, also with the number of an item behind it.
        out: the output folder.
        folder: its subfolder for the file.

    Raises:
        NotFound: an argument is neither.
        BadItem: a text is not one item.
        CannotWrite: the texts cannot be written.
    """
    domain, paths, count = model.domain, list[Path](), 0
    pairs = [(is_text(model, argument), argument) for argument in arguments]
    for texts, group in itertools.groupby(pairs, key=itemgetter(0)):
        names = [argument for _, argument in group]
        if not texts:
            paths += map(Path, names)
            continue
        count += 1
        name = domain.items if count == 1 else f"{domain.items}-{count}"
        paths.append(out / folder / f"{name}{domain.ending}")
        write_texts(model, names, paths[-1])
    return paths


def write_texts(model: OpenModel, texts: Sequence[str], path: Path) -> None:
    """Write texts, each of them one item, to a file that verbs read like any other.

    Raises:
        BadItem: a text is not one item.
        CannotWrite: the texts cannot be written.
    """
    model.domain.write([readable(text) for text in texts], path, model.schema)
    check_count(model, path, texts)


def check_count(model: OpenModel, path: Path, texts: Sequence[str]) -> None:
    """Check that each text is one item of the file that they were written to, and not a header, a comment or two items.

    Raises:
        BadItem: it is not.
    """
    try:
        count = len(open_items(model.domain, path, SkipLog(), model.schema).train)
    except NoTrainingData:
        count = 0
    if count != len(texts):
        item, items = model.domain.item, model.domain.items
        raise BadItem(
            f"What was given, {printable(shorten([repr(text) for text in texts], 5), 400)}, is read as "
            f"{counted(count, item, items)}.",
            f"Expected {counted(len(texts), item, items)}, without line ends, headers and comments.",
            "See the page of the domain in docs/ for what files may contain.",
        )


@contextmanager
def given_or_temporary(model: OpenModel, arguments: Sequence[str], out: Path | None) -> Iterator[list[Path]]:
    """See `given_files`; without an output folder, the texts are in a temporary file until the end."""
    if out is not None:
        yield given_files(model, arguments, out)
        return
    with TemporaryDirectory() as folder:
        yield given_files(model, arguments, Path(folder))


def named_item(path: Path) -> tuple[Path, str | None]:
    """A data set and the name of one of its items, for a path such as `folder/rows.csv:172`, as items are called in
    scores; or a path and None.

    >>> named_item(Path("no-such-folder/rows.csv:172"))
    (PosixPath('no-such-folder/rows.csv:172'), None)
    """
    found = ITEM_NAME.fullmatch(path.name)
    if found is None or exists(path) or not exists(path.with_name(found[1])):
        return path, None
    return path.with_name(found[1]), path.name


def is_text(model: OpenModel, argument: str) -> bool:
    """Whether an argument is the text of an item.

    Raises:
        NotFound: it is no path either.
    """
    if not argument.strip():
        raise NotFound(
            "An argument is empty.", f"Expected a path, or the text of {model.domain.items}.", "Check variables."
        )
    path, folder = Path(argument), os.path.dirname(argument)  # noqa: PTH120 (of the text as it is)
    named = ITEM_NAME.fullmatch(path.name)
    file = path if named is None else path.with_name(named[1])
    is_pattern = "{" in path.name and not model.domain.is_text  # of several files
    if exists(path) or exists(file) or is_pattern:
        return False
    like_path = file.suffix.lower() in model.domain.suffixes or (folder and exists(Path(folder)))
    if not model.domain.is_text or like_path:
        raise not_found(path)
    return True


def readable(argument: str) -> str:
    """An argument as valid Unicode: the bytes that are not text become U+FFFD."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()


def first_lines(model: OpenModel, path: Path, most: int = SHOWN) -> list[str]:
    """The first lines of a file of items that was written, to be printed; none where items are not texts."""
    if not model.domain.is_text:
        return []
    with open_file(path) as file:
        lines = [line.decode("utf-8", "replace") for line in itertools.islice(file, most)]
    return [line.replace("\t", " ").strip() for line in lines]

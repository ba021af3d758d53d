"""The words of errors, and their tree."""

import errno
import pickle
import re

import pytest

import vaekit.errors
from vaekit.errors import (
    BadItem,
    CannotRead,
    CannotWriteHere,
    OutOfMemory,
    TooLittleMemory,
    VaekitError,
    counted,
    printable,
    system_errors,
)


def test_foreign_text_is_made_fit_for_a_message() -> None:
    assert printable("plain name.safetensors") == "plain name.safetensors"
    assert printable("\x1b[2J\n two\nlines") == "[2J two lines"
    assert printable("x" * 500) == "x" * 120 + "..."


def test_nouns_are_counted() -> None:
    assert counted(1, "axis", "axes") == "1 axis" and counted(2, "axis", "axes") == "2 axes"
    assert [counted(n, "tensor") for n in (0, 1, 1000)] == ["0 tensors", "1 tensor", "1,000 tensors"]


def test_the_parts_of_an_error_make_one_paragraph() -> None:
    error = VaekitError("This was found.", "", "Do that.")
    assert str(error) == "This was found. Do that."


@pytest.mark.parametrize(
    "error",
    [VaekitError("This was found.", "", "Do that."), TooLittleMemory("a", "b", "c", 7), BadItem("\x1b", "e", "r")],
)
def test_errors_are_picklable(error: VaekitError) -> None:
    """Workers in other processes raise them."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


def drawn_tree(text: str) -> list[tuple[str, str]]:
    """Each class of a drawn tree with its parent, from top to bottom. A branch starts below its parent's name."""
    root = re.search(r"^( +)(\w+)", text, re.MULTILINE)
    assert root is not None
    last_at = {len(root[1]): root[2]}
    pairs = []
    for branch in re.finditer(r"^(.*)[├└]── (\w+)", text, re.MULTILINE):
        column = len(branch[1])
        pairs.append((branch[2], last_at[column]))
        last_at[column + 4] = branch[2]
    return pairs


def test_a_drawn_tree_is_read_with_parents_and_duplicates() -> None:
    text = """
    Root          all
    ├── A         one
    │   └── B     below it, in a description
    │             of two lines
    ├── A         again
    └── C         last
        └── D     below that
            └── E
    """
    assert drawn_tree(text) == [("A", "Root"), ("B", "A"), ("A", "Root"), ("C", "Root"), ("D", "C"), ("E", "D")]


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    """Every class once, below its base class, in the order of their definitions."""
    values = vars(vaekit.errors).values()
    classes = [value for value in values if isinstance(value, type) and issubclass(value, VaekitError)]
    real = [(error.__name__, error.__bases__[0].__name__) for error in classes if error is not VaekitError]
    assert all(len(error.__bases__) == 1 for error in classes)
    assert drawn_tree(vaekit.errors.__doc__ or "") == real


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), CannotRead, "a/b: Permission denied"),
        (OSError(errno.ELOOP, "Too many levels", "x" * 5000), CannotRead, "Too many levels"),
        (OSError(errno.ENOSPC, "No space left on device"), CannotWriteHere, "No space left"),
        (MemoryError(), OutOfMemory, "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemory, "memory"),
    ],
)
def test_errors_of_the_system_become_ours(error: OSError | MemoryError, kind: type[VaekitError], words: str) -> None:
    with pytest.raises(kind) as raised, system_errors():
        raise error
    assert words in raised.value.found
    assert raised.value.remedy
    assert len(str(raised.value)) < 1000
    assert raised.value.__cause__ is error

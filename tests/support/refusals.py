"""How tests check an error: its class, and the data that it names. Its sentences may change."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from vaekit.errors import VaekitError

Error = TypeVar("Error", bound=BaseException)


def lacks(text: str, *facts: object) -> list[object]:
    """Which of these file names, tensor names, numbers or options do not occur in a text as whole words."""
    return [fact for fact in facts if not re.search(rf"(?<![^\W_]){re.escape(str(fact))}(?![^\W_])", text)]


@contextmanager
def refuses(kind: type[Error] | tuple[type[Error], ...], *facts: object) -> Iterator[pytest.ExceptionInfo[Error]]:
    """`pytest.raises(kind)`, and the error has to name these facts: data, never a phrase of English."""
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    parts = (error.found, error.expected, error.remedy) if isinstance(error, VaekitError) else (str(error),)
    missing = lacks(" ".join(parts), *facts)
    assert not missing, f"the error does not name {missing}: {error}"

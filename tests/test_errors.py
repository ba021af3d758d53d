"""The words of errors, and their tree."""

import re

import vaekit.errors
from vaekit.errors import VaekitError, legible


def test_foreign_text_is_made_fit_for_a_message() -> None:
    assert legible("plain name.safetensors") == "plain name.safetensors"
    assert legible("\x1b[2J\n two\nlines") == "[2J two lines"
    assert legible("x" * 500) == "x" * 120 + "..."


def test_the_parts_of_an_error_make_one_paragraph() -> None:
    error = VaekitError("This was found.", "", "Do that.")
    assert str(error) == "This was found. Do that."


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    """Each class once, under the class that it is a kind of."""
    above = ["VaekitError"]
    drawn: dict[str, str] = {}
    for margin, name in re.findall(r"^    ([│ ]*)[├└]── (\w+)", vaekit.errors.__doc__ or "", flags=re.MULTILINE):
        above = [*above[: 1 + len(margin) // 4], name]
        assert name not in drawn
        drawn[name] = above[-2]
    classes = [value for value in vars(vaekit.errors).values() if isinstance(value, type) and value is not VaekitError]
    assert drawn == {each.__name__: each.__bases__[0].__name__ for each in classes}

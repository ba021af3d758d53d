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
    drawn = re.findall(r"[├└]── (\w+)", vaekit.errors.__doc__ or "")
    classes = [name for name, value in vars(vaekit.errors).items() if isinstance(value, type)]
    assert set(drawn) == set(classes) - {"VaekitError"}

"""`vaekit serve` before it serves; `tests/serve/test_process.py` has the rest."""

from collections.abc import Callable
from typing import Any

import pytest


def test_another_address_needs_a_token(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAEKIT_TOKEN", raising=False)
    said = run("serve", "--host", "0.0.0.0")
    assert said.code == 1 and "--token" in said.err
    monkeypatch.setenv("VAEKIT_TOKEN", "short")
    assert run("serve", "--host", "0.0.0.0").code == 1


@pytest.mark.parametrize("option", [("--port", "70000"), ("--queue", "0"), ("--loaded", "x"), ("--max-pixels", "1")])
def test_wrong_usage(run: Callable[..., Any], option: tuple[str, str]) -> None:
    assert run("serve", *option).code == 2


def test_an_origin_is_exact(run: Callable[..., Any]) -> None:
    said = run("serve", "--allow-origin", "*")
    assert said.code == 1 and "origin" in said.err

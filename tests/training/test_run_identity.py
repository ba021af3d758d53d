"""The identity of a run in its folder."""

import json
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.errors import RecipeChanged
from vaekit.run_folder import RECIPE
from vaekit.training.run_identity import claim_folder, stored_identity

IDENTITY = {"recipe": {"about": "one", "loss": {"mse": 1.0}}, "seed": 3, "data": {"kind": "files", "items": 5}}


def test_a_folder_is_claimed_once_and_descriptions_may_change(tmp_path: Path) -> None:
    assert stored_identity(tmp_path) is None
    claim_folder(tmp_path, IDENTITY)
    assert stored_identity(tmp_path) == IDENTITY
    claim_folder(tmp_path, {**IDENTITY, "recipe": {"about": "another", "loss": {"mse": 1.0}}})


@pytest.mark.parametrize("change", [{"seed": 4}, {"recipe": {"loss": {"mse": 2.0}}}, {"data": {"kind": "files"}}])
def test_another_run_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    claim_folder(tmp_path, IDENTITY)
    with refuses(RecipeChanged, tmp_path):
        claim_folder(tmp_path, {**IDENTITY, **change})


@pytest.mark.parametrize("content", ["[", "[]", '"text"'])
def test_a_damaged_identity_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RECIPE).write_text(content, "utf-8")
    with refuses(RecipeChanged, tmp_path / RECIPE):
        stored_identity(tmp_path)


def test_names_of_the_first_edition(tmp_path: Path) -> None:
    old = {**IDENTITY, "data": {"kind": "pictures", "pictures": 5}}
    (tmp_path / RECIPE).write_text(json.dumps(old), "utf-8")
    assert stored_identity(tmp_path) == IDENTITY

"""Metadata in weights files: what is written is read back, and nonsense is nothing."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.identification.inspect import inspect_path
from vaekit.identification.metadata import (
    describe,
    domain_notes,
    doubtful_entries,
    is_stated_unknown,
    known_config,
    normalization_text,
    read_config,
    read_domain,
    read_family,
    read_normalization,
)
from vaekit.normalization import LatentNormalization

CONFIG = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, True, True, 8)
NORMALIZATION = LatentNormalization((0.1, 0.2), (1 / 3, 2.0))


def plain(config: KLConfig) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return fields


def test_what_is_described_is_read_back_to_the_last_digit() -> None:
    metadata = describe("kl", CONFIG, NORMALIZATION)
    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata["format"] == "pt"
    assert read_family(metadata) == "kl"
    assert read_config(metadata) == plain(CONFIG)
    assert read_normalization(metadata) == NORMALIZATION
    assert not is_stated_unknown(metadata)


def test_an_unknown_normalization_is_stated() -> None:
    metadata = describe("kl", CONFIG, None)
    assert is_stated_unknown(metadata)
    assert read_normalization(metadata) is None
    assert not is_stated_unknown({})


def test_an_assumed_padding_is_not_written() -> None:
    assert known_config(CONFIG, padding_known=True)["padding"] == "zeros"
    assert "padding" not in read_config(describe("kl", CONFIG, None, padding_known=False))
    reflecting = replace(CONFIG, padding="reflect")
    assert known_config(reflecting, padding_known=False)["padding"] == "reflect"


def test_names_of_version_1_are_read() -> None:
    old = {"vaekit.frame": normalization_text(NORMALIZATION), "vaekit.config": '{"net": {"picture_size": 8}}'}
    assert read_normalization(old) == NORMALIZATION
    assert read_config(old) == {"net": {"image_size": 8}}
    assert is_stated_unknown({"vaekit.frame": "null"})
    assert read_normalization(old | {"vaekit.normalization": "null"}) is None, "the newer entry counts"


@pytest.mark.parametrize("entry", [None, "", "{", "[1]", "5", "null", "[" * 100_000])
def test_nonsense_is_nothing(entry: str | None) -> None:
    keys = ("vaekit.config", "vaekit.normalization", "vaekit.schema")
    metadata = {key: entry for key in keys if entry is not None}
    assert read_config(metadata) == {}
    assert read_normalization(metadata) is None
    assert read_domain(metadata) == ("", {})


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"vaekit.version": "99"}, "99"),
        ({"vaekit.normalization": '{"shift": [NaN], "scale": [1.0], "patch": 1}'}, "NaN"),
        ({"vaekit.normalization": '{"shift": [0.0], "scale": [0.0], "patch": 1}'}, "0.0"),
        ({"vaekit.normalization": '{"shift": [0, 0, 0], "scale": [1, 1, 1], "patch": 1}'}, "4 latent channels"),
        ({"vaekit.frame": "broken"}, "broken"),
    ],
)
def test_entries_that_cannot_be_followed_are_noted(tmp_path: Path, entries: dict[str, str], named: str) -> None:
    torch.manual_seed(0)
    save(assemble(family_of("kl"), CONFIG), tmp_path / "vae.safetensors")
    with safe_open(tmp_path / "vae.safetensors", "pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "vaekit.normalization"}
    save_file(load_file(tmp_path / "vae.safetensors"), tmp_path / "odd.safetensors", metadata | entries)
    vae = load(str(tmp_path / "odd.safetensors"))
    assert vae.origin is not None and named in vae.origin.note and vae.normalization is None
    assert any(named in problem for problem in inspect_path(tmp_path / "odd.safetensors", measure=False).problems)


def test_usual_entries_are_no_doubt() -> None:
    for version in ("1", "2"):
        metadata = describe("kl", CONFIG, LatentNormalization()) | {"vaekit.version": version}
        assert doubtful_entries(metadata, 4) == [] == doubtful_entries(metadata | {"vaekit.normalization": "null"}, 4)
    assert doubtful_entries({}, 4) == []


def test_the_domain_and_its_schema_are_read_back() -> None:
    schema = {"columns": ["gr\u00f6\u00dfe"], "count": 2}
    notes = domain_notes("tables", schema)
    assert "gr\u00f6\u00dfe" in notes["vaekit.schema"]
    assert read_domain(notes) == ("tables", schema)

"""Caches of latents: items that cannot be read or encoded are listed, and the others are cached."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_cache import SMALL, numbered, write_classes

from vaekit.distributions import DiagonalGaussian
from vaekit.tasks.cache import cache
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images of three sizes in two classes."""
    return write_classes(tmp_path / "data")


def test_bad_items_are_listed_and_the_others_cached(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "dog/0.png").read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    numbered(8, 20, 20).save(folder / os.fsdecode(b"caf\xe9.png"))
    (folder / "text.jpg").write_text("no image")
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to(folder / "nothing")
    os.mkfifo(folder / "linked")
    (folder / "link.png").symlink_to(folder / "linked")
    result = cache(model, folder, tmp_path / "out", SMALL)
    assert result.cached == 8 and result.enlarged == 1
    assert {each.name for each in result.rejected} >= {
        *("broken.png", "empty.png", "text.jpg", "gone.png", "pipe.png", "link.png")
    }
    lines = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == sorted(each.name for each in result.rejected)
    assert all(line["reason"] for line in lines)
    again = cache(model, folder, tmp_path / "out", SMALL)
    assert again.encoded == 0 and again.rejected == result.rejected
    numbered(50).save(folder / "broken.png")
    repaired = cache(model, folder, tmp_path / "out", SMALL)
    assert repaired.encoded == 1 and "broken.png" not in {each.name for each in repaired.rejected}


def broken_for(model: OpenModel, monkeypatch: pytest.MonkeyPatch, bad: Any) -> list[int]:
    """Make the encoder return NaN for images for which `bad` holds; returns the numbers of items of each call."""
    calls: list[int] = []
    encode = model.engine.encode

    def broken(x: torch.Tensor) -> Any:
        calls.append(len(x))
        posterior = encode(x)
        assert isinstance(posterior, DiagonalGaussian)
        mean = posterior.mean.clone()
        mean[[row for row in range(len(x)) if bad(x[row])]] = float("nan")
        return DiagonalGaussian(mean, posterior.log_variance)

    monkeypatch.setattr(model.engine, "encode", broken)
    return calls


def test_items_without_finite_latents_are_put_into_quarantine(
    vae_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(ModelOptions(str(vae_file)), EngineOptions(device="cpu", batch=2))
    white = Image.new("RGB", (40, 32), "white")
    white.save(folder / "white.png")
    broken_for(model, monkeypatch, lambda x: bool((x == 1).all()))
    result = cache(model, folder, tmp_path / "out", SMALL)
    assert result.cached == 7 and [each.name for each in result.rejected] == ["white.png"]
    monkeypatch.undo()
    assert cache(model, folder, tmp_path / "out", SMALL).encoded == 0, "the content is known to be bad"
    result = cache(model, folder, tmp_path / "out", replace(SMALL, retry=True))
    assert result.encoded == 1 and not result.rejected and result.cached == 8


def test_items_without_finite_latents_in_half_precision_are_redone(
    vae_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(ModelOptions(str(vae_file)), EngineOptions(device="cpu", dtype="bf16"))
    Image.new("RGB", (40, 32), "white").save(folder / "white.png")
    broken_for(model, monkeypatch, lambda x: bool((x == 1).all()))
    result = cache(model, folder, tmp_path / "out", SMALL)
    assert result.redone == 1 and result.cached == 8 and not result.rejected


def test_latents_beyond_the_range_of_fp16_are_not_stored_as_infinity(
    vae_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(ModelOptions(str(vae_file)), EngineOptions(device="cpu"))
    encode = model.engine.encode

    def large(x: torch.Tensor) -> Any:
        posterior = encode(x)
        assert isinstance(posterior, DiagonalGaussian)
        return DiagonalGaussian(posterior.mean + 1e6 * bool((x == 1).all()), posterior.log_variance)

    monkeypatch.setattr(model.engine, "encode", large)
    Image.new("RGB", (40, 32), "white").save(folder / "white.png")
    result = cache(model, folder, tmp_path / "out", replace(SMALL, dtype="fp16"))
    assert [each.name for each in result.rejected] == ["white.png"]
    assert cache(model, folder, tmp_path / "other", SMALL).cached == 8

"""`sample` with items that are left out: repeated, known and invalid ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from planted_rows import save_planted
from planted_tokens import planted_tokens
from refusals import refuses

from vaekit.errors import BadItem, BadPlan, NotFound
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.sample import SampleOptions, sample

EVERY = [format(number, "06b").replace("0", "a").replace("1", "b") for number in range(64)]


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return planted_tokens()


def lines(folder: Path) -> list[str]:
    return (folder / "samples.txt").read_text().splitlines()


def test_each_sentence_once(model: OpenModel, tmp_path: Path) -> None:
    plain = sample(model, tmp_path / "plain", SampleOptions(40))
    once = sample(model, tmp_path / "once", SampleOptions(40, unique=True))
    repeated, unique = lines(tmp_path / "plain"), lines(tmp_path / "once")
    assert len(set(repeated)) < len(repeated) == 40 and len(set(unique)) == len(unique) == 40
    assert plain.drawn == 40 and once.drawn == 40 + once.repeated and any("repeated" in note for note in once.notes)
    assert unique[: len(set(repeated))] == list(dict.fromkeys(repeated))
    record = json.loads((tmp_path / "once" / "samples.json").read_text())
    assert record["unique"] and record["repeated"] == once.repeated
    sample(model, tmp_path / "fewer", SampleOptions(10, unique=True))
    assert lines(tmp_path / "fewer") == unique[:10]


def test_all_of_a_small_world_are_found_and_no_more(model: OpenModel, tmp_path: Path) -> None:
    found = sample(model, tmp_path, SampleOptions(100, unique=True))
    assert sorted(lines(tmp_path)) == EVERY and found.items == 64
    assert any("Only 64 of 100" in note and f"{found.drawn:,}" in note for note in found.notes)


def test_sampling_ends_when_almost_nothing_new_comes(
    model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.tasks.sample_selection.WINDOW", 1000)
    found = sample(model, tmp_path, SampleOptions(1_000_000, unique=True))
    assert sorted(lines(tmp_path)) == EVERY and 2000 <= found.drawn < 2100
    assert any("64 of 1,000,000" in note and "1,000 almost none were wanted (0)" in note for note in found.notes)
    enough = sample(model, tmp_path, SampleOptions(3000))
    assert enough.items == enough.drawn == 3000 and not enough.notes


def test_sentences_of_data_are_left_out(model: OpenModel, tmp_path: Path) -> None:
    data = tmp_path / "known.txt"
    data.write_text("".join(f"{line}\n" for line in EVERY[:60]))
    found = sample(model, tmp_path / "out", SampleOptions(4, unique=True, new_to=data))
    assert sorted(lines(tmp_path / "out")) == EVERY[60:] and found.known > 0
    data.write_text("".join(f"{line}\n" for line in EVERY))
    with refuses(BadItem, "known"):
        sample(model, tmp_path / "none", SampleOptions(4, new_to=data))
    with refuses(NotFound, "nowhere"):
        sample(model, tmp_path / "none", SampleOptions(4, new_to=tmp_path / "nowhere.txt"))


def test_invalid_sentences_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    odd = planted_tokens(valid=False)
    found = sample(odd, tmp_path / "valid", SampleOptions(30))
    assert len(lines(tmp_path / "valid")) == 30 == found.items and found.invalid > 0
    assert not any(line.startswith("a") for line in lines(tmp_path / "valid"))
    kept = sample(odd, tmp_path / "kept", SampleOptions(30, keep_invalid=True))
    assert any(line.startswith("a") for line in lines(tmp_path / "kept")) and kept.drawn == 30
    assert any("invalid" in note for note in kept.notes) and any("invalid" in note for note in found.notes)


def test_rows_are_compared_as_they_are_written(tmp_path: Path) -> None:
    path = save_planted(tmp_path / "vae.safetensors")
    rows = open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))
    sample(rows, tmp_path / "first", SampleOptions(8))
    again = sample(rows, tmp_path / "again", SampleOptions(8, new_to=tmp_path / "first" / "samples.csv"))
    assert again.known == 8 and again.items == 8


def test_images_are_not_compared(model: OpenModel, tmp_path: Path) -> None:
    images = open_model(ModelOptions("builtin"), EngineOptions(device="cpu"))
    for options in (SampleOptions(2, unique=True), SampleOptions(2, new_to=tmp_path)):
        with refuses(BadPlan, "images"):
            sample(images, tmp_path / "out", replace(options, size=16))

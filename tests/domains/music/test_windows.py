"""Pieces of files, divided into excerpts; and files that cannot be read."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refuses
from small_music import TUNES, random_piece

from vaekit.datasets.dataset import Parsed
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.music.chorales import read_json, read_npz
from vaekit.domains.music.domain import MUSIC
from vaekit.domains.music.excerpts import Excerpt
from vaekit.domains.music.midi_files import write_midi
from vaekit.domains.music.pieces import Piece
from vaekit.domains.music.sources import open_music
from vaekit.domains.music.windows import Cut, windows
from vaekit.errors import BadItem, NotFound, NoTrainingData

MELODIES = Cut("melody", 2, 4, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "tunes.abc").write_text(TUNES)
    (tmp_path / "in" / "song.MID").write_bytes(write_midi(random_piece(0)))
    (tmp_path / "broken.mid").write_bytes(b"MThd")
    (tmp_path / "jsb.json").write_text(json.dumps({"train": [[[60, 50]] * 40], "test": [[[62, 52]] * 20]}))
    (tmp_path / "readme.txt").write_text("no music")
    return tmp_path


def test_pieces_of_a_folder(folder: Path) -> None:
    splits = open_music(folder, SkipLog())
    names = [splits.train.key(number) for number in range(len(splits.train))]
    assert names == ["broken.mid", "in/song.MID", "jsb.json:1", "tunes.abc:1", "tunes.abc:2"]
    assert splits.test is not None and len(splits.test) == 1
    with refuses(BadItem, "broken.mid"):
        splits.train.read(0)
    again = pickle.loads(pickle.dumps(splits.train))
    record = again.read(3)
    assert isinstance(record, Parsed) and isinstance(record.item, Piece) and record == splits.train.read(3)
    before = splits.train.digest
    (folder / "tunes.abc").write_text(TUNES + "\n% changed")
    assert open_music(folder, SkipLog()).train.digest != before


def test_excerpts_of_pieces(folder: Path) -> None:
    splits, said = open_music(folder, SkipLog()), list[str]()
    found = windows(splits.train, range(5), MELODIES, SkipLog(say=said.append))
    keys = [found.key(number) for number in range(len(found))]
    assert len(set(keys)) == len(keys) and keys[0] == "broken.mid:1"
    tune = [number for number, key in enumerate(keys) if key.startswith("tunes.abc")]
    excerpts = [found.read(number) for number in tune]
    assert [len(each.item.steps) for each in excerpts if isinstance(each, Parsed)] == [32] * 5 + [24] * 2
    with refuses(BadItem, "broken.mid:1"):
        found.read(0)
    silent = found.unchecked(0)
    assert isinstance(silent, Parsed) and isinstance(silent.item, Excerpt) and not list(silent.item.notes())
    hopping = windows(splits.train, range(3, 5), Cut("melody", 2, 4, 1, hop=1), SkipLog())
    assert len(hopping) == 8 + 3 and hopping.digest != found.digest


def test_whole_pieces(folder: Path) -> None:
    splits = open_music(folder, SkipLog())
    found = windows(splits.train, range(1, 5), Cut("roll", 0, 4, 4), SkipLog())
    assert len(found) == 4 and len(found.excerpts()) == 4
    assert [len(each.steps) for each in found.excerpts()][2:] == [140, 48]


def test_what_does_not_fit_is_logged_with_file_bar_and_reason(tmp_path: Path) -> None:
    (tmp_path / "t.abc").write_text("X:1\nM:4/4\nL:1/4\nK:C\nC4|D4|(3C/4D/4E/4 F7/2|G4|(3A/B/c/ c3|\n")
    log = SkipLog()
    table = {"bars": 1, "held_out": 0}
    splits, said = MUSIC.open(tmp_path, log), list[str]()
    schema = MUSIC.schema(table, splits, said.append)
    data = MUSIC.training_data(table, splits, schema, 0, log)
    assert len(data.source) == 4 and data.held_out is None
    assert list(log.reasons) == ["t.abc:3"] and "bar 3" in log.reasons["t.abc:3"]
    assert len(said) == 1 and "bar" in said[0] and "3" in said[0] and "5" in said[0]


def test_held_out_pieces_are_no_training_pieces(tmp_path: Path) -> None:
    for number in range(10):
        body = "".join(f"[M:4/4]{'CDEFGAB'[number % 7]}{',' * (number // 7)}8|" for _ in range(6))
        (tmp_path / f"{number}.abc").write_text(f"X:1\nM:4/4\nL:1/8\nK:C\n{body}\n")
    table = {"held_out": 0.3, "transpose": 2}
    splits = MUSIC.open(tmp_path, SkipLog())
    schema = MUSIC.schema({**table, "held_out": 0}, splits)
    data = MUSIC.training_data(table, splits, schema, 0, SkipLog())
    assert len(data.source) == 7 * 5 and data.held_out is not None and len(data.held_out) == 3 * 3
    every = torch.arange(len(data.source))
    one, same, other = (data.source.batch(every, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    plain = MUSIC.training_data({**table, "transpose": 0}, splits, schema, 0, SkipLog()).source.batch(every, 1)
    shifts = one[:, 0] - plain[:, 0]
    assert set(shifts.tolist()) == {-2, -1, 0, 1, 2}
    assert not {tuple(row) for row in plain.tolist()} & {tuple(row) for row in data.held_out.tolist()}


def test_whole_held_out_pieces_have_room(folder: Path) -> None:
    (folder / "jsb.json").write_text(json.dumps({"train": [[[60, 50]] * 20], "test": [[[60, 50]] * 40]}))
    table = {"kind": "roll", "bars": 0, "voices": 2}
    splits = MUSIC.open(folder / "jsb.json", SkipLog())
    data = MUSIC.training_data(table, splits, MUSIC.schema(table, splits), 0, SkipLog())
    assert data.held_out is not None and data.held_out.shape == (1, 81)


@pytest.mark.parametrize("name", ["", "no-such-folder", "readme.txt", "broken.json", "deep.json", "pipe.mid"])
def test_no_music(tmp_path: Path, name: str) -> None:
    (tmp_path / "readme.txt").write_text("no music")
    (tmp_path / "in").mkdir()
    path = tmp_path / name if name else tmp_path / "in"
    if name == "broken.json":
        path.write_text('{"train": 3}')
    if name == "deep.json":
        path.write_text("[" * 100_000)
    if name == "pipe.mid":
        os.mkfifo(path)
    with pytest.raises((NotFound, NoTrainingData)):
        open_music(path, SkipLog())


def test_unreadable_files_of_a_folder_are_logged(folder: Path) -> None:
    (folder / "bad.json").write_text("{}")
    (folder / "bad.npz").write_bytes(b"PK\3\4 no archive")
    log = SkipLog()
    assert len(open_music(folder, log).train) == 5 and set(log.reasons) == {"bad.json", "bad.npz"}


def voices_of(found: object) -> list[list[int]]:
    assert isinstance(found, Piece)
    return [[note.pitch for note in part.notes] for part in found.parts]


def test_chorales_in_json() -> None:
    steps = [[60, 50], [60, 52], [], [60.0, 52]]
    found = read_json(json.dumps({"train": [steps, [[60], [60, 50]]], "valid": [steps]}).encode(), "quarter.json")
    assert list(found) == [""] and len(found[""]) == 3
    first = found[""][0]
    assert voices_of(first) == [[60, 60], [50, 52, 52]] and isinstance(first, Piece) and first.resolution == 1
    assert voices_of(found[""][1]) == [[50, 60]] or voices_of(found[""][1]) == [[60, 50]]
    assert [type(each) for each in read_json(b'[[[60]], [["x"]], [[200]], [60], [[]]]', "x.json")[""]] == [
        Piece,
        *[BadItem] * 4,
    ]


def test_chorales_in_npz(tmp_path: Path) -> None:
    pieces = np.empty(2, object)
    pieces[0] = np.array([[60, 50], [60, np.nan], [62, 50]], np.float16)
    pieces[1] = np.array([[70, 55]] * 3, np.float16)
    np.savez(tmp_path / "c.npz", train=pieces, test=np.full((1, 4, 2), 61))
    found = read_npz((tmp_path / "c.npz").read_bytes(), "c.npz")
    assert voices_of(found[""][0]) == [[60, 62], [50, 50]] and voices_of(found["test"][0]) == [[61], [61]]


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/vaekit-was-here",)


def test_pickles_run_nothing(tmp_path: Path) -> None:
    pieces = np.empty(1, object)
    pieces[0] = Runs()
    np.savez(tmp_path / "c.npz", train=pieces)
    with pytest.raises(BadItem):
        read_npz((tmp_path / "c.npz").read_bytes(), "c.npz")
    assert not Path("/tmp/vaekit-was-here").exists()

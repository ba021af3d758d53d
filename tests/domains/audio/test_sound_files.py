"""Sound files: formats, ranges, and files that are damaged or none."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refuses
from small_audio import RATE, save_tone, tone

from vaekit.datasets.dataset import BytesRecord, FileRecord
from vaekit.domains.audio.sound_files import open_sound
from vaekit.domains.audio.writing import FLOAT, write_wav
from vaekit.errors import BadItem, NotFound

soundfile = pytest.importorskip("soundfile", reason="audio needs soundfile")
RANGES = [(0, 10), (5, 4000), (3900, 9000), (8000, 8001), (100, 300), (8999, 9000), (0, 9000)]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_ranges_in_any_order_are_those_of_the_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(9000, 44_100, 2).T.numpy(), 44_100)
    with open_sound(path) as sound:
        assert (sound.facts.format.sample_rate, sound.facts.format.channels) == (44_100, 2)
        assert sound.facts.samples == 9000 and not sound.notes
        whole = sound.read(0, 9000)
        for start, stop in RANGES:
            assert torch.equal(sound.read(start, stop), whole[:, start:stop])
    assert (whole - tone(9000, 44_100, 2)).abs().mean() < 0.05


def test_records_of_containers(tmp_path: Path) -> None:
    content = save_tone(tmp_path / "a.wav", 500).read_bytes()
    for record in (BytesRecord("a", len(content), lambda n: content[:n]), FileRecord(tmp_path / "a.wav")):
        with open_sound(record) as sound:
            assert torch.allclose(sound.read(0, 500), tone(500), atol=1e-4)


@pytest.mark.parametrize("suffix", ["mp3", "flac"])
def test_what_is_left_of_a_truncated_file_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = torch.randn(60_000, generator=torch.Generator().manual_seed(0)).numpy() / 10
    soundfile.write(path, noise, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_sound(path) as sound:
        assert 10_000 < sound.facts.samples < 50_000
        assert sound.notes and "60,000" in sound.notes[0]
        assert sound.read(0, sound.facts.samples).isfinite().all()


def damaged(path: Path, place: int, kind: str, value: int) -> Path:
    content = bytearray(save_tone(path, 1000).read_bytes())
    content[place : place + struct.calcsize(kind)] = struct.pack(kind, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("place", "kind", "value"), [(24, "<I", 0), (24, "<I", 2**32 - 1), (22, "<H", 0), (22, "<H", 9999)]
)
def test_headers_that_make_no_sense(tmp_path: Path, place: int, kind: str, value: int) -> None:
    with refuses(BadItem, "a.wav"):
        open_sound(damaged(tmp_path / "a.wav", place, kind, value))


def test_a_recording_that_was_not_finished(tmp_path: Path) -> None:
    with refuses(BadItem, "sox --ignore-length"):
        open_sound(damaged(tmp_path / "a.wav", 40, "<I", 0))


def test_reasons_are_about_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", tone(9000)[0].numpy(), RATE)
    (tmp_path / "a.mp3").write_bytes((tmp_path / "a.mp3").read_bytes()[:40])
    (tmp_path / "b.wav").write_bytes(b"")
    for name, fact in (("a.mp3", "header"), ("b.wav", "0 bytes")):
        with refuses(BadItem, name, fact):
            open_sound(tmp_path / name)
    with refuses(BadItem, "sample rate"):
        open_sound(damaged(tmp_path / "c.wav", 24, "<I", 0))


def test_a_header_that_announces_too_much(tmp_path: Path) -> None:
    with open_sound(damaged(tmp_path / "a.wav", 40, "<I", 2**32 - 1)) as sound:
        assert sound.facts.samples == 1000 and sound.notes


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 50, b"\xff\xfb" * 300, b"OggS" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with refuses(BadItem, "a.wav"):
        open_sound(tmp_path / "a.wav")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), RATE)
    with refuses(BadItem, "a.wav"):
        open_sound(tmp_path / "a.wav")


def test_non_finite_samples_are_named_by_their_time(tmp_path: Path) -> None:
    values = torch.zeros(8000)
    values[4000], values[7000] = torch.nan, torch.inf
    soundfile.write(tmp_path / "a.wav", values.numpy(), RATE, subtype=FLOAT)
    with open_sound(tmp_path / "a.wav") as sound:
        assert torch.equal(sound.read(0, 4000), torch.zeros(1, 4000))
        with refuses(BadItem, "a.wav", "2", "0.500"):
            sound.read(0, 8000)


def test_pipes_folders_and_missing_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", tmp_path):
        with refuses(BadItem, path.name):
            open_sound(path)
    with refuses(NotFound, "none.wav"):
        open_sound(tmp_path / "none.wav")


def test_one_sample_and_many_channels(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", torch.full((8, 1), 0.5), 96_000)
    with open_sound(tmp_path / "a.wav") as sound:
        assert sound.facts.format.channels == 8 and torch.equal(sound.read(0, 1), torch.full((8, 1), 0.5))

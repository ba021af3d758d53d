"""WAV files."""

from pathlib import Path

import pytest
import torch
from refusals import refuses
from small_audio import tone

from vaekit.audio_format import AudioFormat
from vaekit.domains.audio import writing
from vaekit.domains.audio.sound_files import open_sound
from vaekit.domains.audio.writing import FLOAT, PCM, wav_file, write_wav
from vaekit.errors import BadItem


@pytest.mark.parametrize(("encoding", "tolerance"), [(PCM, 2**-15), (FLOAT, 0)])
def test_values_come_back(tmp_path: Path, encoding: str, tolerance: float) -> None:
    x = tone(999, 44_100, 2)
    with wav_file(tmp_path / "a.wav", AudioFormat(44_100, 2), 999, encoding) as write:
        write(x[:, :500])
        write(x[:, 500:])
    with open_sound(tmp_path / "a.wav") as sound:
        assert sound.facts.subtype == encoding and sound.facts.samples == 999
        assert (sound.read(0, 999) - x).abs().max() <= tolerance


def test_sixteen_bits_come_back_exactly(tmp_path: Path) -> None:
    levels = torch.arange(-(2**15), 2**15)[None] / 2**15
    write_wav(tmp_path / "a.wav", levels, 8000)
    with open_sound(tmp_path / "a.wav") as sound:
        assert torch.equal(sound.read(0, 2**16), levels)


def test_clipped_samples_are_counted(tmp_path: Path) -> None:
    notes = write_wav(tmp_path / "a.wav", torch.tensor([[0.0, 1.5, -2.0, 0.3]]), 8000)
    assert "2" in notes[0] and not write_wav(tmp_path / "b.wav", torch.zeros(1, 3), 8000)


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    with refuses(BadItem):
        write_wav(tmp_path / "a.wav", torch.tensor([[torch.nan]]), 8000)
    assert not list(tmp_path.iterdir())


def test_large_files_have_a_header_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LARGEST", 100)
    write_wav(tmp_path / "a.wav", tone(1000), 8000)
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RF64"
    with open_sound(tmp_path / "a.wav") as sound:
        assert sound.facts.samples == 1000

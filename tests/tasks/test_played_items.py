"""Evaluations whose page plays items with their reconstructions."""

import base64
import io
import re
from pathlib import Path

import pytest
import torch
from small_audio import RATE, save_audio_vae, save_tone, tone
from small_music import TUNES, music_schema, save_music_vae

from vaekit.domains.audio import listening as audio_listening
from vaekit.domains.audio.listening import HIGHEST_RATE, LOWEST_RATE
from vaekit.domains.listening import Listening
from vaekit.report import players as report_players
from vaekit.report.players import PlayedItem, players
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.tasks.options import EngineOptions, ModelOptions

soundfile = pytest.importorskip("soundfile", reason="audio needs soundfile")


def sounds_of(page: str) -> list[bytes]:
    """The sound files in a page."""
    return [base64.b64decode(each) for each in re.findall(r'src="data:audio/flac;base64,([^"]+)"', page)]


def test_the_first_and_the_worst_are_played(tmp_path: Path) -> None:
    for number in range(9):
        save_tone(tmp_path / "in" / f"<{number}>.wav", 400 + number, frequency=200.0 + 200 * number)
    (tmp_path / "in" / "a-bad.wav").write_bytes(b"none")
    save_audio_vae(tmp_path / "vae.safetensors")
    vae = ModelOptions(str(tmp_path / "vae.safetensors")).load()
    plan = EngineOptions(device="cpu").plan()
    for _ in range(2):  # the second one takes all results from the folder
        result = evaluate_data(vae, plan, tmp_path / "in", EvaluateOptions(), tmp_path / "out")
        assert result.page == tmp_path / "out" / "evaluation.html"
        page = result.page.read_text("utf-8")
        shown = re.findall(r"<h3><bdi>(.*?)</bdi>", page)
        assert 4 <= len(shown) <= 6 and shown[:2] == ["&lt;0&gt;.wav", "&lt;1&gt;.wav"]
        assert page.count("worst log-mel L1") == 1 and "<0>" not in page
        assert len(sounds_of(page)) == 2 * len(shown)
        played, rate = soundfile.read(io.BytesIO(sounds_of(page)[0]), dtype="float32")
        assert rate == RATE and abs(torch.from_numpy(played) - tone(400, frequency=200.0)[0]).max() <= 2**-14
        assert "media-src data:" in page and page.count("<script>") == 1
    assert evaluate_data(vae, plan, tmp_path / "in").page is None


@pytest.mark.parametrize(("rate", "channels", "played"), [(1_000, 1, LOWEST_RATE), (96_000, 6, HIGHEST_RATE)])
def test_sounds_are_what_browsers_play(rate: int, channels: int, played: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_listening, "LONGEST", 1)
    heard = audio_listening.listening(2 * tone(2 * rate, rate, channels, 40.0), rate)
    found = soundfile.info(io.BytesIO(heard.content))
    assert (found.samplerate, found.channels, found.frames) == (played, min(channels, 2), played)
    assert heard.seconds == 1


def test_the_size_of_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_players, "MOST_BYTES", 100)
    sound = Listening(bytes(60), "audio/flac", 1.0, torch.zeros(3, 8, 8))
    item = PlayedItem("a", "", {"Original": sound})
    assert [len(players([item] * count)) for count in (1, 2)] == [1, 1]
    monkeypatch.setattr(report_players, "MOST_BYTES", 1)
    assert len(players([item])) == 1


def test_music_is_played_too(tmp_path: Path) -> None:
    save_music_vae(tmp_path / "vae.safetensors", music_schema())
    (tmp_path / "tunes.abc").write_text(TUNES)
    vae = ModelOptions(str(tmp_path / "vae.safetensors")).load()
    options = EvaluateOptions(samples=0)
    result = evaluate_data(vae, EngineOptions(device="cpu").plan(), tmp_path / "tunes.abc", options, tmp_path / "out")
    assert result.page is not None
    page = result.page.read_text("utf-8")
    assert page.count("data:audio/wav") >= 2 and "Reconstruction" in page

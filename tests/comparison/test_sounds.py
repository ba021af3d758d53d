"""VAEs of sounds on the same files: one format for all, files that are skipped, and the page."""

import json
from pathlib import Path

import pytest
import torch
from refusals import refuses
from small_audio import audio_vae, save_audio_vae, save_tone

from vaekit.audio_format import AudioFormat
from vaekit.comparison.sounds import SOUNDS, SoundCandidate, SoundSource, compare_sounds, compared_sound
from vaekit.domains.audio.resampling import Resampler
from vaekit.domains.audio.sound_files import open_sound
from vaekit.errors import BadItem, NotFound, NothingEvaluated
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.compare import CompareOptions, compare
from vaekit.tasks.options import EngineOptions, ModelOptions, SelectionOptions

ENGINE = EngineOptions(device="cpu")


def candidate(name: str, rate: int = 8_000, channels: int = 1) -> SoundCandidate:
    return SoundCandidate(name, Engine(audio_vae(channels), Plan(device="cpu")), AudioFormat(rate, channels))


def test_all_are_measured_at_the_rate_of_the_file(tmp_path: Path) -> None:
    path = save_tone(tmp_path / "a.wav", 4_410, 44_100, 2)
    same, low, stereo = candidate("same", 44_100), candidate("low", 4_000), candidate("stereo", 44_100, 2)
    found = compared_sound(SoundSource("a", path), [same, low])
    assert found.sample_rate == 44_100 and found.original.shape == (1, 4_410)
    assert {name: each.shape for name, each in found.results.items()} == dict.fromkeys(("same", "low"), (1, 4_410))
    with open_sound(path) as sound:
        whole = sound.read(0, 4_410)
    assert torch.allclose(found.original, whole.mean(dim=0, keepdim=True), atol=1e-6)
    expected = same.engine.decode(same.engine.encode(found.original[None]).mode, (4_410,))[0]
    assert torch.allclose(found.results["same"], expected, atol=1e-6)
    brought = Resampler(44_100, 4_000)(found.original)
    decoded = low.engine.decode(low.engine.encode(brought[None]).mode, (brought.shape[1],))[0]
    assert torch.allclose(found.results["low"], Resampler(4_000, 44_100)(decoded)[:, :4_410], atol=1e-5)
    assert compared_sound(SoundSource("a", path), [stereo]).original.shape == (2, 4_410)


def test_the_better_one_is_first_and_bad_files_are_skipped(tmp_path: Path) -> None:
    sources = [SoundSource(f"{n}", save_tone(tmp_path / f"{n}.wav", 600, frequency=300.0 + 100 * n)) for n in range(3)]
    (tmp_path / "bad.wav").write_bytes(b"none")
    bad = SoundSource("bad", tmp_path / "bad.wav")
    quiet, loud = candidate("quiet"), candidate("loud")
    last = [module for module in loud.engine.vae.modules() if isinstance(module, torch.nn.ConvTranspose1d)][-1]
    with torch.no_grad():
        last.weight.mul_(1e4)
    report, chosen = compare_sounds([bad, *sources], [loud, quiet], {}, 2, lambda *_: None)
    assert [each.name for each in report.candidates] == ["quiet", "loud"]
    assert [each.name for each in report.skipped] == ["bad"] and len(chosen) == 2
    assert {each.name for each in report.measures} == {each.name for each in SOUNDS.measures}
    assert "sounds" in report.candidates[0].reason and "image" not in report.candidates[0].reason
    with refuses(NothingEvaluated, "1 sound", "bad.wav"):
        compare_sounds([bad], [quiet], {}, 2, lambda *_: None)


def test_the_page_plays_all(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_audio_vae(tmp_path / f"{name}.safetensors")
    for number in range(2):
        save_tone(tmp_path / "in" / f"{number}.wav", 500)
    vaes = [str(tmp_path / f"{name}.safetensors") for name in ("a", "b")]
    options = CompareOptions(vaes=vaes, images=[tmp_path / "in"])
    compare(options, tmp_path / "out.html", ModelOptions(), ENGINE, SelectionOptions())
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.count("data:audio/flac") == 2 * 3 and "media-src data:" in page and "on 2 sounds" in page
    assert "No defects found" not in page
    numbers = json.loads((tmp_path / "out.json").read_text())
    assert numbers["items"] == "sounds" and numbers["protocol"]["sounds"] == 2


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"images": []}, NotFound, "sounds"),
        ({"latent": True}, BadItem, "--latent"),
        ({"vaes": ["builtin"]}, BadItem, "builtin"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: dict[str, object], error: type[Exception], said: str) -> None:
    save_audio_vae(tmp_path / "a.safetensors")
    given = {"vaes": [], "images": [save_tone(tmp_path / "a.wav", 500)], **change}
    given["vaes"] = [str(tmp_path / "a.safetensors"), *given["vaes"]]  # type: ignore[misc]
    with refuses(error, said):
        options = CompareOptions(**given)  # type: ignore[arg-type]
        compare(options, tmp_path / "out.html", ModelOptions(), ENGINE, SelectionOptions())
    assert not (tmp_path / "out.html").exists()

"""Sounds as a domain: training data, files of all kinds through every verb, and sounds that cannot be used."""

import io
import json
import os
import tarfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from small_audio import HOP, LATENTS, RATE, save_audio_vae, save_tone, tone

from vaekit.cli import app
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.audio import training_data
from vaekit.domains.audio.domain import AUDIO
from vaekit.domains.audio.sound_files import open_sound
from vaekit.domains.audio.training_data import Sounds, SoundsOnDisk
from vaekit.domains.audio.writing import FLOAT, write_wav
from vaekit.domains.find import domain_named
from vaekit.domains.recipes import recipe
from vaekit.errors import BadRecipe, CannotWrite, NoTrainingData

soundfile = pytest.importorskip("soundfile", reason="audio needs soundfile")
SMALL = (
    *("--samples", 64, "--set", "vae.net.widths=[8,8,8]", "--set", "vae.net.latent_channels=4"),
    *("--set", "schedule.batch_size=8", "--set", "schedule.warmup_samples=8", "--set", "data.samples=1024"),
)


def call(*arguments: object, status: int | None = None) -> Any:
    """Run a command in this process; it has to end with this exit status."""
    output = io.StringIO()
    with redirect_stdout(output):
        ended = app([*map(str, arguments), "--json"], standalone_mode=False)
    assert ended == status
    return json.loads(output.getvalue())


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "vae.safetensors"
    save_audio_vae(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(12):
        save_tone(folder / "ab"[number % 2] / f"{number}.wav", 700 + 100 * number, frequency=200.0 + 50 * number)
    save_tone(folder / "a" / "high.wav", 5000, 44_100, 2)
    (folder / "b" / "bad.wav").write_bytes(b"none")
    return folder


def test_a_vae_is_trained_and_used(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    call("train", "audio-small", "--data", data, "--out", run, *SMALL)
    assert (run / "skipped.txt").read_text().startswith("b/bad.wav\t")
    assert {path.name for path in (run / "examples").iterdir()} >= {"samples.wav"}
    found = call("evaluate", "--data", data, "--vae", run, "--limit", 3)
    assert {"log_mel_l1", "mr_stft", "si_sdr", "loudness_change", "clipped", "kl"} <= set(found["results"])
    call("sample", "--vae", run, "-n", 2, "--out", tmp_path / "samples")
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {
        *("samples-001.wav", "samples-002.wav", "samples.json", "samples.png"),
    }
    with open_sound(tmp_path / "samples" / "samples-001.wav") as sound:
        assert sound.facts.samples == 1024 and sound.facts.format.sample_rate == RATE


@pytest.mark.parametrize(
    ("rate", "channels", "samples"),
    [(RATE, 1, 1000), (44_100, 2, 4_567), (96_000, 8, 10_001), (RATE, 1, 1), (7_999, 1, 99)],
)
def test_rates_and_lengths_are_kept(vae: Path, tmp_path: Path, rate: int, channels: int, samples: int) -> None:
    path = save_tone(tmp_path / "in" / "a.wav", samples, rate, channels)
    (result,) = call("reconstruct", path, "--vae", vae, "--out", tmp_path, "--side-by-side")["sounds"]
    with open_sound(tmp_path / "a.wav") as sound:
        assert (sound.facts.format.sample_rate, sound.facts.samples) == (rate, samples)
        assert sound.facts.format.channels == 1
    assert (tmp_path / "a.side-by-side.png").is_file()
    assert result["samples"] == samples and result["sample_rate"] == rate
    notes = " ".join(result["notes"])
    assert (f"{rate:,}" in notes) == (rate != RATE) and (f"{channels} channels" in notes) == (channels > 1)


def test_latents_and_back(vae: Path, tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.flac"
    path.parent.mkdir()
    soundfile.write(path, tone(3_333)[0].numpy(), RATE)
    (encoded,) = call("encode", path, "--vae", vae, "--out", tmp_path)["latents"]
    assert encoded["latent_shape"] == [LATENTS, -(-3_333 // HOP)]
    call("decode", tmp_path / "a.latent.safetensors", "--vae", vae, "--out", tmp_path / "out")
    call("reconstruct", path, "--vae", vae, "--out", tmp_path / "rec")
    assert (tmp_path / "out" / "a.wav").read_bytes() == (tmp_path / "rec" / "a.wav").read_bytes()


def test_paths_between_sounds(vae: Path, tmp_path: Path) -> None:
    ends = [save_tone(tmp_path / f"{name}.wav", length) for name, length in (("a", 900), ("b", 1_300))]
    found = call("interpolate", *ends, "--vae", vae, "--steps", 1, "--out", tmp_path / "out")
    assert any("a.wav" in note for note in found["notes"])
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".wav", ".png", ".json"}
    for number in (1, 2, 3):
        with open_sound(tmp_path / "out" / f"interpolation-00{number}.wav") as sound:
            assert sound.facts.samples == 1_300
    with refuses(CannotWrite, "--animation"):
        call("interpolate", *ends, "--vae", vae, "--animation", "gif", "--out", tmp_path / "gif")


def test_sounds_that_cannot_be_used(vae: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save_tone(folder / "good.wav", 500)
    write_wav(folder / "dc.wav", torch.full((1, 800), 0.9), RATE)
    soundfile.write(folder / "nan.wav", torch.full((100,), torch.nan).numpy(), RATE, subtype=FLOAT)
    (folder / "empty.wav").write_bytes(b"")
    os.mkfifo(folder / "pipe.wav")
    found = call("reconstruct", folder, "--vae", vae, "--out", tmp_path / "out", status=1)
    assert {Path(each["path"]).name for each in found["failures"]} == {"nan.wav", "empty.wav"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good.wav", "dc.wav"}


@pytest.mark.nightly
def test_long_sounds_stay_in_memory(vae: Path, tmp_path: Path) -> None:
    """Two minutes in less memory than their samples take whole, with the same result."""
    path = save_tone(tmp_path / "in" / "a.wav", 120 * RATE)
    call("reconstruct", path, "--vae", vae, "--out", tmp_path / "whole")
    call("reconstruct", path, "--vae", vae, "--memory", "48MB", "--out", tmp_path / "parts")
    whole, parts = (
        torch.from_numpy(soundfile.read(tmp_path / name / "a.wav", dtype="float32")[0]) for name in ("whole", "parts")
    )
    assert len(parts) == 120 * RATE and (whole - parts).abs().max() <= 2**-15


def test_parts_of_sounds_are_random_and_have_one_length(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"sample_rate": RATE, "samples": 1_000, "held_out": 2}
    splits = AUDIO.open(data, SkipLog())
    schema = AUDIO.schema(table, splits)
    batches = []
    for limit, kind in ((training_data.IN_MEMORY, Sounds), (0, SoundsOnDisk)):
        monkeypatch.setattr(training_data, "IN_MEMORY", limit)
        found = AUDIO.training_data(table, splits, schema, 0, SkipLog())
        assert isinstance(found.source, kind) and found.held_out is not None and found.held_out.shape == (2, 1, 1_000)
        assert len(found.source) > 11  # long sounds are several items
        items = torch.arange(len(found.source))
        batch = found.source.batch(items, 1)
        assert batch.shape == (len(items), 1, 1_000) and batch.abs().amax(dim=2).min() > 0.3
        assert torch.equal(batch, found.source.batch(items, 1)) and not torch.equal(batch, found.source.batch(items, 2))
        batches.append(batch)
    assert batches[0].shape == batches[1].shape


def test_data_without_sounds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"none")
    splits = AUDIO.open(tmp_path, SkipLog())
    with refuses(NoTrainingData):
        AUDIO.training_data({}, splits, AUDIO.schema({}, splits), 0, SkipLog())


@pytest.mark.parametrize("table", [{"sample_rate": 0}, {"channels": 0}, {"samples": 0}, {"hertz": 1}, {"held_out": -1}])
def test_settings_that_make_no_sense(table: dict[str, object]) -> None:
    with pytest.raises(BadRecipe):
        AUDIO.check_table(table)


def test_nets_of_other_channels_are_refused(data: Path, tmp_path: Path) -> None:
    with refuses(BadRecipe, "audio_channels"):
        call("train", "audio-small", "--data", data, "--out", tmp_path, *SMALL, "--set", "vae.net.audio_channels=2")


def test_the_domain_is_found() -> None:
    assert domain_named("audio") is AUDIO and recipe("audio-small").domain == "audio"
    assert AUDIO.preview([tone(500)]) is not None and AUDIO.preview([]) is None


def test_sounds_in_containers(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    contents = [save_tone(tmp_path / f"{n}.wav", 900 + n, frequency=300.0 + n).read_bytes() for n in range(3)]
    rows = [{"bytes": content, "path": f"{number}.wav"} for number, content in enumerate(contents)]
    parquet.write_table(pyarrow.table({"audio": rows}), tmp_path / "sounds.parquet")
    with tarfile.open(tmp_path / "sounds.tar", "w") as tar:
        for number in range(3):
            tar.add(tmp_path / f"{number}.wav", f"{number}.wav")
    schema = AUDIO.schema({"sample_rate": RATE, "samples": 800}, AUDIO.open(tmp_path / "0.wav", SkipLog()))
    for name in ("sounds.parquet", "sounds.tar"):
        dataset = AUDIO.open(tmp_path / name, SkipLog()).train
        x = schema.to_tensor([dataset.read(number) for number in range(3)])
        assert x.shape == (3, 1, 800) and x.abs().amax() > 0.4


def test_the_latent_space_is_walked_searched_and_scored(vae: Path, data: Path, tmp_path: Path) -> None:
    tone_a, tone_b = data / "a" / "0.wav", data / "b" / "1.wav"
    call("traverse", tone_a, "--vae", vae, "--axis", 0, "--out", tmp_path / "walk")
    assert (tmp_path / "walk" / "traversal-axis-0.wav").stat().st_size > 2 * 700
    for number in range(4):
        save_tone(tmp_path / "ab"[number % 2] / f"{number}.wav", 800, frequency=250.0 + 50 * number)
    direction = tmp_path / "direction.safetensors"
    call("direction", tmp_path / "a", tmp_path / "b", "--vae", vae, "--out", direction)
    call("edit", tone_a, "--direction", direction, "--strength", 1, "--vae", vae, "--out", tmp_path / "edited")
    assert list((tmp_path / "edited").glob("*.wav"))
    call("index", data, "--vae", vae, "--out", tmp_path / "index")
    found = call("search", tone_b, "--index", tmp_path / "index", "--out", tmp_path / "found")
    assert found["neighbors"][0]["item"] == "b/1.wav"
    call("score", data, "--vae", vae, "--out", tmp_path / "scores.csv")
    assert len((tmp_path / "scores.csv").read_text().splitlines()) > 12
    assert call("explain", tone_a, "--vae", vae, "--out", tmp_path / "why")


def test_latents_are_cached_and_generated(vae: Path, data: Path, tmp_path: Path) -> None:
    call("cache", data / "a", tmp_path / "cache", "--vae", vae)
    small = ("--samples", 32, "--set", "schedule.batch_size=8", "--set", "schedule.warmup_samples=8")
    changes = ("--set", "data.domain=audio", "--set", "diffusion.net.width=16", "--set", "diffusion.net.depth=1")
    call("train", "diffusion-molecules", "--data", tmp_path / "cache", "--out", tmp_path / "run", *small, *changes)
    call("generate", "--model", tmp_path / "run", "-n", 2, "--steps", 2, "--out", tmp_path / "made")
    assert len(list((tmp_path / "made").glob("generated*.wav"))) == 2


def test_samples_far_beyond_full_scale_are_drawn(vae: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", torch.full((900,), 1e30).numpy(), RATE, subtype=FLOAT)
    call("reconstruct", tmp_path / "in", "--vae", vae, "--out", tmp_path / "out", "--side-by-side")
    assert (tmp_path / "out" / "a.side-by-side.png").is_file()

"""Audio VAEs of other programs: their files have no schema, and their family knows the format of waveforms."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES
from refusals import refuses
from small_audio import save_tone

from vaekit.checkpoints.save import save
from vaekit.domains.audio.domain import AUDIO
from vaekit.domains.audio.sound_files import open_sound
from vaekit.domains.find import domain_of
from vaekit.errors import BadCheckpoint
from vaekit.families import assemble, family_of
from vaekit.tasks.decode import decode
from vaekit.tasks.encode import encode
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reconstruct import reconstruct

IN_CHUNKS = replace(
    EXAMPLES["encodec"], audio_channels=2, weight_norm=False, causal=False, sample_rate=8_000, chunk=600, overlap=6
)
"""An EnCodec of chunks of 600 samples."""
AUDIO_FAMILIES = [name for name, config in EXAMPLES.items() if family_of(name).audio(config) is not None]


@pytest.mark.parametrize("name", AUDIO_FAMILIES)
def test_the_family_states_the_format(name: str) -> None:
    config = EXAMPLES[name]
    torch.manual_seed(0)
    domain, schema = domain_of(assemble(family_of(name), config))
    assert domain is AUDIO
    assert schema.example().shape[:2] == (1, config.geometry.channels)
    assert family_of(name).audio(config) == schema.format
    with refuses(BadCheckpoint):
        AUDIO.schema_from({**schema.as_plain(), "channels": 5}, config)


@pytest.mark.parametrize("name", ["oobleck"])
def test_files_of_other_programs_run(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(assemble(family_of(name), EXAMPLES[name]).eval(), tmp_path / "vae.safetensors")
    path = save_tone(tmp_path / "in" / "a.wav", 4_001, 22_050)
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")), EngineOptions(device="cpu"))
    batch = reconstruct(model, [path], tmp_path / "out")
    assert batch.complete and batch.results[0].notes
    with open_sound(tmp_path / "out" / "a.wav") as sound:
        assert (sound.facts.samples, sound.facts.format.sample_rate) == (4_001, 22_050)


def test_chunks_of_a_file_are_those_of_its_waveform(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(assemble(family_of("encodec"), IN_CHUNKS).eval(), tmp_path / "vae.safetensors")
    path = save_tone(tmp_path / "in" / "a.wav", 2_001, 8_000, 2)
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")), EngineOptions(device="cpu"))
    assert reconstruct(model, [path], tmp_path / "out").complete
    assert encode(model, [path], tmp_path / "latents").complete
    assert decode(model, [tmp_path / "latents"], tmp_path / "decoded").complete
    with open_sound(path) as sound:
        expected = model.engine.reconstruct(sound.read(0, 2_001)[None])[0].clamp(-1, 1)
    for folder in ("out", "decoded"):
        with open_sound(tmp_path / folder / "a.wav") as sound:
            torch.testing.assert_close(sound.read(0, 2_001), expected, rtol=0, atol=1e-4)  # 16 bits

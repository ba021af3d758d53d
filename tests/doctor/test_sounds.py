"""VAEs of sounds: the checks that apply to them, whole and in halves, and sounds of the user."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES
from small_audio import audio_vae, save_audio_vae, save_tone
from torch import nn

from vaekit.doctor.examine import CHECKS, OF_IMAGES, examine
from vaekit.doctor.findings import Finding
from vaekit.doctor.sounds import built_in_sounds, extreme_sounds, sound_length
from vaekit.errors import BadItem
from vaekit.families import assemble, family_of
from vaekit.tasks.doctor import doctor
from vaekit.tasks.options import ModelOptions
from vaekit.vae import VAE


def statuses(found: Iterable[Finding]) -> dict[str, str]:
    return {each.name: each.status for each in found}


@pytest.mark.parametrize("name", ["oobleck", "dac"])
def test_vaes_of_other_programs_are_examined(name: str) -> None:
    torch.manual_seed(0)
    vae = assemble(family_of(name), EXAMPLES[name]).eval()
    found = statuses(examine(vae))
    assert tuple(found) == CHECKS
    assert {check for check, status in found.items() if status == "skipped"} == OF_IMAGES
    assert found["weights"] == found["activations"] == "ok"


def without(half: str) -> VAE:
    vae = audio_vae()
    setattr(vae, half, None)
    return vae


def test_halves() -> None:
    assert statuses(examine(without("encoder")))["channels"] == "ok"
    assert statuses(examine(without("decoder")))["rounding"] == "ok"


def test_dead_channels_and_infinite_weights() -> None:
    vae = audio_vae()
    assert vae.encoder is not None
    last = [module for module in vae.encoder.modules() if isinstance(module, nn.Conv1d)][-1]
    assert last.bias is not None
    with torch.no_grad():
        last.weight[0], last.bias[0] = torch.zeros(()), torch.zeros(())
    (dead,) = (each for each in examine(vae) if each.name == "channels")
    assert dead.status == "wrong" and dead.values["dead"] == [0]
    with torch.no_grad():
        last.weight[0] = torch.inf
    assert statuses(examine(vae))["weights"] == "wrong"


def test_sounds_of_the_user(tmp_path: Path) -> None:
    save_audio_vae(tmp_path / "vae.safetensors")
    save_tone(tmp_path / "in" / "a.wav", 5_000)
    (tmp_path / "in" / "b.wav").write_bytes(b"none")
    found = doctor(ModelOptions(str(tmp_path / "vae.safetensors")), [tmp_path / "in"])
    assert found.images == 1 and [Path(each.path).name for each in found.failures] == ["b.wav"]
    assert any("1 of your sounds" in each.message for each in found.findings)


@pytest.mark.parametrize("channels", [1, 2])
def test_built_in_sounds_are_in_range(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for x in (built_in_sounds(3, channels, 4_096, generator), extreme_sounds(channels, 4_096, generator)):
        assert x.shape[1:] == (channels, 4_096) and x.abs().max() <= 1 and x.std() > 0.05
    assert sound_length(audio_vae(channels).geometry) % audio_vae(channels).geometry.factors[0] == 0
    with pytest.raises(BadItem):
        sound_length(EXAMPLES["kl"].geometry)

"""Vocoders beside VAEs: folders that belong to one, and those that do not."""

import json
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES
from safetensors.torch import load_file, save_file

from vaekit import save
from vaekit.families import assemble, family_of
from vaekit.identification.vocoders import ENTRY, FOLDERS, gather_with_vocoder

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], str]:
    """The tensors of a VAE, those of its vocoder, and the VAE's config.json."""
    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    save(assemble(family_of("ltx-audio"), EXAMPLES["ltx-audio"]), folder / "vae", "diffusers")
    tensors = load_file(folder / "vae" / WEIGHTS)
    start = f"{ENTRY}."
    vocoder = {key.removeprefix(start): each for key, each in tensors.items() if key.startswith(start)}
    own = {key: each for key, each in tensors.items() if not key.startswith(start)}
    return own, vocoder, (folder / "vae" / "config.json").read_text()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_vocoder_beside_its_vae_is_read_with_it(
    name: str, parts: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], str], tmp_path: Path
) -> None:
    own, vocoder, config = parts
    for folder, tensors in (("audio_vae", own), (name, vocoder)):
        (tmp_path / folder).mkdir()
        save_file(tensors, tmp_path / folder / WEIGHTS)
        (tmp_path / folder / "config.json").write_text(config if folder == "audio_vae" else '{"slope": 0.1}')
    (file,), settings = gather_with_vocoder(tmp_path / "audio_vae")
    assert file.specs.keys() == own.keys() | {f"{ENTRY}.{key}" for key in vocoder}
    assert settings[ENTRY] == {"slope": 0.1}
    (alone,), settings = gather_with_vocoder(tmp_path / "audio_vae" / WEIGHTS)
    assert alone.specs.keys() == own.keys() and settings == {}


def test_what_is_no_vocoder_of_the_vae_is_left_out(
    parts: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], str], tmp_path: Path
) -> None:
    own, vocoder, config = parts
    (tmp_path / "vae").mkdir()
    save_file(own, tmp_path / "vae" / WEIGHTS)
    (tmp_path / "vae" / "config.json").write_text(config)
    (tmp_path / FOLDERS[0]).mkdir()
    for content in ({}, {"conv_in.weight": torch.zeros(2, 3, 7)}, vocoder | {"more": torch.zeros(1)}):
        if content:
            save_file(content, tmp_path / FOLDERS[0] / WEIGHTS)
        (file,), settings = gather_with_vocoder(tmp_path / "vae")
        known = content.keys() >= vocoder.keys()  # what else is in the file is refused later, by its name
        assert (ENTRY in settings) == (known or ENTRY in json.loads(config))
        assert file.specs.keys() >= own.keys()

"""A config.json names what the tensors do not tell."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from autoencoder_classes import OF_DIFFUSERS, RUNNABLE, autoencoder_classes
from safetensors.torch import save_file

import vaekit
from vaekit.errors import BadItem, NotFound, NotRunnable, UnknownVAE, VaekitError, WrongTensors
from vaekit.identification.class_names import (
    described_by,
    naming_the_class,
    settings_beside,
    unsupported_class,
    with_class,
)
from vaekit.identification.key_signatures import listed_families, unsupported_families
from vaekit.library.inspect import inspect

NOT_RUN = {known.name for known in unsupported_families()}


def settings_of(name: object) -> dict[str, Any]:
    return {"_class_name": name}


def folder_of(tmp_path: Path, name: str, keys: tuple[str, ...] = ("a.weight", "b.weight")) -> Path:
    save_file({key: torch.zeros(2) for key in keys}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(settings_of(name)))
    return tmp_path


@pytest.mark.parametrize("name", sorted(OF_DIFFUSERS.keys() | RUNNABLE.keys()))
def test_every_autoencoder_of_diffusers_is_known_by_its_class(name: str) -> None:
    assert name in autoencoder_classes()
    phrase = described_by(settings_of(name))
    if name in RUNNABLE:
        assert all(repr(family) in phrase for family in RUNNABLE[name]) and unsupported_class(settings_of(name)) is None
        return
    known = unsupported_class(settings_of(name))
    assert known is None if OF_DIFFUSERS[name][0] not in NOT_RUN else known is not None
    assert known is None or (known.name == OF_DIFFUSERS[name][0] and known.name in phrase)


def test_a_class_is_that_of_one_entry() -> None:
    names = [name for known in listed_families() for name in known.classes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("AutoencoderKLAllegro", ("Allegro",)),
        ("RFD4ProteinaAutoencoder", ("RFD4 Proteina",)),
        ("Xcodec2Model", ("Llasa",)),
        ("NeuCodecModel", ("NeuTTS Air",)),
    ],
)
def test_unknown_tensors_are_named_by_config_json(name: str, models: tuple[str, ...], tmp_path: Path) -> None:
    folder = folder_of(tmp_path, name)
    with pytest.raises(NotRunnable) as caught:
        vaekit.load(folder)
    known = unsupported_class(settings_of(name))
    assert known is not None
    assert all(part in caught.value.found for part in (name, known.name)) and known.runs_in in caught.value.remedy
    facts = inspect(folder)
    assert (facts.runnable, facts.family, facts.used_by, facts.media) == (False, known.name, models, known.media)


def test_a_class_that_runs_is_said_with_the_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownVAE) as caught:
        vaekit.load(folder_of(tmp_path, "AutoencoderKLWan"))
    assert "AutoencoderKLWan" in caught.value.found and "'wan'" in caught.value.found
    assert not isinstance(caught.value, NotRunnable)


def test_a_class_that_nobody_knows_is_said_too(tmp_path: Path) -> None:
    with pytest.raises(UnknownVAE) as caught:
        vaekit.load(folder_of(tmp_path, "AutoencoderOfTomorrow\x1b[31m"))
    assert "AutoencoderOfTomorrow" in caught.value.found and "\x1b" not in caught.value.found


def test_a_folder_with_a_config_alone_says_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings_of("AutoencoderRAE")))
    with pytest.raises(NotFound) as caught:
        vaekit.load(tmp_path)
    assert "AutoencoderRAE" in caught.value.found


@pytest.mark.parametrize("name", [None, 3, ["AutoencoderKLWan"], ""])
def test_what_is_no_name_of_a_class_is_ignored(name: object) -> None:
    error = UnknownVAE("found", "expected", "remedy")
    assert with_class(error, settings_of(name)) is error
    assert described_by(settings_of(name)) == "" and unsupported_class(settings_of(name)) is None


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings_of("AutoencoderKL")))
    for error in (WrongTensors("a", "", ""), NotRunnable("b", "", ""), BadItem("c", "", "")):
        with pytest.raises(VaekitError) as caught, naming_the_class(tmp_path):
            raise error
        assert caught.value is error


def test_the_config_of_a_pipeline_is_in_its_folder_vae(tmp_path: Path) -> None:
    assert settings_beside(tmp_path / "nothing") == settings_beside(tmp_path) == settings_beside(Path("x" * 5000)) == {}
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(json.dumps(settings_of("AutoencoderKLMagvit")))
    assert settings_beside(tmp_path) == settings_of("AutoencoderKLMagvit")
    with pytest.raises(NotRunnable) as caught, naming_the_class(tmp_path):
        raise UnknownVAE("found", "expected", "remedy")
    assert "AutoencoderKLMagvit" in caught.value.found


def test_tensors_are_believed_before_config_json(kl_vae: vaekit.VAE, tmp_path: Path) -> None:
    vaekit.save(kl_vae, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(settings_of("AutoencoderKLMagvit")))
    assert inspect(tmp_path).family == "kl"

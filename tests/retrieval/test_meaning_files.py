"""Files of networks of `meaning`: written and read alike; damaged and hostile ones are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.latent_files import origin_of
from vaekit.errors import BadCheckpoint, LatentMismatch, NotFound
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.meaning import Meaning, new_head
from vaekit.retrieval.meaning_files import DIGEST_KEY, VAE_KEY, VERSION, VERSION_KEY, load_meaning, save_meaning
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

RandomVAE = Callable[[Any, LatentNormalization | None], VAE]


def encoder_of(vae: VAE) -> LatentEncoder:
    return LatentEncoder(Engine(vae, Plan(device="cpu", backend="torch")), origin_of(vae))


@pytest.fixture
def meaning(random_vae: RandomVAE, small_kl: KLConfig) -> Meaning:
    encoder = encoder_of(random_vae(small_kl, None))
    return Meaning(encoder, new_head(encoder.latent_shape() or (), 3).eval())


def test_a_network_is_written_and_read(meaning: Meaning, tmp_path: Path) -> None:
    path = tmp_path / "index" / "meaning.safetensors"
    save_meaning(meaning, path)
    again = load_meaning(meaning.encoder, path)
    assert again.identity == meaning.identity
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(again(x), meaning(x))
    path.unlink()
    with pytest.raises(NotFound):
        load_meaning(meaning.encoder, path)


def test_a_network_of_another_vae_is_refused(
    meaning: Meaning, random_vae: RandomVAE, small_kl: KLConfig, tmp_path: Path
) -> None:
    save_meaning(meaning, tmp_path / "m.safetensors")
    other = random_vae(small_kl, None)
    with torch.no_grad():
        next(other.parameters())[0] += 1
    with pytest.raises(LatentMismatch):
        load_meaning(encoder_of(other), tmp_path / "m.safetensors")


@pytest.mark.parametrize("damage", ["nan", "shape", "missing", "more", "value", "version", "dtype"])
def test_hostile_files_are_refused(meaning: Meaning, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.safetensors"
    save_meaning(meaning, path)
    metadata = {VERSION_KEY: VERSION, VAE_KEY: meaning.encoder.origin.fingerprint, DIGEST_KEY: ""}
    tensors = load_file(path)
    match damage:
        case "nan":
            tensors["out.bias"][0] = torch.nan
        case "shape":
            tensors["out.bias"] = torch.zeros(10_000)
        case "missing":
            del tensors["out.bias"]
        case "more":
            tensors["another"] = torch.zeros(3)
        case "value":
            tensors["out.bias"][0] += 1
        case "version":
            metadata[VERSION_KEY] = "2"
        case "dtype":
            tensors["out.bias"] = tensors["out.bias"].half()
    save_file(tensors, path, metadata)
    with pytest.raises(BadCheckpoint):
        load_meaning(meaning.encoder, path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04N.", b"\xff" * 100])
def test_files_of_another_kind_are_refused(meaning: Meaning, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint):
        load_meaning(meaning.encoder, path)


def test_a_pickle_is_refused(meaning: Meaning, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    torch.save(meaning.head.state_dict(), path)
    with pytest.raises(BadCheckpoint):
        load_meaning(meaning.encoder, path)

"""Small real files to damage, and whether one opens."""

import io
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import save as to_safetensors

from vaekit.errors import VaekitError
from vaekit.families import family_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.identification.build import build
from vaekit.identification.identify import identify


def small_tensors() -> dict[str, torch.Tensor]:
    encoder, decoder = family_of("tiny").build(TinyConfig(3, 1, (), (2, 2), (2, 2), (1, 1), (1, 1), False))
    halves = {"encoder": encoder, "decoder": decoder}
    return {f"{half}.{key}": tensor for half, net in halves.items() for key, tensor in net.state_dict().items()}


def small_files(folder: Path) -> dict[str, bytes]:
    writer = gguf.GGUFWriter(folder / "x.gguf", "vae")
    for name, tensor in small_tensors().items():
        half = tensor.half() if tensor.dim() > 1 else tensor
        writer.add_tensor(name, half.detach().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    padding = -half.numel() * half.itemsize % 32  # behind the last tensor, where its loss is none
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(small_tensors(), zipped)
    torch.save(small_tensors(), legacy, _use_new_zipfile_serialization=False)
    return {
        "x.safetensors": to_safetensors(small_tensors(), {"format": "pt", "vaekit.normalization": "null"}),
        "x.pt": zipped.getvalue(),
        "x.ckpt": legacy.getvalue(),
        "x.gguf": (folder / "x.gguf").read_bytes()[:-padding],
    }


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One tiny autoencoder in every format, by the name of its file."""
    return small_files(tmp_path_factory.mktemp("small"))


@pytest.fixture(name="opens")
def opens_fixture() -> Callable[[Path], bool]:
    """Whether a file loads; anything but a VaekitError is a failure of the test."""
    return opens


def opens(path: Path) -> bool:
    try:
        with torch.no_grad():
            build(identify(path))
    except VaekitError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 3000
        return False
    return True

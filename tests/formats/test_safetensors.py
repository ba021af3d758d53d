"""Safetensors read without the library, against the library."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors
from vaekit.formats.safetensors import BITS, DTYPES
from vaekit.library.inspect import inspect
from vaekit.vae import VAE

Read = Callable[[Path], dict[str, Tensor]]


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_number_format_that_torch_has(tmp_path: Path, read_all: Read, dtype: str) -> None:
    numbers = torch.tensor([[0, 1, 1, 0, 1]]).to(DTYPES[dtype])
    save_file({"x": numbers, "empty": numbers[:, :0].contiguous(), "one": numbers[0, 0].clone()}, tmp_path / "x")
    with safe_open(tmp_path / "x", framework="pt") as theirs:
        for name, tensor in read_all(tmp_path / "x").items():
            same = theirs.get_tensor(name)
            assert (tensor.dtype, tensor.shape) == (same.dtype, same.shape)
            assert tensor.flatten().view(torch.uint8).tolist() == same.flatten().view(torch.uint8).tolist()


def test_numbers_that_stand_between_two_places(tmp_path: Path, read_all: Read) -> None:
    """A header of an odd length, which the library reads too."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).encode()
    header += b" " * (1 - len(header) % 2)
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<3f", 1, 2, 3))
    tensor = read_all(tmp_path / "x")["x"]
    assert tensor.tolist() == [1, 2, 3]
    assert tensor.data_ptr() % 4 == 0


def taken_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a file and its numbers."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(path: Path, header: dict[str, Any], data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_a_vae_beside_weights_of_four_bits(tmp_path: Path, kl_vae: VAE) -> None:
    """What the library knows but torch has no use for, and what neither knows, does no harm to who asks for neither."""
    path = tmp_path / "x.safetensors"
    save(kl_vae.half(), path, "ldm")
    header, data = taken_apart(path)
    metadata = header.pop("__metadata__")
    header = {f"vae.{name}": entry for name, entry in header.items()} | {"__metadata__": metadata}
    for kind in (*BITS, "F2_E1M0"):
        end = len(data) + 2 * BITS.get(kind, 2)
        entry = {"dtype": kind, "shape": [4, 4], "data_offsets": [len(data), end]}
        header[f"model.diffusion_model.{kind}.weight"] = entry
        data += bytes(end - len(data))
    put_together(path, header, data)
    read = load(path).state_dict()
    assert all(torch.equal(read[key], tensor) for key, tensor in kl_vae.state_dict().items())
    assert inspect(path).dtypes == ("float16",)
    file = open_tensors(path)
    assert file.specs["model.diffusion_model.F4.weight"].stored_as == "f4"
    with refuses(BadCheckpoint, "1", "F4", "model.diffusion_model.F4"):
        file.read(["model.diffusion_model.F4.weight"])


def test_a_vae_of_eight_bits_that_are_no_numbers_of_torch_is_refused_by_name(tmp_path: Path, kl_vae: VAE) -> None:
    path = tmp_path / "x.safetensors"
    save(kl_vae, path, "ldm")
    header, data = taken_apart(path)
    header["decoder.conv_out.bias"].update(dtype="F8_E3M4", shape=[12])
    put_together(path, header, data)
    with refuses(BadCheckpoint, "F8_E3M4", "decoder.conv_out.bias") as caught:
        load(path)
    assert "F16" in caught.value.remedy


def test_what_we_accept_the_library_accepts(tmp_path: Path) -> None:
    """Headers with one wrong number: ours is as strict."""
    save_file({"a": torch.ones(2, 3), "b": torch.ones(4).half(), "c": torch.ones(())}, tmp_path / "x", {"k": "v"})
    content, chance, accepted = (tmp_path / "x").read_bytes(), random.Random(0), 0
    end = 8 + int.from_bytes(content[:8], "little")
    places = [at for at in range(8, end) if chr(content[at]) in '0123456789{}[]",:' or content[at : at + 1].isalpha()]
    for at in places:
        mutant = bytearray(content)
        mutant[at] = ord(chance.choice('0123456789[]",F '))
        (tmp_path / "y").write_bytes(mutant)
        try:
            ours = open_tensors(tmp_path / "y")
        except BadCheckpoint:
            continue
        accepted += 1
        if all(spec.readable for spec in ours.specs.values()):
            with safe_open(tmp_path / "y", framework="pt") as theirs:
                assert set(theirs.keys()) == set(ours.specs)
    assert accepted > 10

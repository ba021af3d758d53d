"""Files that are not weights are called what they are: models of other programs, zips, zeros."""

import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper
from refusals import refuses
from torch import nn

from vaekit.errors import BadCheckpoint
from vaekit.formats.foreign_files import by_msgpack, by_protobuf, recognized
from vaekit.formats.open import open_tensors


def onnx_model(producer: str, **metadata: str) -> bytes:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value], [value]))
    model.producer_name = producer
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer with up to 127 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


NODE = field(1, b"decoder/conv_in") + field(2, b"Conv2D")
FILES = {
    "ONNX": onnx_model("pytorch"),
    "ONNX, no producer": onnx_model(""),
    "vaekit": onnx_model("x", **{"vaekit.factor": "8"}),
    "Core ML": b"\x08\x07" + field(2, field(1, field(1, b"image"))),
    "SavedModel": b"\x08\x01" + field(2, field(1, field(2, b"ops") + field(4, b"serve"))),
    "TensorFlow graph": field(1, NODE),
    "flax": b"\x81\xa6params\x82\xa7decoder\x80",
    "msgpack": b"\xde\0\x10\xd9\x07encoder\x80",
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("name", FILES)
def test_models_of_other_programs_are_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "vae.bin"
    path.write_bytes(FILES[name])
    with refuses(BadCheckpoint, name.split(",")[0]) as caught:
        open_tensors(path)
    assert ("again" in caught.value.remedy) == (name == "zeros")


@pytest.mark.parametrize(
    "start", [b"", b"\x08", b"\x08\x01", b"\x0a", b"\x08\xff\xff\xff", b"\x0a\x05\x0a\xff", b"\x81"]
)
def test_cut_and_odd_starts_are_not_recognized(start: bytes) -> None:
    assert by_protobuf(start) is None
    assert by_msgpack(start) is None


def test_unknown_bytes_are_quoted(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x07\x01\x02\xf0\xf1")
    assert recognized(tmp_path / "x") is None
    with refuses(BadCheckpoint):
        open_tensors(tmp_path / "x")


def test_a_tensorflow_checkpoint_is_recognized_by_its_index(tmp_path: Path) -> None:
    data = tmp_path / "model.ckpt.data-00000-of-00001"
    data.write_bytes(b"\x9a\x99\x19\x3e" * 20)
    (tmp_path / "model.ckpt.index").write_bytes(b"\0\x05\x01" + bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb")
    for path in (data, tmp_path / "model.ckpt.index"):
        with refuses(BadCheckpoint, "TensorFlow"):
            open_tensors(path)


@pytest.mark.parametrize(
    ("ending", "text", "name"), [(".xml", '<net name="v">', "OpenVINO"), (".param", "7767517\n3 4\n", "ncnn")]
)
def test_the_binary_part_is_recognized_by_the_file_beside_it(ending: str, text: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "decoder.bin").write_bytes(b"\x47\x6b\x30\x01" + bytes(range(200, 256)))
    with refuses(BadCheckpoint):
        open_tensors(tmp_path / "decoder.bin")
    (tmp_path / f"decoder{ending}").write_text(text)
    with refuses(BadCheckpoint, name, f"decoder{ending}"):
        open_tensors(tmp_path / "decoder.bin")
    (tmp_path / f"decoder{ending}").write_text("<a>")
    assert recognized(tmp_path / "decoder.bin") is None


ZIPS = {
    "a model inside": (("vae/model.safetensors", "readme.md"), "vae/model.safetensors"),
    "a checkpoint inside": (("a/b/archive/data.pkl",), "a/b/archive/data.pkl"),
    "Keras": (("config.json", "model.weights.h5"), "Keras"),
    "Core ML": (("x.mlpackage/Manifest.json", "x.mlpackage/Data/com.apple.CoreML/model.mlmodel"), "Core ML"),
    "a document": (("word/document.xml",), "document"),
    "nothing": ((), "empty"),
}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ZIPS)
def test_zips_are_named_by_their_records(name: str, method: int, tmp_path: Path) -> None:
    names, fact = ZIPS[name]
    with zipfile.ZipFile(tmp_path / "x.pt", "w", method) as archive:
        for record in names:
            archive.writestr(record, b"x" * 50)
    with refuses(BadCheckpoint, fact):
        open_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("extra", [{}, {"vaekit.json": "{}"}])
def test_exported_programs_are_named(extra: dict[str, str], tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, tmp_path / "x.pt2", extra_files=extra)
    with refuses(BadCheckpoint, "torch.export", *(["vaekit"] if extra else [])):
        open_tensors(tmp_path / "x.pt2")

"""Recognize files that are not weights vaekit reads, by their content.

Files of other programs, archives, images and error pages are whole: "download it again" would be wrong advice. Names of
files are ignored, except for formats whose binary part has no mark of its own and is described by a file beside it.
"""

import itertools
from collections.abc import Collection
from pathlib import Path

from vaekit.errors import BadCheckpoint, printable, shorten
from vaekit.formats.foreign_text import by_text
from vaekit.formats.magic_numbers import CONVERTED, ORIGINAL, ForeignFile, by_magic_number
from vaekit.formats.paths import WEIGHTS_ENDINGS

MOST_BYTES = 2**16
"""How many bytes of a file are read to recognize it."""
EXPECTED = "Expected safetensors, GGUF, npz, or a torch checkpoint (.pt, .pth, .ckpt, .bin)."
ONNX, CHECKPOINT = "an ONNX model", "a TensorFlow checkpoint"
LEVELDB = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
VAEKIT = b"vaekit."
"""The start of the keys of the metadata in exported files."""


def foreign_error(path: Path, foreign: ForeignFile) -> BadCheckpoint:
    """The error for a file that is something else."""
    return BadCheckpoint(f"{path} is {foreign.name}, not a weights file.", EXPECTED, foreign.advice)


def recognized(path: Path) -> ForeignFile | None:
    """The kind of a file in a format that vaekit does not read; None if it is not recognized."""
    start, end = ends_of(path)
    found = by_magic_number(start) or by_zeros(start) or by_protobuf(start) or by_msgpack(start) or by_text(start)
    if found is not None and found.name == ONNX and VAEKIT in start + end:
        return ForeignFile("an ONNX model that vaekit exported", ORIGINAL)
    return found or by_end(end) or by_companion(path)


def ends_of(path: Path) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file."""
    with open(path, "rb") as file:
        start = file.read(MOST_BYTES)
        file.seek(max(0, path.stat().st_size - MOST_BYTES))
        return start, file.read(MOST_BYTES)


def by_zeros(start: bytes) -> ForeignFile | None:
    """A file of zeros, which a download manager reserved and did not fill, or a disk lost."""
    if any(start):
        return None
    name = f"filled with zeros ({len(start):,} bytes from its start)"
    return ForeignFile(name, "Its download was not finished: download it again.")


def by_end(end: bytes) -> ForeignFile | None:
    """An index of a TensorFlow checkpoint, a table of LevelDB, whose mark is at the end."""
    return ForeignFile(CHECKPOINT, CONVERTED) if end.endswith(LEVELDB) else None


def by_protobuf(start: bytes) -> ForeignFile | None:
    """A model in a protocol buffer, which has no magic number, by its first fields."""
    try:
        if start[0] == 0x08:  # field 1, an integer: the version of the format
            return by_version(start)
        if start[0] == 0x0A and start[varint(start, 1)[1]] == 0x0A:  # field 1, a node, and in it field 1, its name
            name, at = text_field(start, varint(start, 1)[1] + 1)
            operation, _ = text_field(start, at + 1)
            is_node = start[at] == 0x12 and name and operation.isidentifier()
            return ForeignFile("a TensorFlow graph (.pb)", CONVERTED) if is_node else None
    except (IndexError, UnicodeDecodeError):
        pass
    return None


def by_version(start: bytes) -> ForeignFile | None:
    """A protocol buffer that starts with a version: ONNX, TensorFlow's SavedModel, or Core ML."""
    version, at = varint(start, 1)
    if not 1 <= version <= 100:
        return None
    if start[at] in (0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42):  # the later fields of ONNX's ModelProto
        return ForeignFile(ONNX, ORIGINAL)
    if start[at] != 0x12:
        return None
    _, inside = varint(start, at + 1)
    if start[inside] != 0x0A:  # ONNX has the name of the producer here, the others a message
        producer, _ = text_field(start, at + 1)
        return ForeignFile(ONNX, ORIGINAL) if producer.isprintable() else None
    _, first = varint(start, inside + 1)
    if version == 1 and start[first] != 0x0A:
        return ForeignFile("a TensorFlow SavedModel (saved_model.pb)", CONVERTED)
    return ForeignFile("a Core ML model", ORIGINAL)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at an offset, seven bits to a byte, and the offset after it."""
    end = next(i for i in itertools.count(at) if data[i] < 0x80)
    return sum((data[i] & 0x7F) << 7 * (i - at) for i in range(at, end + 1)), end + 1


def text_field(data: bytes, at: int) -> tuple[str, int]:
    """The text whose length is at an offset, and the offset after it."""
    length, start = varint(data, at)
    return data[start : start + min(length, MOST_BYTES)].decode(), start + length


def by_msgpack(start: bytes) -> ForeignFile | None:
    """A dictionary in msgpack, in which flax stores weights: a map whose first key is a text."""
    key_at = {0xDE: 3, 0xDF: 5}.get(start[0], 1 if 0x81 <= start[0] <= 0x8F else 0) if start else 0
    mark = start[key_at] if 0 < key_at < len(start) else 0
    length, at = (mark - 0xA0, key_at + 1) if 0xA0 < mark <= 0xBF else (0, 0)
    if mark == 0xD9 and key_at + 1 < len(start):
        length, at = start[key_at + 1], key_at + 2
    key = start[at : at + length]
    if not length or len(key) < length or not (key.isascii() and key.decode("ascii").isprintable()):
        return None
    return ForeignFile(f'a msgpack file, as flax writes (its first name is "{printable(key.decode())}")', CONVERTED)


def by_companion(path: Path) -> ForeignFile | None:
    """The binary part of a model of OpenVINO, ncnn or TensorFlow, whose other part is beside it."""
    for ending in (".xml", ".param", ".index"):
        beside = path.with_suffix(ending)
        if beside != path and beside.is_file():
            start, end = ends_of(beside)
            other = by_text(start) or by_end(end)
            if other is not None and other.advice in (ORIGINAL, CONVERTED):
                return ForeignFile(f"the binary part of {other.name}, beside {beside.name}", other.advice)
    return None


def in_zip(names: Collection[str]) -> ForeignFile:
    """The kind of a zip with these records, other than a torch checkpoint and an npz file."""
    endings = tuple(ending for ending in WEIGHTS_ENDINGS if ending != ".bin")
    for ending, known in ZIPPED:
        if any(name.endswith(ending) for name in names):
            return known
    weights = [name for name in names if name.lower().endswith(endings)] or [n for n in names if n.endswith(".bin")]
    content = shorten(weights, 3) or shorten(names, 3)
    return ForeignFile(
        f"a zip archive with {content}" if content else "an empty zip archive",
        "Unpack it, and give the weights file inside." if content else "Download it again.",
    )


ZIPPED: tuple[tuple[str, ForeignFile], ...] = (
    ("vaekit.json", ForeignFile("a torch.export program that vaekit exported", ORIGINAL)),
    ("/models/model.json", ForeignFile("a torch.export program (.pt2)", ORIGINAL)),
    ("serialized_exported_program.json", ForeignFile("a torch.export program (.pt2)", ORIGINAL)),
    ("/archive_format", ForeignFile("a torch.export program (.pt2)", ORIGINAL)),
    ("model.weights.h5", ForeignFile("a Keras model (.keras)", CONVERTED)),
    (".mlmodel", ForeignFile("a Core ML model", ORIGINAL)),
    (".mlmodelc/coremldata.bin", ForeignFile("a compiled Core ML model", ORIGINAL)),
    ("word/document.xml", ForeignFile("a document", "Give the weights file of the VAE here.")),
)
"""The end of the name of a record in a zip, and the kind of such zips; the first match counts."""

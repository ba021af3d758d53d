"""Recognize files of other programs by the bytes at their start."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ForeignFile:
    """The kind of a file that vaekit does not read."""

    name: str
    """A phrase with its article: "an ONNX model"."""
    advice: str
    """The remedy, a sentence."""


STATE_DICT = '`torch.save(model.state_dict(), "vae.pt")`'
ORIGINAL = (
    "Give the torch weights that it was made from, as safetensors or .pt; vaekit does not read exported programs."
)
CONVERTED = (
    "Give the torch weights of the same model, which its repository usually has beside it as safetensors or .bin, or "
    f"save them in its own program: {STATE_DICT}."
)
NOT_WEIGHTS = "Give the weights file of the VAE here; images and other data are arguments of their own."
DATA = "This looks like a dataset. Give the weights file of the VAE here."


def archive(name: str, command: str) -> ForeignFile:
    """An archive or a compressed file, with the command that unpacks it."""
    return ForeignFile(name, f"Unpack it (`{command} FILE`), and give the weights file inside.")


def media(name: str) -> ForeignFile:
    """An image, video or sound."""
    return ForeignFile(name, NOT_WEIGHTS)


MAGIC_NUMBERS: tuple[tuple[int, bytes, ForeignFile], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", ForeignFile("an HDF5 file, as Keras and TensorFlow write", CONVERTED)),
    (0, b"\x93NUMPY", ForeignFile("a single numpy array without a name", "Give all weights by name: `numpy.savez`.")),
    (0, b"ptrt", ForeignFile("a TensorRT engine", ORIGINAL)),
    (0, b"ftrt", ForeignFile("a TensorRT engine", ORIGINAL)),
    (0, b"RKNN", ForeignFile("an RKNN model", ORIGINAL)),
    (0, b"lmgg", ForeignFile("a GGML file, older than GGUF", "Convert it to GGUF or safetensors.")),
    (0, b"fmgg", ForeignFile("a GGML file, older than GGUF", "Convert it to GGUF or safetensors.")),
    (0, b"tjgg", ForeignFile("a GGML file, older than GGUF", "Convert it to GGUF or safetensors.")),
    (4, b"TFL3", ForeignFile("a TensorFlow Lite model", ORIGINAL)),
    (4, b"ORTM", ForeignFile("an ONNX Runtime model (.ort)", ORIGINAL)),
    (4, b"ET12", ForeignFile("an ExecuTorch program", ORIGINAL)),
    (0, b"\x1f\x8b", archive("compressed with gzip", "gunzip")),
    (0, b"BZh", archive("compressed with bzip2", "bunzip2")),
    (0, b"\xfd7zXZ\0", archive("compressed with xz", "unxz")),
    (0, b"\x28\xb5\x2f\xfd", archive("compressed with Zstandard", "unzstd")),
    (0, b"\x04\x22\x4d\x18", archive("compressed with LZ4", "unlz4")),
    (0, b"7z\xbc\xaf\x27\x1c", archive("a 7-Zip archive", "7z x")),
    (0, b"Rar!\x1a\x07", archive("a RAR archive", "unrar x")),
    (257, b"ustar", archive("a tar archive", "tar -xf")),
    (0, b"\x89PNG\r\n\x1a\n", media("a PNG image")),
    (0, b"\xff\xd8\xff", media("a JPEG image")),
    (0, b"GIF8", media("a GIF image")),
    (0, b"BM", media("a BMP image")),
    (0, b"II*\0", media("a TIFF image")),
    (0, b"MM\0*", media("a TIFF image")),
    (0, b"\0\0\x01\0", media("an icon (.ico)")),
    (0, b"8BPS", media("a Photoshop image")),
    (0, b"v/1\x01", media("an OpenEXR image")),
    (0, b"\xff\x0a", media("a JPEG XL image")),
    (0, b"\0\0\0\x0cJXL ", media("a JPEG XL image")),
    (0, b"#?RADIANCE", media("an HDR image")),
    (8, b"WEBP", media("a WebP image")),
    (8, b"WAVE", media("a WAV sound")),
    (8, b"AVI ", media("an AVI video")),
    (8, b"avif", media("an AVIF image")),
    (8, b"hei", media("a HEIF image")),
    (8, b"mif1", media("a HEIF image")),
    (4, b"ftyp", media("an MP4 or QuickTime video")),
    (0, b"\x1aE\xdf\xa3", media("a Matroska or WebM video")),
    (0, b"OggS", media("an Ogg sound or video")),
    (0, b"fLaC", media("a FLAC sound")),
    (0, b"ID3", media("an MP3 sound")),
    (0, b"\xff\xfb", media("an MP3 sound")),
    (0, b"PAR1", ForeignFile("a Parquet table", DATA)),
    (0, b"ARROW1", ForeignFile("an Arrow table", DATA)),
    (0, b"SQLite format 3\0", ForeignFile("an SQLite database", DATA)),
    (0, b"%PDF", ForeignFile("a PDF document", NOT_WEIGHTS)),
    (0, b"\x7fELF", ForeignFile("a program or library", NOT_WEIGHTS)),
    (0, b"MZ", ForeignFile("a program or library", NOT_WEIGHTS)),
)
"""Offset, bytes, and the kind of a file with these bytes; the first match counts."""


def by_magic_number(start: bytes) -> ForeignFile | None:
    """The kind of a file that starts with these bytes; None if the table has no such magic number."""
    fitting = (known for offset, magic, known in MAGIC_NUMBERS if start[offset : offset + len(magic)] == magic)
    return next(fitting, None)

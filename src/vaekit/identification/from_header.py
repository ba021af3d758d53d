"""Inspect a VAE of which only the header of its safetensors file is here: names, shapes, dtypes and metadata.

What values decide is unknown: the fingerprint, and with it the known VAE; NaN; a normalization that is in tensors.
"""

from dataclasses import replace
from pathlib import Path

from vaekit.errors import BadCheckpoint, NotRunnable
from vaekit.formats.safetensors import LARGEST_HEADER, described_tensors
from vaekit.formats.tensor_file import MOST_TENSORS, TensorFile
from vaekit.identification.host_model import host_normalizations
from vaekit.identification.identify import identify_parts
from vaekit.identification.inspect import Inspection, inspection_of, not_run
from vaekit.identification.locate import LocatedVAE, locate
from vaekit.identification.match import WeightMatch
from vaekit.identification.normalization import SHAPES

LENGTH = 8
"""Bytes before the JSON: its length."""
NOT_HERE = "it is in tensors of the file, whose values are not here"


def inspect_header(content: bytes, size: int, path: Path, most: int = MOST_TENSORS) -> Inspection:
    """Inspect a VAE by the start of its file.

    Args:
        content: the length of the JSON in 8 bytes, little-endian, and the JSON.
        size: of the whole file in bytes.
        path: for messages; no file is opened.
        most: tensors that the file may have. Time grows with them.

    Raises:
        BadCheckpoint: the header is damaged or hostile, or describes more tensors.
        UnknownVAE, NotFound, WrongTensors: it is the header of another file; see `identify`.
    """
    length = int.from_bytes(content[:LENGTH], "little")
    if len(content) < LENGTH or length != len(content) - LENGTH or length > LARGEST_HEADER:
        raise BadCheckpoint(
            f"The first 8 bytes state a header of {length:,} bytes, and {max(len(content) - LENGTH, 0):,} follow.",
            f"Expected the 8 bytes and the whole header of a safetensors file, at most {LARGEST_HEADER:,} bytes.",
            "Check that the file is a safetensors file.",
        )
    file = described_tensors(content[LENGTH:], size, path)
    if len(file.specs) > most:
        raise BadCheckpoint(
            f"{path} has {len(file.specs):,} tensors.",
            f"Expected at most {most:,} here.",
            "Run `vaekit inspect` where the file is.",
        )
    try:
        return _inspected(file)
    except NotRunnable as refusal:
        return not_run(path, (file,), {}, refusal)


def _inspected(file: TensorFile) -> Inspection:
    """The record of a VAE; its normalization is unknown if values decide it."""
    located = locate(file)
    without, stored = _without_normalization(located)
    identified = identify_parts(file.path, (without,), {})
    if stored and identified.normalization_source.startswith(SHAPES):
        identified = replace(identified, normalization=None, normalization_source=NOT_HERE)
    elif stored and identified.normalization is None:
        identified = replace(identified, normalization_source=NOT_HERE)
    return inspection_of(identified, None, WeightMatch())


def _without_normalization(located: LocatedVAE) -> tuple[LocatedVAE, bool]:
    """A VAE without the tensors of a normalization, and whether there were some."""
    of_hosts = {name for stored in host_normalizations() for name in stored.names}
    specs = {name: spec for name, spec in located.file.specs.items() if name not in of_hosts}
    stored = bool(located.statistics) or len(specs) < len(located.file.specs)
    return replace(located, file=replace(located.file, specs=specs), statistics={}), stored

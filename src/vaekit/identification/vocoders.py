"""The vocoder beside a VAE of spectrograms: a folder of its own.

VAE and vocoder are presented as one file, in which the vocoder's tensors have a prefix, as in checkpoints of the
authors of some models.
"""

from operator import attrgetter
from pathlib import Path
from typing import Any

from vaekit.errors import VaekitError
from vaekit.formats.joined import joined
from vaekit.formats.open import TensorFile, open_weights
from vaekit.formats.paths import DIFFUSERS_SETTINGS
from vaekit.formats.quantization import without_quantization
from vaekit.formats.shard_sets import weights_entries
from vaekit.identification.fused_tensors import present_parts
from vaekit.identification.locate import (
    best_matches,
    closest,
    disagreement,
    gather,
    locate_with_prefix,
    read_settings,
    vae_folder,
)

ENTRY = "vocoder"
"""The prefix of its tensors, and the entry of its settings."""
FOLDERS = (ENTRY, "music_vocoder")
"""The names of the folder: in diffusers' pipelines, and in ACE-Step 1."""
PART = f".{ENTRY}."
"""A part of the native keys of a vocoder."""


def gather_with_vocoder(path: Path) -> tuple[list[TensorFile], dict[str, Any]]:
    """The weights files of the VAE at `path`, with the tensors of its vocoder if a folder beside it has one; and its
    settings, with those of the vocoder as one more entry.

    A vocoder that does not belong to the VAE, or that cannot be read, is left out.
    """
    files, settings = gather(path)
    around = vae_folder(path).absolute().parent
    folder = next((around / name for name in FOLDERS if (around / name).is_dir()), None)
    if folder is None or len(files) > 1 or not path.is_dir():
        return files, settings
    try:
        both, beside = with_vocoder(files[0], folder), read_settings(folder / DIFFUSERS_SETTINGS)
    except (VaekitError, OSError):
        return files, settings
    return (files, settings) if both is None else ([both], settings | {ENTRY: beside})


def with_vocoder(file: TensorFile, folder: Path) -> TensorFile | None:
    """The tensors of a VAE and those of the vocoder in a folder as one file; None unless a family has a network with
    all of them."""
    entries = weights_entries(folder, [each.name for each in folder.iterdir() if each.is_file()])
    entry = min(entries, key=attrgetter("preference"), default=None)
    if entry is None:
        return None
    both = joined(file, open_weights(entry.path), f"{ENTRY}.")
    matches, named = best_matches(without_quantization(both))
    if not matches:
        return None
    tied = [locate_with_prefix(present_parts(named.file, layout), layout, prefix) for layout, prefix in matches]
    best, _ = closest(tied)
    return both if any(PART in f".{key}" for key in best.names) and disagreement(best)[:2] == (False, 0) else None

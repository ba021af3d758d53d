"""Locate the tensors of a VAE in its files: the layout and the prefix."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.errors import BadCheckpoint, NotFound, UnknownVAE, WrongTensors, printable, shorten
from vaekit.families import LAYOUTS, PARTS, Layout, family_of
from vaekit.formats.open import TensorFile, TensorSpec, check_readable, open_tensors
from vaekit.formats.paths import WEIGHTS_ENDINGS, diffusers_preference, exists
from vaekit.formats.quantization import without_quantization
from vaekit.identification.fused_tensors import present_parts
from vaekit.identification.host_model import host_normalizations
from vaekit.identification.key_signatures import no_vae, not_runnable
from vaekit.identification.metadata import read_config, read_family
from vaekit.identification.mismatches import mismatch_count

FEWEST_KEYS = 8
"""The minimum number of matching keys; fewer are a coincidence."""
TRAINING_LEFTOVERS = ("loss.", "model_ema.")
"""Keys of training code beside the weights of an autoencoder: dropped, and counted as ignored."""


@dataclass(frozen=True)
class LocatedVAE:
    """The tensors of a VAE, or of one half, in one file."""

    file: TensorFile
    """The file with fused tensors split into parts; see `fused_tensors.py`."""
    layout: Layout
    prefix: str
    names: Mapping[str, str]
    """Native key -> key in the file, for the weights."""
    statistics: Mapping[str, str]
    """Native key -> key in the file, for tensors of the normalization, which belong to no network."""
    ignored: int
    """The number of tensors in the file that do not belong to the VAE."""

    def spec(self, native: str) -> TensorSpec:
        return self.file.specs[self.names[native]]

    def foreign(self, native: str) -> str:
        """The file's name for a native key, whether or not it is present."""
        levels = self.layout.native_levels(self.names)
        return self.prefix + (self.layout.from_native(native, levels) or native)


def gather(path: Path) -> tuple[list[TensorFile], dict[str, Any]]:
    """The weights files of the VAE at `path`, and the settings of a diffusers `config.json`."""
    if not exists(path):
        raise NotFound(
            f"There is no file or folder {printable(str(path))}.",
            "",
            "Check the path, or give the name of a known VAE.",
        )
    if not path.is_dir():
        return [open_tensors(path)], {}
    folder = path / "vae" if (path / "vae" / "config.json").is_file() else path
    settings = read_settings(folder / "config.json")
    weights = sorted(file for file in folder.iterdir() if file.suffix.lower() in WEIGHTS_ENDINGS and file.is_file())
    if settings:
        weights = sorted(weights, key=diffusers_preference)[:1]
    if not 1 <= len(weights) <= 2:
        listing = ", ".join(file.name for file in weights[:8]) or "no weights file"
        raise NotFound(
            f"The folder {path} holds {len(weights)} weights files ({listing}).",
            "Expected a diffusers folder, one weights file, or the encoder and the decoder of one VAE.",
            "Give the path of one file.",
        )
    return [open_tensors(file) for file in weights], settings


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a diffusers `config.json`; empty if there is none."""
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise BadCheckpoint(
            f"{path} is not valid JSON ({error}).", "Expected a diffusers config.", "Download it again."
        ) from error
    return settings if isinstance(settings, dict) else {}


def locate(file: TensorFile) -> LocatedVAE:
    """Find the VAE's tensors in a file: the layout and prefix that match the most keys.

    Ties between families are resolved in favor of the one whose network matches these tensors best.

    Raises:
        UnknownVAE: no layout matches enough keys.
        NotRunnable: it is a VAE that vaekit recognizes but cannot run.
        BadCheckpoint: its weights have a number format or a quantization that cannot be read.
        WrongTensors: the best layout leaves keys unmatched.
    """
    file = without_quantization(file)
    if read_family(file.metadata) == PARTS.name:
        best, unexpected = locate_with_prefix(file, PARTS.layouts[0], "")
        if unexpected:
            raise unexpected_tensors_error(file, best.layout, unexpected)
        return best
    counted = [
        ((count, -len(prefix)), layout, prefix, view)
        for layout in LAYOUTS
        for view in (present_parts(file, layout),)
        for prefix, count in layout.prefixes(view.specs).items()
        if count >= FEWEST_KEYS
    ]
    if not counted:
        raise no_vae_error(file)
    most = max(rank for rank, *_ in counted)
    tied = [locate_with_prefix(view, layout, prefix) for rank, layout, prefix, view in counted if rank == most]
    best, unexpected = closest(tied)
    refusal = not_runnable(file) if unexpected else None
    if refusal is not None:
        raise refusal
    check_readable(best.file, (*best.names.values(), *best.statistics.values()))
    if unexpected:
        raise unexpected_tensors_error(file, best.layout, unexpected)
    return best


def locate_with_prefix(file: TensorFile, layout: Layout, prefix: str) -> tuple[LocatedVAE, list[str]]:
    """The VAE's tensors for one layout and prefix, and the keys with this prefix that the layout does not know."""
    inside = {key: key.removeprefix(prefix) for key in file.specs if key.startswith(prefix)}
    levels = layout.levels(inside.values())
    outside = family_of(layout.family).outside_nets
    host_keys = {name for stored in host_normalizations() for name in stored.names}
    names: dict[str, str] = {}
    statistics: dict[str, str] = {}
    unexpected = []
    for key, bare in inside.items():
        native = layout.to_native(bare, levels)
        held = statistics if native in outside else names
        if native is not None and native not in held:
            held[native] = key
        elif not bare.startswith(TRAINING_LEFTOVERS + layout.unused) and key not in host_keys:
            unexpected.append(key)
    ignored = len(file.specs) - len(names) - len(statistics)
    return LocatedVAE(file, layout, prefix, names, statistics, ignored), unexpected


def closest(candidates: list[tuple[LocatedVAE, list[str]]]) -> tuple[LocatedVAE, list[str]]:
    """Of candidates that match the same keys, the one whose network has the fewest tensors that are
    missing, unexpected or misshapen; the first of several."""
    return min(candidates, key=lambda each: disagreement(each[0])) if len(candidates) > 1 else candidates[0]


def disagreement(candidate: LocatedVAE) -> int:
    """The number of tensors that do not match the network of the candidate's family."""
    family = family_of(candidate.layout.family)
    fields = candidate.layout.implies | read_config(candidate.file.metadata)
    return mismatch_count(family, {key: candidate.spec(key).shape for key in candidate.names}, fields)


def no_vae_error(file: TensorFile) -> UnknownVAE:
    """The error for a file in which no family has enough keys; it names the content if it is recognized."""
    return (
        not_runnable(file)
        or no_vae(file)
        or UnknownVAE(
            f"There is no VAE in {file.path}: its {len(file.specs):,} tensors ({shorten(file.specs)}) belong to no "
            "family that vaekit knows.",
            "Expected the tensors of an autoencoder in any known layout.",
            "Give the VAE's own file, or a checkpoint that includes a VAE.",
        )
    )


def unexpected_tensors_error(file: TensorFile, layout: Layout, unexpected: list[str]) -> WrongTensors:
    return WrongTensors(
        f"{file.path} looks like a {layout.family!r} autoencoder in the {layout.name} layout, with "
        f"{len(unexpected)} unexpected tensors: {shorten(unexpected)}.",
        "Expected the tensors of one autoencoder and no others.",
        "If this is a newer type of VAE, please report it; a partial load would give wrong images.",
    )


def check_one_vae(path: Path, parts: tuple[LocatedVAE, ...]) -> None:
    """Reject a folder whose files are two VAEs rather than two halves of one."""
    if len({part.layout.family for part in parts}) > 1 or (
        len(parts) == 2 and parts[0].names.keys() & parts[1].names.keys()
    ):
        names = " and ".join(part.file.path.name for part in parts)
        families = " and ".join(f"{part.layout.family!r}" for part in parts)
        raise NotFound(
            f"The folder {path} holds two VAEs, {names} (of the families {families}).",
            "Expected one VAE, in one file or in an encoder and a decoder file.",
            "Give the path of one file.",
        )

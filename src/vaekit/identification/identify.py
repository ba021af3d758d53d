"""Identify the VAE in a file or folder: family, layout, config and normalization, from keys, shapes and metadata.

Only headers are read, and the short vectors of a normalization that is stored in tensors. `load` and
`inspect` both start from this result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.catalog.entries import LatentSpace, Twin, matching_latent_spaces, matching_twins
from vaekit.errors import UnknownVAE, WrongTensors, counted, shorten
from vaekit.families import Config, Family, family_of
from vaekit.families.padding import stated_padding
from vaekit.formats.open import check_readable
from vaekit.formats.paths import DIFFUSERS_SETTINGS
from vaekit.formats.shard_sets import part_hint
from vaekit.identification.class_names import naming_the_class
from vaekit.identification.config_json import check_settings, contradictions
from vaekit.identification.diagnosis import channels_last, without_codebook
from vaekit.identification.host_model import HostModel, host_model_of
from vaekit.identification.key_signatures import not_runnable
from vaekit.identification.locate import LocatedVAE, check_one_vae, locate
from vaekit.identification.metadata import doubtful_entries, read_config, read_normalization
from vaekit.identification.mismatches import expected_tensors, halves_in, mismatches
from vaekit.identification.normalization import (
    SHAPES,
    find_normalization,
    read_host_normalization,
    read_normalization_tensors,
)
from vaekit.identification.vocoders import gather_with_vocoder
from vaekit.identification.weight_sets import Selection
from vaekit.normalization import LatentNormalization

MEASURED = "measured"
"""The start of the source of a normalization or a padding that was measured."""


@dataclass(frozen=True)
class Identified:
    """A VAE in a file or folder, identified but not loaded."""

    path: Path
    family: Family
    config: Config
    parts: tuple[LocatedVAE, ...]
    latent_spaces: tuple[LatentSpace, ...]
    normalization: LatentNormalization | None
    normalization_source: str
    """The source of the normalization, or the reason why it is unknown; a phrase."""
    host: HostModel | None = None
    """The diffusion model of a whole checkpoint, if its tensors identify it."""
    padding_source: str = ""
    """The source of the padding of its convolutions; empty if it is unknown, or if the family has only one."""
    contradictions: str = ""
    """Entries of its config.json that differ from the weights, and of its metadata that cannot be followed, as a
    phrase; empty if there are none."""

    @property
    def note(self) -> str:
        """Which weights were taken, contradictions in its files, and what it lacks, as a phrase; empty if there is
        nothing to say."""
        lacks = (sentence.removesuffix(".") for sentence in self.family.limits(self.config))
        return "; ".join(filter(None, (str(self.selection or ""), self.contradictions, *lacks)))

    @property
    def halves(self) -> tuple[str, ...]:
        """The halves that are present, of "encoder" and "decoder"."""
        return halves_in(key for part in self.parts for key in part.names)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return tuple(file for part in self.parts for file in part.file.files)

    @property
    def selection(self) -> Selection | None:
        """Which of several sets of weights was taken; None if the files hold one set of plain weights."""
        return next((part.selection for part in self.parts if part.selection), None)

    @property
    def layout(self) -> str:
        """The name of the layout; "tiny" for the two separate halves of one VAE."""
        names = sorted({part.layout.name for part in self.parts})
        return "tiny" if names == ["tiny-decoder", "tiny-encoder"] else " and ".join(names)

    @property
    def twins(self) -> tuple[Twin, ...]:
        """The fine-tuned VAEs with the same tensors and other latents that this may be: none if the file or the user
        states the normalization."""
        if self.normalization is not None and not self.normalization_source.startswith((SHAPES, MEASURED)):
            return ()
        return matching_twins(self.family.name, self.config)


def identify(path: Path, weights: str | None = None) -> Identified:
    """Identify the VAE at `path`: a weights file, a diffusers folder, or a folder with one VAE in one or two files.

    Args:
        path: of the file or folder. Shards of one file count as one.
        weights: "ema" or "plain" for the averaged or the plain weights, where the file holds both.

    Raises:
        NotFound: the path does not exist, or there are no such weights.
        BadCheckpoint: a file is damaged, hostile or not a weights file.
        UnknownVAE: it holds no VAE that vaekit knows.
        NotRunnable: it holds a VAE that vaekit recognizes but cannot run.
        WrongTensors: tensors are missing, unexpected or misshapen.
    """
    with naming_the_class(path):
        files, settings = gather_with_vocoder(path)
        return identify_parts(path, tuple(locate(file, weights) for file in files), settings)


def identify_parts(path: Path, parts: tuple[LocatedVAE, ...], settings: Mapping[str, Any]) -> Identified:
    """Identify a VAE from opened files with located tensors.

    Args:
        path: of the file, or of the folder of the files, as given by the user.
        parts: of one file, or of one for each half.
        settings: of a diffusers `config.json`; empty if there is none.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, NotRunnable, WrongTensors: see `identify`.
    """
    check_one_vae(path, parts)
    for part in parts:
        check_readable(part.file, (*part.names.values(), *part.statistics.values()))
    metadata = parts[0].file.metadata
    shapes = {native: part.spec(native).shape for part in parts for native in part.names}
    other_order = channels_last(path, shapes)
    if other_order is not None:
        raise other_order
    family = family_of(parts[0].layout.family)
    stated = read_config(metadata)
    config = family.from_metadata(stated) if family.from_metadata else family.detect(shapes)
    if config is None or config.blocks > len(shapes):
        raise (
            not_runnable(parts[0].file)
            or without_codebook(path, family.name, shapes)
            or UnknownVAE(
                f"{path} has the keys of a {family.name!r} autoencoder, but not its structure.",
                "Expected one of the models in the README's table.",
                "If this is a VAE that other software runs, please report its key names and shapes.",
            )
        )
    fields = parts[0].layout.implies | stated
    if settings:
        check_settings(parts[0].file.path.with_name(DIFFUSERS_SETTINGS), family, config, settings)
    config = family.complete(config, fields, settings)
    in_tensors = (
        read_normalization_tensors(path, parts, family, config, settings),
        read_host_normalization(path, parts, config.geometry.latent_channels),
    )
    host = host_model_of(parts[0].file.specs) if len(parts) == 1 and parts[0].ignored else None
    normalization = find_normalization(family, config, metadata, settings, list(filter(None, in_tensors)), host)
    padding = padding_source(metadata, settings) if family.paddings else ""
    disagreeing = contradictions(family, config, read_normalization(metadata), settings) if settings else ""
    doubts = "; ".join(filter(None, (disagreeing, *doubtful_entries(metadata, config.geometry.latent_channels))))
    identified = Identified(path, family, config, parts, *normalization, host, padding, doubts)
    check_tensors(identified)
    return identified


def padding_source(metadata: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """The source of the padding in the file, if it states one."""
    if stated_padding(read_config(metadata), {}):
        return "the file's metadata"
    return "config.json" if stated_padding({}, settings) else ""


def check_tensors(identified: Identified) -> None:
    """Check every tensor against the network that the config describes.

    Raises:
        WrongTensors: some are missing, unexpected or misshapen; they are listed by the file's own names.
    """
    present = {native: part for part in identified.parts for native in part.names}
    wanted = expected_tensors(identified.family, identified.config, present)
    counters = {key for key, tensor in wanted.items() if tensor.counts}
    shapes = {key: part.spec(key).shape for key, part in present.items()}
    wrong = mismatches(identified.family, identified.config, shapes)
    problems = {
        "missing": [name_in_file(identified, key) for key in wrong.missing],
        "unexpected": [present[key].names[key] for key in wrong.left_over],
        "misshapen": [
            f"{present[key].names[key]} {list(shapes[key])} instead of {list(wanted[key].shape)}"
            for key in wrong.misshapen
        ],
        "not floating-point": [
            part.names[key]
            for key, part in present.items()
            if key not in counters and not part.spec(key).dtype.is_floating_point
        ],
    }
    listing = "; ".join(f"{len(keys)} {what}: {shorten(sorted(keys))}" for what, keys in problems.items() if keys)
    integers = problems["not floating-point"]
    if integers and not any(keys for what, keys in problems.items() if keys is not integers):
        formats = ", ".join(
            sorted({part.spec(key).stored_as for key, part in present.items() if part.names[key] in integers})
        )
        raise WrongTensors(
            f"{identified.path} stores {counted(len(integers), 'weight')} of the {identified.family.name!r} "
            "autoencoder as "
            f"{formats}, without scales: {shorten(sorted(integers))}.",
            "Expected floating-point weights, or int8 with a tensor `weight_scale` beside each.",
            "Get a version in float16, bfloat16 or float32.",
        )
    if listing:
        raise (
            not_runnable(identified.parts[0].file)
            or without_codebook(identified.path, identified.family.name, shapes)
            or WrongTensors(
                f"{identified.path} is a {identified.family.name!r} autoencoder in the {identified.layout} layout, "
                f"but incomplete or inconsistent ({listing}).{halves_of_two(identified)}"
                f"{part_hint(identified.parts[0].file.path) if problems['missing'] else ''}",
                f"Expected {len(wanted)} tensors with the shapes that this config implies.",
                "The file was saved so, or changed later: get the weights from their original source. vaekit never "
                "fills gaps with random weights.",
            )
        )


def halves_of_two(identified: Identified) -> str:
    """A sentence that names both VAEs if a folder holds the encoder and the decoder of different ones."""
    if len(identified.parts) < 2:
        return ""
    family, sentences = identified.family, []
    for part in identified.parts:
        config = family.detect({key: part.spec(key).shape for key in part.names})
        names = " or ".join(space.name for space in matching_latent_spaces(family.name, config)) if config else ""
        channels = counted(config.geometry.latent_channels, "latent channel") if config else "an unknown structure"
        sentences.append(f"{part.file.path.name} is half of {names or f'a {family.name!r} VAE'}, with {channels}")
    return f" {'; '.join(sentences)}." if len({sentence.split(" is ", 1)[1] for sentence in sentences}) > 1 else ""


def name_in_file(identified: Identified, native: str) -> str:
    """The file's name for a missing tensor."""
    half = native.split(".")[0]
    holds_half = (part for part in identified.parts if any(key.startswith(half + ".") for key in part.names))
    part = next(holds_half, identified.parts[0])
    return part.foreign(native)

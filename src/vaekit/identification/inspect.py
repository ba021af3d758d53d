"""Inspect VAE files: the result is a record for people and programs."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.catalog.entries import CatalogEntry, Twin
from vaekit.errors import NotRunnable
from vaekit.families import HALVES
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.formats.quantization import without_quantization
from vaekit.formats.tensor_file import dtype_name
from vaekit.geometry import Geometry
from vaekit.identification.build import Network
from vaekit.identification.class_names import class_in, naming_the_class, unsupported_class
from vaekit.identification.companions import named_companions
from vaekit.identification.identify import Identified, identify_parts
from vaekit.identification.items import items_of, schema_records, schema_text
from vaekit.identification.key_signatures import UnsupportedFamily, match_unsupported
from vaekit.identification.locate import locate
from vaekit.identification.match import WeightMatch, match_weights
from vaekit.identification.non_finite import BROKEN_WEIGHTS, NonFiniteTensor, non_finite_text
from vaekit.identification.resolve import (
    Hashes,
    cached_hashes,
    resolved_by,
    with_probed_normalization,
    with_probed_padding,
)
from vaekit.identification.vocoders import gather_with_vocoder
from vaekit.identification.weight_dtypes import common_dtype
from vaekit.identification.weight_sets import Selection
from vaekit.normalization import LatentNormalization

COARSE = "float8"
"""The start of the number formats whose rounding moves weights by 2 to 5 %; that of int8 and q8_0 is below 1 %."""


@dataclass(frozen=True)
class Inspection:
    """What is known about the VAE in a file or folder."""

    path: str
    family: str
    candidate_models: tuple[str, ...]
    """The models with these shapes; several if shapes cannot distinguish them."""
    layout: str
    prefix: str
    format: str
    halves: tuple[str, ...]
    latent_channels: int | None
    """None if unknown, which is only the case for a VAE that cannot run; so are the next four fields."""
    factor: int | None
    """Item positions per latent position along the first axis; None for a global latent, too."""
    image_size: int | None
    """Side of the images for a VAE with a fixed image size; None if it takes any size."""
    compression: float | None
    """Item values per latent value."""
    geometry: Geometry | None
    """The shapes of items and latents."""
    normalization: LatentNormalization | None
    normalization_source: str
    padding_source: str
    """The source of the padding in the config; empty if it is unknown, or if the family has only one."""
    parameters: int
    dtypes: tuple[str, ...]
    """The number formats in the file: "float16"; "q8_0" in a GGUF file."""
    quantization: tuple[str, ...]
    """The quantizations of its weights that are undone when it is loaded: "scaled fp8", "int8 convrot"."""
    loaded_dtype: str | None
    """The one dtype of the weights after loading: "float16"; see `common_dtype`. None for a VAE that cannot run."""
    fingerprint: str | None
    """The fingerprint of the weights, independent of the file; None if no hash was requested."""
    sketches: Mapping[str, str] | None
    """The sketch of each half, which survives rounding to half precision; see `fingerprint.py`."""
    sha256: str | None
    """The SHA-256 of the whole file; None for a VAE in two files or inside a larger checkpoint."""
    catalog_entry: CatalogEntry | None
    """The catalog entry of these weights; None if they have none."""
    recognized: str
    """How the weights were recognized; a phrase, empty without an entry."""
    relatives: tuple[str, ...]
    """Sentences about the nearest known relative of weights without an entry."""
    config: dict[str, Any]
    problems: tuple[str, ...]
    """Warnings for the user."""
    non_finite: tuple[NonFiniteTensor, ...] | None = None
    """The tensors with NaN or infinite values; None if the weights were not read."""
    selection: Selection | None = None
    """Which weights were taken, if the file holds several sets of them, or averages."""
    runnable: bool = True
    """False for a VAE that is only recognized; it has no config, normalization or fingerprint here."""
    used_by: tuple[str, ...] = ()
    """The models that use its latents, beside those that its latent spaces are named after."""
    twins: tuple[str, ...] = ()
    """Fine-tuned VAEs with the same tensors and other latents that this may be."""
    media: str = "images"
    """What it encodes: its domain; "images", "video", "sound", "shapes" or "proteins" for a VAE that is only
    recognized."""
    steps: int | None = None
    """Frames of video, or samples of sound, per latent position in time; None if unknown or neither."""
    size_of_latents: str = ""
    """The size of latents, a phrase, for a VAE that is only recognized."""
    domain: str | None = None
    """The kind of data that it takes: "images", "tables"; None if its file does not state it and it takes no images."""
    schema: str = ""
    """What its file states about the items: "3 columns: age, height, smoker"; empty if it states nothing."""
    schema_records: tuple[str, ...] = ()
    """The records of the schema, one line each: "age: real, center 40"."""


def inspect_path(path: Path, *, hash: bool = True, measure: bool = True, weights: str | None = None) -> Inspection:
    """Inspect the VAE at a path; see `vaekit.inspect`."""
    with naming_the_class(path):
        files, settings = gather_with_vocoder(path)
    try:
        with naming_the_class(path):
            identified = identify_parts(path, tuple(locate(file, weights) for file in files), settings)
    except NotRunnable as refusal:
        return not_run(path, files, settings, refusal)
    hashes = cached_hashes(identified) if hash else None
    match = match_weights(hashes.weights, hashes.sha256) if hashes else WeightMatch()
    identified = resolved_by(identified, match)
    if measure:
        network = Network()
        identified = with_probed_padding(with_probed_normalization(identified, network), network)
    return inspection_of(identified, hashes, match)


def inspection_of(identified: Identified, hashes: Hashes | None, match: WeightMatch) -> Inspection:
    """The record of an identified VAE.

    Args:
        identified: the VAE.
        hashes: of its weights; None if they were not read.
        match: the known VAE that they are.
    """
    specs = stored_specs(identified)
    config, geometry = identified.config, identified.config.geometry
    twins = identified.twins if match.entry is None else ()
    users = (model for space in identified.latent_spaces for model in space.also)
    domain, schema = items_of(identified.parts[0].file.metadata, geometry.axes)
    return Inspection(
        path=str(identified.path),
        family=identified.family.name,
        candidate_models=tuple(space.name for space in identified.latent_spaces),
        layout=identified.layout,
        prefix=identified.parts[0].prefix,
        format=identified.parts[0].file.format,
        halves=identified.halves,
        latent_channels=geometry.latent_channels,
        factor=geometry.factors[0] if geometry.axes else None,
        image_size=geometry.size[0] if geometry.size else None,
        compression=geometry.compression,
        geometry=geometry,
        normalization=identified.normalization,
        normalization_source=identified.normalization_source,
        padding_source=identified.padding_source,
        parameters=sum(math.prod(spec.shape) for spec in specs),
        dtypes=dtypes_of(specs),
        quantization=quantizations_of(specs),
        loaded_dtype=dtype_name(common_dtype(spec.dtype for spec in specs)),
        fingerprint=hashes.weights.fingerprint if hashes else None,
        sketches=hashes.weights.sketches if hashes else None,
        sha256=(hashes.sha256 or None) if hashes else None,
        catalog_entry=match.entry,
        recognized=match.how,
        relatives=match.relatives,
        config=dataclasses.asdict(config),
        problems=(*problems(identified, hashes.non_finite if hashes else ()), *doubts(identified, twins)),
        non_finite=hashes.non_finite if hashes else None,
        selection=identified.selection,
        used_by=tuple(dict.fromkeys(users)),
        twins=tuple(twin.name for twin in twins),
        media=domain or "unknown",
        domain=domain,
        schema=schema_text(schema),
        schema_records=schema_records(schema),
    )


def not_run(path: Path, files: Iterable[TensorFile], settings: Mapping[str, Any], refusal: NotRunnable) -> Inspection:
    """The record of a VAE that is recognized but cannot be run: by its tensors, or else by its config.json.

    Raises:
        NotRunnable: the given error, if none of the files is recognized alone.
    """
    opened = list(map(without_quantization, files))
    matches = ((file, *match) for file in opened if (match := match_unsupported(file.specs)))
    named = unsupported_class(settings)
    by_class = (opened[0], named, "") if named and opened else None
    found = next(matches, by_class)
    if found is None:
        raise refusal
    file, known, prefix = found
    specs = {key.removeprefix(prefix): spec for key, spec in file.specs.items() if key.startswith(prefix)}
    channels = known.channels_of(file.specs, prefix)
    return Inspection(
        path=str(path),
        family=known.name,
        candidate_models=(),
        layout="",
        prefix=prefix,
        format=file.format,
        halves=tuple(half for half in HALVES if any(f".{half}" in f".{key}" for key in specs)),
        latent_channels=channels,
        factor=known.factor,
        image_size=None,
        compression=compression(known, channels),
        geometry=None,
        normalization=None,
        normalization_source=known.normalization or "not determined for a VAE that cannot be run",
        padding_source="",
        parameters=sum(math.prod(spec.shape) for spec in specs.values()),
        dtypes=dtypes_of(specs.values()),
        quantization=quantizations_of(specs.values()),
        loaded_dtype=None,
        fingerprint=None,
        sketches=None,
        sha256=None,
        catalog_entry=None,
        recognized="",
        relatives=(),
        config={},
        problems=(f"{known.why}. {refusal.remedy}",),
        runnable=False,
        used_by=known.models_of(class_in(settings)),
        media=known.media,
        steps=known.steps,
        size_of_latents=known.compression,
    )


def compression(known: UnsupportedFamily, channels: int | None) -> float | None:
    """Values of images or video in RGB per latent value; None if unknown."""
    steps = 1 if known.media == "images" else known.steps if known.media == "video" else None
    return 3 * known.factor**2 * steps / channels if known.factor and steps and channels else None


def stored_specs(identified: Identified) -> list[TensorSpec]:
    """The descriptions of all weights in their file; a batch norm's counter is none."""
    specs = (part.spec(key) for part in identified.parts for key in part.names)
    return [spec for spec in specs if spec.dtype.is_floating_point]


def dtypes_of(specs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """The number formats of tensors in their file."""
    return tuple(sorted({spec.stored_as for spec in specs}))


def quantizations_of(specs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """The quantizations of tensors in their file."""
    return tuple(sorted({spec.quantization for spec in specs} - {""}))


def problems(identified: Identified, non_finite: Sequence[NonFiniteTensor] = ()) -> list[str]:
    """Sentences about unusual or unknown properties."""
    problems = []
    if non_finite:
        problems.append(f"NaN or infinite weights: {non_finite_text(non_finite)}. {BROKEN_WEIGHTS}")
    if len(identified.halves) == 1:
        half = identified.halves[0]
        verb, other = ("encode", "decode") if half == "encoder" else ("decode", "encode")
        problems.append(f"Only the {half} is present: it can {verb}, but not {other}.")
    if identified.contradictions:
        problems.append(f"{identified.contradictions}.")
    upscale = identified.config.geometry.upscale
    if upscale > 1:
        problems.append(f"Its decoder upscales: decoded images are {upscale} times as large as encoded ones.")
    problems += chunks_of(identified)
    if identified.normalization is None:
        problems.append(f"The normalization is unknown: {identified.normalization_source}.")
    parts = identified.parts
    ignored = sum(part.ignored for part in parts)
    if ignored:
        named = ", ".join(filter(None, (named_companions(part.file.specs, part.beside, part.prefix) for part in parts)))
        what = f": {named}" if named else ""
        others = "1 other tensor of the file is" if ignored == 1 else f"{ignored:,} other tensors of the file are"
        problems.append(f"{others} not part of the VAE{what}.")
    coarse = [name for name in dtypes_of(stored_specs(identified)) if name.startswith(COARSE)]
    if coarse:
        problems.append(f"Weights are rounded to {' and '.join(coarse)}, which reduces quality: float16 is better.")
    problems += identified.family.limits(identified.config)
    if not identified.latent_spaces:
        problems += identified.family.assumed(identified.config)
    return problems


def chunks_of(identified: Identified) -> list[str]:
    """A sentence about a VAE that is defined on chunks of an item."""
    geometry, audio = identified.config.geometry, identified.family.audio(identified.config)
    if not geometry.chunk:
        return []
    length = f"{geometry.chunk / audio.sample_rate:.3g} s" if audio else f"{geometry.chunk} positions"
    return [
        f"By definition, chunks of {length} are normalized and coded separately; each overlaps the next one by "
        f"{100 * geometry.overlap / geometry.chunk:.3g} %, where they are cross-faded."
    ]


def doubts(identified: Identified, twins: Sequence[Twin]) -> list[str]:
    """A sentence about VAEs with other latents that a known normalization does not exclude."""
    if not twins or identified.normalization is None:
        return []
    names = " or ".join(twin.name for twin in twins)
    repos = " or ".join(dict.fromkeys(twin.repo for twin in twins))
    return [
        f"The tensors are also those of {names}, whose latents differ: a file from {repos} is only for the diffusion "
        "models that were trained on it, and may have another normalization; give the folder with its config.json."
    ]

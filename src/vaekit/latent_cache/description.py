"""`cache.json`: which VAE made the latents of a cache, and how items were prepared and stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.checkpoints.latent_files import FINGERPRINT, LatentOrigin
from vaekit.errors import BadCache, CacheMismatch, LatentMismatch, NotFound, printable, reason_of
from vaekit.geometry import Geometry
from vaekit.json import dumps, plain
from vaekit.normalization import LatentNormalization
from vaekit.reading import exists, read_json
from vaekit.records import differences

DESCRIPTION = "cache.json"
FORMAT = "vaekit latent cache"
VERSION = 1
DTYPES = ("fp32", "fp16", "int8", "coded")
"""The dtypes of stored latents."""
GAUSSIAN = "gaussian"
"""The kind of posterior that has a variance."""
ANOTHER = "Give another folder, or remove this one first: a cache holds latents of one VAE, prepared in one way."


@dataclass(frozen=True)
class CacheDescription:
    """What all latents of a cache have in common."""

    origin: LatentOrigin
    dtype: str
    """Of the stored latents: fp32, fp16, int8 or coded."""
    posterior: str
    """"gaussian", "point", "quantized" or another kind. Only a Gaussian has a variance; others store their mode."""
    domain: str
    preparation: Mapping[str, Any]
    """How items were brought to their sizes: plain values, as the domain describes it."""
    flips: bool = False
    """Whether the latents of mirrored items are stored, too."""
    computed: str = "fp32"
    """The dtype in which the VAE ran."""
    vae: str = ""
    """The name of the VAE, for messages."""

    def as_json(self) -> dict[str, Any]:
        """As `cache.json` holds it."""
        rest = {name: value for name, value in asdict(self).items() if name not in ("origin", "preparation")}
        preparation = plain(dict(self.preparation))
        return {
            "format": FORMAT,
            "version": VERSION,
            "origin": origin_json(self.origin),
            **rest,
            "preparation": preparation,
        }


def origin_json(origin: LatentOrigin) -> dict[str, Any]:
    """The identity of a VAE as plain values."""
    return {
        "fingerprint": origin.fingerprint,
        "family": origin.family,
        "geometry": origin.geometry.as_json(),
        "normalization": None if origin.normalization is None else origin.normalization.as_json(),
    }


def origin_from(value: object) -> LatentOrigin:
    """The inverse of `origin_json`.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, Mapping):
        raise ValueError("the VAE is no object")
    fingerprint, family = value.get("fingerprint"), value.get("family")
    geometry = Geometry.from_json(value.get("geometry"))
    if not isinstance(fingerprint, str) or not FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("the VAE has no fingerprint")
    if not isinstance(family, str) or geometry is None:
        raise ValueError("the VAE has no family or geometry")
    normalization = LatentNormalization.from_json(value.get("normalization"))
    fits = normalization is not None and normalization.fits(geometry.latent_channels)
    return LatentOrigin(fingerprint, family, geometry, normalization if fits else None)


def description_from(value: Mapping[str, Any]) -> CacheDescription:
    """The inverse of `CacheDescription.as_json`.

    Raises:
        ValueError: a value is missing or of another type.
    """
    texts = [value.get(name) for name in ("dtype", "posterior", "domain", "computed", "vae")]
    preparation, flips = value.get("preparation"), value.get("flips")
    if not all(isinstance(text, str) for text in texts) or value["dtype"] not in DTYPES:
        raise ValueError("the dtype, the posterior or the domain makes no sense")
    if not isinstance(preparation, Mapping) or type(flips) is not bool:
        raise ValueError("the preparation makes no sense")
    dtype, posterior, domain, computed, vae = map(str, texts)
    return CacheDescription(
        origin_from(value.get("origin")), dtype, posterior, domain, preparation, flips, computed, vae
    )


def read_description(folder: Path) -> CacheDescription:
    """The description of a cache.

    Raises:
        NotFound: the folder holds no cache.
        BadCache: it is damaged, or of another version.
    """
    path = folder / DESCRIPTION
    if not exists(path):
        raise NotFound(f"{folder} holds no cache of latents.", f"Expected {DESCRIPTION} in it.", "Check the path.")
    try:
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError("it is something else")
        if value.get("version") != VERSION:
            raise BadCache(
                f"The cache {folder} has version {printable(str(value.get('version')), 20)}.",
                f"This vaekit reads version {VERSION}.",
                "Use the vaekit that wrote it, or cache the data again in another folder.",
            )
        return description_from(value)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise BadCache(f"{path} is damaged: {reason}.", "", "Remove the folder, and cache the data again.") from error


def write_description(folder: Path, description: CacheDescription) -> None:
    """Write the description of a new cache.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    with atomic_file(folder / DESCRIPTION) as part:
        part.write_text(dumps(description.as_json()) + "\n", "utf-8")


def check_same(folder: Path, known: CacheDescription, wanted: CacheDescription) -> None:
    """Check that further latents may be added to a cache.

    Raises:
        LatentMismatch: they are those of another VAE, or have another normalization.
        CacheMismatch: they are prepared or stored in another way.
    """
    check_origin(folder, known.origin, wanted.origin)
    ignored = ("origin", "vae")
    before, now = ({k: v for k, v in each.as_json().items() if k not in ignored} for each in (known, wanted))
    lines = differences(before, now)
    if lines:
        raise CacheMismatch(
            f"The cache {folder} was made with other settings: {'; '.join(lines)}.",
            "Expected the settings that it was made with.",
            ANOTHER,
        )


def check_origin(folder: Path, known: LatentOrigin, given: LatentOrigin) -> None:
    """Check that latents are those of a VAE, with the same normalization.

    Raises:
        LatentMismatch: they are not.
    """
    same = known.fingerprint == given.fingerprint and known.geometry == given.geometry
    ours, theirs = known.normalization, given.normalization
    channels = known.geometry.latent_channels
    alike = ours == theirs or (ours is not None and theirs is not None and ours.is_close(theirs, channels=channels))
    if not (same and alike):
        raise LatentMismatch(
            f"The cache {folder} holds latents of a {known}, and the given VAE is a {given}.",
            "Expected the same VAE with the same normalization: latents of two VAEs are never mixed.",
            ANOTHER,
        )

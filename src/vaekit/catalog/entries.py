"""Known VAEs and latent spaces, read from the facts of each family (`families/<name>/facts.toml`).

A `[[space]]` is a latent space of that family, an `[[entry]]` a set of weights; their keys are the fields of
`LatentSpace` and `CatalogEntry`, except `space` (the name of an entry's latent space, omitted if it has one of its
own) and `file` (`[[entry.file]]`, a `CatalogFile` each). `match` holds fields of the family's config: a file whose
config matches all of them has this space, as far as shapes determine it. Images have three channels unless it states
other `image_channels`, or "any", or `audio_channels`. Spaces with equal shapes and different
normalizations are distinguished by metadata, known weights, or measurement (docs/measuring.md). If these fail,
the normalization is unknown, never guessed. A `[[twin]]` is a fine-tuned VAE with the tensors of a space and latents of
its own, whose normalization is not known here: its keys are the fields of `Twin`. `supersedes` names entries of
`unsupported.toml` from before the family was runnable, and `classes` the family's classes in diffusers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from vaekit.catalog.identity import Identity, from_json
from vaekit.catalog.tables import family_facts
from vaekit.normalization import LatentNormalization

COLOR_CHANNELS, ANY = 3, "any"


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation of each channel of raw latents, over photographs."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LatentSpace:
    """A latent space that several models share."""

    name: str
    family: str
    match: Mapping[str, Any]
    normalization: LatentNormalization | None
    normalization_in: str = ""
    """Where such files state their normalization, for spaces without a fixed one."""
    no_normalization: str = ""
    """Why there is no normalization, for spaces that no diffusion model uses."""
    not_in: tuple[str, ...] = ()
    """Layouts of its family that cannot express this space."""
    latents: LatentStatistics | None = None
    """Statistics of raw latents, if known: they distinguish spaces of equal shapes."""
    colors: tuple[tuple[float, ...], ...] | None = None
    """RGB in [-1, 1] per unit of each channel of normalized latents: the linear map of fast previews."""
    colors_offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    """RGB of latents that are zero."""
    same_weights_as: str = ""
    """The space with the same or indistinguishable weights, but another normalization."""
    model_name: str = ""
    """The model's name in its authors' config.json, if shapes do not determine the space."""
    also: tuple[str, ...] = ()
    """Other models that use these latents, most of them with the same weights, byte for byte."""

    def fits(self, family: str, config: Any) -> bool:
        """Whether a config matches all fields that define this space."""
        return family == self.family and matches(config, self.match)

    def has_normalization(self, normalization: LatentNormalization, channels: int) -> bool:
        """Whether this space's normalization is known and, up to rounding, equal to this one."""
        return self.normalization is not None and self.normalization.is_close(normalization, channels=channels)


@dataclass(frozen=True)
class Twin:
    """A fine-tuned VAE with the same tensors as published models, and latents of its own."""

    name: str
    family: str
    match: Mapping[str, Any]
    repo: str
    """Its repository on the Hub, "owner/name", where its config.json may state its normalization."""

    def fits(self, family: str, config: Any) -> bool:
        """Whether a VAE of this shape may be this one."""
        return family == self.family and matches(config, self.match)


def matches(config: Any, match: Mapping[str, Any]) -> bool:
    """Whether a config has all these fields."""
    return all(fact(config, key) == value for key, value in match.items())


def fact(config: Any, name: str) -> Any:
    """A field of a config, or of its geometry if the config has no such field."""
    fields = {field.name for field in dataclasses.fields(config)}
    return getattr(config if name in fields else config.geometry, name)


@dataclass(frozen=True)
class CatalogFile:
    """One file of a catalog entry."""

    path: str
    """The path in the repository, or inside the package."""
    repo: str = ""
    """The repository on the Hub, "owner/name"; empty for a file inside the package or elsewhere."""
    sha256: str = ""
    """The SHA-256 of the whole file in hexadecimal digits; empty if unknown."""
    verified: bool = False
    """Whether several unrelated sources agree on the hash, or it was computed here."""
    bytes: int = 0
    """The size of the file; 0 if unknown."""
    url: str = ""
    """The address of a file that is neither on the Hub nor inside the package; `vaekit get` does not download it."""


@dataclass(frozen=True)
class CatalogEntry:
    """A known VAE: one set of weights with its files and properties."""

    name: str
    about: str
    license: str
    files: tuple[CatalogFile, ...]
    """All known copies; `vaekit get` downloads the first."""
    latent_space: str = ""
    """The latent space, by its name; empty for a VAE with a latent space of its own."""
    maker: str = ""
    """The authors' repository on the Hub, "owner/name": the base model in the metadata of a fine-tune. Empty if
    unknown, or if the copies there are not the authors'."""
    own_normalization: LatentNormalization | None = None
    """The normalization of a latent space of its own."""
    fp16: str = "unknown"
    """"safe", "unsafe" (it overflows) or "unknown"."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Config fields that weights do not determine, such as the number of norm groups."""
    own_latents: bool = False
    """Whether its latents differ from those of its latent space, whose shapes and normalization it has: they are only
    for models that were trained on it."""
    weights: Identity | None = None
    """Fingerprints and sketches of the weights; None if unknown."""
    data: str = ""
    """What it was trained on."""
    training: str = ""
    measured: str = ""

    @property
    def normalization(self) -> LatentNormalization | None:
        """The normalization of its latents, if known and not stored with its weights."""
        space = latent_space_named(self.latent_space)
        return self.own_normalization if space is None else space.normalization

    @property
    def packaged(self) -> str:
        """The file inside the package; empty for a VAE that has to be downloaded."""
        return next((file.path for file in self.files if not (file.repo or file.url)), "")


@cache
def latent_spaces() -> tuple[LatentSpace, ...]:
    """Every latent space in the catalog."""
    return tuple(
        LatentSpace(
            entry["name"],
            facts["family"],
            _frozen(entry["match"]),
            _normalization(entry.get("normalization")),
            normalization_in=entry.get("normalization_in", ""),
            no_normalization=entry.get("no_normalization", ""),
            not_in=tuple(entry.get("not_in", ())),
            latents=_statistics(entry.get("latents")),
            colors=tuple(map(tuple, entry["colors"])) if "colors" in entry else None,
            colors_offset=tuple(entry.get("colors_offset", (0.0, 0.0, 0.0))),
            same_weights_as=entry.get("same_weights_as", ""),
            model_name=entry.get("model_name", ""),
            also=tuple(entry.get("also", ())),
        )
        for facts in family_facts()
        for entry in facts.get("space", ())
    )


@cache
def twins() -> tuple[Twin, ...]:
    """Every fine-tuned VAE that keys and shapes do not distinguish from a latent space of the catalog."""
    listed = tuple(
        Twin(entry["name"], facts["family"], _frozen(entry["match"]), entry["repo"])
        for facts in family_facts()
        for entry in facts.get("twin", ())
    )
    spaces = ((entry, latent_space_named(entry.latent_space)) for entry in catalog_entries() if entry.own_latents)
    return listed + tuple(
        Twin(entry.name, space.family, space.match, entry.files[0].repo) for entry, space in spaces if space
    )


def matching_twins(family: str, config: Any) -> tuple[Twin, ...]:
    """The fine-tuned VAEs with exactly these tensors."""
    return tuple(twin for twin in twins() if twin.fits(family, config))


@cache
def catalog_entries() -> tuple[CatalogEntry, ...]:
    """Every known VAE: those in the package first, then family by family."""
    entries = [_entry(entry) for facts in family_facts() for entry in facts.get("entry", ())]
    return tuple(sorted(entries, key=lambda entry: not entry.packaged))


def entry_named(name: str) -> CatalogEntry | None:
    """The entry of this name, if there is one."""
    return next((entry for entry in catalog_entries() if entry.name == name), None)


def latent_space_named(name: str) -> LatentSpace | None:
    """The latent space of this name, if there is one."""
    return next((space for space in latent_spaces() if space.name == name), None)


def matching_latent_spaces(family: str, config: Any) -> tuple[LatentSpace, ...]:
    """The latent spaces that a VAE of this shape may have; several if shapes cannot distinguish them."""
    return tuple(space for space in latent_spaces() if space.fits(family, config))


def latent_spaces_with(
    channels: int,
    family: str | None = None,
    normalization: LatentNormalization | None = None,
    image_channels: int | None = None,
) -> tuple[LatentSpace, ...]:
    """The spaces with `channels` latent channels and, if it is known, this normalization; else those without one.

    Args:
        channels: latent channels.
        family: only spaces of this family; None for all.
        normalization: of the latents, if it is known.
        image_channels: only spaces of VAEs for images of these channels; None for all.
    """
    alike = [
        space
        for space in latent_spaces()
        if space.match.get("latent_channels") == channels
        and family in (None, space.family)
        and image_channels in (None, space.match.get("image_channels", image_channels))
    ]
    if normalization is None:
        return tuple(alike)
    same = tuple(space for space in alike if space.has_normalization(normalization, channels))
    return same or tuple(space for space in alike if space.normalization is None)


def model_names(channels: int) -> str:
    """The names of the latent spaces with this number of channels, as a phrase; empty if there are none."""
    return " or ".join(space.name for space in latent_spaces_with(channels))


def shared_normalization(candidates: Sequence[LatentSpace]) -> LatentNormalization | None:
    """The normalization that all candidates share; None if they differ or there are none."""
    normalizations = {space.normalization for space in candidates}
    return normalizations.pop() if len(normalizations) == 1 else None


def _entry(entry: dict[str, Any]) -> CatalogEntry:
    files = tuple(CatalogFile(**file) for file in entry["file"])
    weights = from_json(entry["weights"]) if "weights" in entry else None
    apart = ("file", "weights", "normalization", "space")
    facts = {key: value for key, value in entry.items() if key not in apart}
    return CatalogEntry(
        files=files,
        latent_space=entry.get("space", ""),
        weights=weights,
        own_normalization=_normalization(entry.get("normalization")),
        **facts,
    )


def _frozen(match: dict[str, Any]) -> dict[str, Any]:
    """The fields to match, with the channels of images: three, unless other ones or "any" are given, or those of
    audio."""
    fields = match if "audio_channels" in match else {"image_channels": COLOR_CHANNELS} | match
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items() if value != ANY}


def _normalization(entry: dict[str, list[float]] | None) -> LatentNormalization | None:
    """A scale and a shift; or a mean, a standard deviation, and the target standard deviation (default 1)."""
    if entry is None:
        return None
    if "std" in entry:
        return LatentNormalization.from_mean_and_std(entry["mean"], entry["std"], entry.get("to_std", [1.0])[0])
    return LatentNormalization(shift=tuple(entry["shift"]), scale=tuple(entry["scale"]))


def _statistics(entry: dict[str, list[float]] | None) -> LatentStatistics | None:
    return None if entry is None else LatentStatistics(tuple(entry["mean"]), tuple(entry["std"]))

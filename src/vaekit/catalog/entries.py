"""Known VAEs and latent spaces, read from the facts of each family (`families/<name>/facts.toml`).

A `[[space]]` is a latent space of that family, an `[[entry]]` one set of weights; their keys are the fields of
`LatentSpace` and `CatalogEntry`, but for `space` (the name of an entry's latent space, left out where it has one of its
own) and `file` (`[[entry.file]]`, a `CatalogFile` each). `match` holds fields of the family's config: a file whose
config has all of them is of this space, as far as shapes can tell. Spaces with equal shapes and different
normalizations are told apart by metadata, by a known set of weights, or by measuring (docs/measuring.md). Where nothing
tells, the normalization is unknown, never guessed. `supersedes` names entries of `unsupported.toml` from before the
family was runnable.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from vaekit.catalog.identity import Identity, from_json
from vaekit.catalog.tables import family_facts
from vaekit.normalization import LatentNormalization


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
    """Where a file of this kind tells its normalization, for kinds without one of their own."""
    no_normalization: str = ""
    """Why nobody can tell a normalization, for kinds whose latents no diffusion model sees."""
    not_in: tuple[str, ...] = ()
    """Layouts that its family has and that cannot express this kind."""
    latents: LatentStatistics | None = None
    """How raw latents of this kind look, where it is known: what shape twins are told apart by."""
    colors: tuple[tuple[float, ...], ...] | None = None
    """Red, green and blue for one unit of each latent channel: the linear map of fast previews, up to a factor."""
    same_weights_as: str = ""
    """The kind whose weights, or ones that cannot be told from them, this one sees in another normalization."""
    model_name: str = ""
    """What a config.json beside a file of this kind calls the model, where its authors' does and shapes do not tell."""

    def fits(self, family: str, config: Any) -> bool:
        """Whether a config has every field that makes up this kind."""
        return family == self.family and all(fact(config, key) == value for key, value in self.match.items())

    def has_normalization(self, normalization: LatentNormalization, channels: int) -> bool:
        """Whether this kind's normalization is known and, up to rounding, this one for `channels` latent channels."""
        return self.normalization is not None and self.normalization.is_close(normalization, channels=channels)


def fact(config: Any, name: str) -> Any:
    """A field of a config, or of its geometry where the config has no such field."""
    fields = {field.name for field in dataclasses.fields(config)}
    return getattr(config if name in fields else config.geometry, name)


@dataclass(frozen=True)
class CatalogFile:
    """One file that holds a VAE with a card."""

    path: str
    """In the repository, or inside the package."""
    repo: str = ""
    """The repository on the Hub, "owner/name"; empty for a file inside the package or elsewhere."""
    sha256: str = ""
    """Of the whole file, in hexadecimal digits; empty where nobody knows it."""
    verified: bool = False
    """Whether several unrelated sources agree on the hash, or it was computed here."""
    bytes: int = 0
    """The size of the file; 0 where nobody knows it."""
    url: str = ""
    """Where a file is that is neither on the Hub nor inside the package; `vaekit get` does not fetch it."""


@dataclass(frozen=True)
class CatalogEntry:
    """What is known about one set of weights."""

    name: str
    about: str
    license: str
    files: tuple[CatalogFile, ...]
    """Every copy that is known; the first one is what `vaekit get` fetches."""
    kind: str = ""
    """The latent space, by its name; empty for a VAE with a latent space of its own."""
    maker: str = ""
    """The repository on the Hub of those who made it, "owner/name": what a fine-tune is said to come from. Empty where
    that is not known for sure, and where others put its copies there."""
    own_normalization: LatentNormalization | None = None
    """The normalization of a latent space of its own."""
    fp16: str = "unknown"
    """"safe", "unsafe" (it overflows) or "unknown"."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the network's config that its weights do not tell, such as the number of norm groups."""
    weights: Identity | None = None
    """What these weights are known by; None where they were never at hand."""
    data: str = ""
    """What it was trained on."""
    training: str = ""
    measured: str = ""

    @property
    def normalization(self) -> LatentNormalization | None:
        """The normalization of its latents, if that is known and not beside its weights."""
        kind = latent_space_named(self.kind)
        return self.own_normalization if kind is None else kind.normalization

    @property
    def packaged(self) -> str:
        """The file inside the package; empty for a VAE that has to be fetched."""
        return next((file.path for file in self.files if not (file.repo or file.url)), "")


@cache
def latent_spaces() -> tuple[LatentSpace, ...]:
    """Every kind in the table."""
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
            same_weights_as=entry.get("same_weights_as", ""),
            model_name=entry.get("model_name", ""),
        )
        for facts in family_facts()
        for entry in facts.get("space", ())
    )


@cache
def catalog_entries() -> tuple[CatalogEntry, ...]:
    """Every VAE that is known by name."""
    return tuple(_card(entry) for facts in family_facts() for entry in facts.get("entry", ()))


def entry_named(name: str) -> CatalogEntry | None:
    """The card of this name, if there is one."""
    return next((card for card in catalog_entries() if card.name == name), None)


def latent_space_named(name: str) -> LatentSpace | None:
    """The kind of this name, if there is one."""
    return next((kind for kind in latent_spaces() if kind.name == name), None)


def matching_latent_spaces(family: str, config: Any) -> tuple[LatentSpace, ...]:
    """The kinds that a VAE of this shape may be; more than one where shapes cannot tell."""
    return tuple(kind for kind in latent_spaces() if kind.fits(family, config))


def latent_spaces_with(
    channels: int, family: str | None = None, normalization: LatentNormalization | None = None
) -> tuple[LatentSpace, ...]:
    """The kinds whose latents have so many channels and, where it is known, this normalization; else those without."""
    alike = [
        kind
        for kind in latent_spaces()
        if kind.match.get("latent_channels") == channels and family in (None, kind.family)
    ]
    if normalization is None:
        return tuple(alike)
    same = tuple(kind for kind in alike if kind.has_normalization(normalization, channels))
    return same or tuple(kind for kind in alike if kind.normalization is None)


def model_names(channels: int) -> str:
    """The kinds whose latents have so many channels, as a phrase; empty where there is none."""
    return " or ".join(kind.name for kind in latent_spaces_with(channels))


def shared_normalization(candidates: Sequence[LatentSpace]) -> LatentNormalization | None:
    """The normalization that all candidates share; None where they differ or there is none."""
    normalizations = {kind.normalization for kind in candidates}
    return normalizations.pop() if len(normalizations) == 1 else None


def _card(entry: dict[str, Any]) -> CatalogEntry:
    files = tuple(CatalogFile(**file) for file in entry["file"])
    weights = from_json(entry["weights"]) if "weights" in entry else None
    apart = ("file", "weights", "normalization", "space")
    facts = {key: value for key, value in entry.items() if key not in apart}
    return CatalogEntry(
        files=files,
        kind=entry.get("space", ""),
        weights=weights,
        own_normalization=_normalization(entry.get("normalization")),
        **facts,
    )


def _frozen(match: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in match.items()}


def _normalization(entry: dict[str, list[float]] | None) -> LatentNormalization | None:
    """A scale and a shift; or a mean, a standard deviation, and the one that latents are brought to: 1 if left out."""
    if entry is None:
        return None
    if "std" in entry:
        return LatentNormalization.from_mean_and_std(entry["mean"], entry["std"], entry.get("to_std", [1.0])[0])
    return LatentNormalization(shift=tuple(entry["shift"]), scale=tuple(entry["scale"]))


def _statistics(entry: dict[str, list[float]] | None) -> LatentStatistics | None:
    return None if entry is None else LatentStatistics(tuple(entry["mean"]), tuple(entry["std"]))

"""The VAEs that the operator offers. Clients choose among their names; a path or another name reaches nothing.

Those of images are for everything; those of other data are only for walks through their latent spaces.
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.domains.find import ALL
from vaekit.errors import BadItem, NotFound
from vaekit.formats.paths import WEIGHTS_ENDINGS
from vaekit.geometry import Geometry
from vaekit.library.download import no_progress
from vaekit.library.folders import scan_all
from vaekit.library.listing import Facts, FoundFile, inspect_all, inspect_file
from vaekit.library.names import locate_vae
from vaekit.normalization import LatentNormalization
from vaekit.serve.refusals import NOT_FOUND, UNUSABLE, Refusal
from vaekit.tasks.options import ModelOptions

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
CHANNELS = (1, 3, 4)
"""Of images that have a file format."""
IMAGE_AXES = 2
DEFAULT_VAE = "builtin"
DOMAINS = frozenset(domain.name for domain in ALL)


@dataclass(frozen=True, eq=False)
class OfferedVAE:
    """A VAE that clients may use; equal only to itself."""

    name: str
    """For URLs: ASCII letters, digits, dots, hyphens and underscores."""
    source: ModelOptions
    path: Path
    facts: Mapping[str, Any]
    """Its inspection, see `vaekit.library.listing.inspect_file`."""
    bytes: int = 0
    """The size of its files."""

    @property
    def geometry(self) -> Geometry:
        """The shapes of its images and latents."""
        geometry = Geometry.from_json(self.facts["geometry"])
        assert geometry is not None
        return geometry

    @property
    def takes_images(self) -> bool:
        """Whether its items are images that have a file format."""
        return takes_images(self.geometry)

    @property
    def normalization(self) -> LatentNormalization | None:
        """Between raw latents and those of a diffusion model; None if unknown."""
        values = self.facts["normalization"]
        if values is None:
            return None
        return LatentNormalization.from_values(list(values["shift"]), list(values["scale"]), values["patch"])

    @property
    def patch(self) -> int:
        """Side of the squares of raw latents that one latent of a diffusion model holds."""
        return 1 if self.normalization is None else self.normalization.patch

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its weights; empty if it was not computed."""
        return self.facts["fingerprint"] or ""


@dataclass(frozen=True)
class UnusableVAE:
    """A weights file in a models folder that is not offered."""

    name: str
    """The file's, without its extension."""
    path: Path
    reason: str
    """A sentence."""


class Offer:
    """The offered VAEs by name: those that were given, then those in the models folders.

    Args:
        vaes: names or paths.
        models: folders; their VAEs are offered, and names are looked up in them.

    Raises:
        NotFound, AmbiguousName, BadCheckpoint, UnknownVAE, BadItem: a given VAE cannot be used, or there is none.
    """

    def __init__(self, vaes: Sequence[str], models: Sequence[Path] | None) -> None:
        self._models = None if models is None else tuple(folder.expanduser().absolute() for folder in models)
        self._given: dict[str, OfferedVAE] = {}
        named = vaes or (() if models else (DEFAULT_VAE,))
        for vae in named:
            name = free_name(name_of(vae), self._given)
            self._given[name] = offered(name, ModelOptions(vae, self._models).absolute())
        self._vaes = dict(self._given)
        self.unusable: tuple[UnusableVAE, ...] = ()
        """What is in the models folders beside the offered VAEs."""
        self._refreshing = threading.Lock()
        self.refresh()
        if not self._vaes:
            raise NotFound(
                "The models folders hold no VAE that can be served.", "", "`vaekit list` shows what is in them."
            )

    def __iter__(self) -> Iterator[OfferedVAE]:
        """Those of images."""
        return (vae for vae in self._vaes.values() if vae.takes_images)

    @property
    def others(self) -> tuple[OfferedVAE, ...]:
        """Those of other data."""
        return tuple(vae for vae in self._vaes.values() if not vae.takes_images)

    @property
    def default(self) -> OfferedVAE:
        """The first one of images; the first one if there is none of images."""
        return next(iter(self), next(iter(self._vaes.values())))

    def find(self, name: str | None) -> OfferedVAE:
        """The VAE of images of a name; the default without one.

        Raises:
            Refusal: there is none.
        """
        vae = self.find_any(name)
        if not vae.takes_images:
            raise Refusal(
                UNUSABLE,
                "wrong_domain",
                f"This VAE is of {vae.facts['domain']}, and not of images; POST /api/vaes/NAME/walk takes it.",
            )
        return vae

    def find_any(self, name: str | None) -> OfferedVAE:
        """The VAE of a name, of any data; the default without one.

        Raises:
            Refusal: there is none.
        """
        if name is None:
            return self.default
        vae = self._vaes.get(name)
        if vae is None:
            raise Refusal(NOT_FOUND, "unknown_vae", "This server offers no VAE of that name; GET /api/vaes lists them.")
        return vae

    def refresh(self) -> None:
        """Look into the models folders again. A file that is as it was stays the same VAE, also for requests."""
        with self._refreshing:
            vaes = dict(self._given)
            before = {vae.path: vae for vae in self._vaes.values()}
            taken = {vae.path for vae in self._given.values()}
            entries = [entry for entry in scan_all(self._models or ())[0] if entry.path not in taken]
            found = [FoundFile(entry.stem, entry.path, str(entry.home), entry.files) for entry in entries]
            unusable_files = []
            for path, facts in inspect_all(found, no_progress).items():
                file = next(each for each in found if each.path == path)
                problem = unusable(facts)
                if problem is None:
                    vae = self._vae_in(file, facts, vaes, before.get(path))
                    vaes[vae.name] = vae
                else:
                    unusable_files.append(UnusableVAE(file.name, path, problem))
            self._vaes, self.unusable = vaes, tuple(unusable_files)

    def _vae_in(self, file: FoundFile, facts: Facts, taken: Mapping[str, Any], before: OfferedVAE | None) -> OfferedVAE:
        """The VAE in a file of a models folder."""
        if before is not None and before.facts == facts and before.name not in taken:
            return before
        name, source = free_name(name_of(file.name), taken), ModelOptions(str(file.path), self._models)
        return OfferedVAE(name, source, file.path, facts, weights_size(file.files))


def offered(name: str, source: ModelOptions) -> OfferedVAE:
    """The VAE that the operator gave.

    Raises:
        NotFound, AmbiguousName: there is no such VAE.
        BadItem: it cannot be read, be run or be served.
    """
    with locate_vae(source.vae, source.models) as path:
        facts = inspect_file(path)
        problem = unusable(facts)
        if problem is not None:
            raise BadItem(f"{source.vae} cannot be served. {problem}", "Expected a VAE of a known domain.", "")
        files = tuple(path.iterdir()) if path.is_dir() else (path,)
        return OfferedVAE(name, source, path, facts, weights_size(files))


def unusable(facts: Mapping[str, Any]) -> str | None:
    """Why a VAE cannot be served, a sentence; None if it can."""
    if "error" in facts:
        return str(facts["reason"])
    geometry = Geometry.from_json(facts["geometry"])
    if not facts["runnable"] or geometry is None:
        return " ".join(facts["problems"]) or "It is recognized, but cannot be run."
    if not takes_images(geometry) and (geometry.axes >= IMAGE_AXES or facts["domain"] not in DOMAINS):
        return f"Its items have the shape {geometry.batch_text}."
    return None


def takes_images(geometry: Geometry) -> bool:
    """Whether items are images that have a file format."""
    return geometry.axes == IMAGE_AXES and geometry.channels in CHANNELS


def weights_size(files: Sequence[Path]) -> int:
    """Bytes of the weights files among some files."""
    return sum(file.stat().st_size for file in files if file.suffix.lower() in WEIGHTS_ENDINGS)


def name_of(vae: str) -> str:
    """A name for URLs, from a name or a path.

    >>> name_of("/models/SD 1.5 (mse).safetensors"), name_of("kl-f8"), name_of("sd-1.5")
    ('SD-1.5-mse', 'kl-f8', 'sd-1.5')
    """
    path = Path(vae)
    stem = path.stem if path.suffix.lower() in WEIGHTS_ENDINGS else path.name
    return NOT_IN_NAMES.sub("-", stem).strip("-.") or "vae"


def free_name(name: str, taken: Mapping[str, Any]) -> str:
    """The name, or with the first number that makes it a new one."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free

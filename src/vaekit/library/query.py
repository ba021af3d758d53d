"""Parse requests for a VAE: a catalog entry, or a file or folder of a repository on the Hub."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from vaekit.catalog.entries import CatalogEntry, CatalogFile, catalog_entries, entry_named
from vaekit.errors import CannotFetch, NotFound, did_you_mean, printable, shorten
from vaekit.formats.paths import WEIGHTS_ENDINGS, diffusers_preference
from vaekit.formats.shard_sets import numbered_names
from vaekit.library.hub import Address, files_of

PASTED = re.compile(
    r"(?:hf://|https?://[^/]+/)?(?P<repo>[^/@\s]+/[^/@\s]+)(?:@(?P<revision>[^/\s]+))?"
    r"(?:/(?:blob|resolve|tree|raw)/(?P<branch>[^/\s]+))?(?:/(?P<path>[^?#]*))?(?:[?#].*)?"
)
"""owner/name, a file in it, or the URL of either."""
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model"
"""The file names of weights in diffusers folders; they need the config.json beside them."""


GENERIC_NAMES = ("vae", "model", "pytorch_model")
"""Generic names of the only file in a repository: the file is named after its repository."""


@dataclass(frozen=True)
class HubQuery:
    """What to download: one file, or the files of a diffusers folder."""

    name: str
    """Its name in the models folder; for a file without extension."""
    files: tuple[Address, ...]
    """The files, weights first."""
    folder: bool = False
    expected: CatalogFile | None = None
    """The weights file in the catalog."""
    entry: CatalogEntry | None = None

    @property
    def ending(self) -> str:
        """The extension of the file; empty for a folder."""
        return "" if self.folder else PurePosixPath(self.files[0].path).suffix


def parse_query(text: str) -> HubQuery:
    """Parse the name of a catalog entry, "owner/name", "owner/name/file", or a URL on the Hub.

    For a repository without a file, its file list is requested.

    Raises:
        NotFound: it is none of these.
        CannotFetch: the repository is not accessible, or it is ambiguous which of its files is the VAE.
    """
    entry = entry_named(text)
    if entry is not None:
        return of_entry(entry)
    pasted = PASTED.fullmatch(text)
    if pasted is None or not _is_valid(pasted["path"] or ""):
        close = did_you_mean(text, [entry.name for entry in catalog_entries()])
        raise NotFound(
            f"There is no known VAE called {printable(text)!r}.",
            f"Known names: {shorten(entry.name for entry in catalog_entries())}; or owner/name/file on the Hub.",
            close or "`vaekit list --known` lists all of them.",
        )
    repo, revision = pasted["repo"], pasted["revision"] or pasted["branch"] or "main"
    path = (pasted["path"] or "").strip("/")
    if PurePosixPath(path).suffix.lower() in WEIGHTS_ENDINGS:
        known = _entry_with(repo, path) if revision == "main" else None
        return of_entry(*known) if known else of_file(Address(repo, path, revision))
    return of_repository(repo, revision, path)


def of_entry(entry: CatalogEntry, file: CatalogFile | None = None) -> HubQuery:
    """The first file of an entry, or one of its others."""
    file = file or entry.files[0]
    if file.url:
        raise CannotFetch(
            f"{entry.name} is not on the Hub.",
            f"It is at {file.url}.",
            "Download it from there, and put it into a models folder.",
        )
    return HubQuery(entry.name, (Address(file.repo, file.path),), expected=file, entry=entry)


def of_file(address: Address) -> HubQuery:
    """One file; for a diffusers weights file, its whole folder; for a shard, all shards."""
    path = PurePosixPath(address.path)
    is_diffusers = path.name.startswith(DIFFUSERS_WEIGHTS)
    shards = numbered_names(path.name)
    if not is_diffusers and len(shards) == 1:
        return HubQuery(path.name.removesuffix(path.suffix), (address,))
    names = (*shards, "config.json") if is_diffusers else shards
    addresses = tuple(Address(address.repo, str(path.with_name(name)), address.revision) for name in names)
    above = path.parent.name if path.parent.name != "vae" else path.parent.parent.name
    return HubQuery(above or address.repo.split("/")[1], addresses, folder=True)


def of_repository(repo: str, revision: str, below: str = "") -> HubQuery:
    """The VAE of a repository: in its `vae` folder, a diffusers VAE at the top level, or the only possible file.

    Raises:
        CannotFetch: several files are possible, or none.
    """
    paths = [PurePosixPath(path) for path in files_of(repo, revision) if _is_valid(path)]
    weights = [path for path in paths if path.suffix.lower() in WEIGHTS_ENDINGS and path.is_relative_to(below)]
    top = PurePosixPath(below)
    for folder in (top / "vae", top):
        inside = [path for path in weights if path.parent == folder and path.name.startswith(DIFFUSERS_WEIGHTS)]
        if inside and folder / "config.json" in paths:
            return of_file(Address(repo, str(min(inside, key=diffusers_preference)), revision))
    at_top = [path for path in weights if path.parent == top]
    pair = halves_among(at_top)
    if pair:
        name = below.rstrip("/").split("/")[-1] or repo.split("/")[1]
        return HubQuery(name, tuple(Address(repo, str(path), revision) for path in pair), folder=True)
    for likely in (at_top, [path for path in weights if "vae" in path.name.lower() or path.stem == "ae"]):
        if len(likely) == 1:
            query = of_file(Address(repo, str(likely[0]), revision))
            is_generic = query.name in GENERIC_NAMES and likely[0] in at_top
            return replace(query, name=repo.split("/")[1]) if is_generic else query
    raise CannotFetch(
        f"{printable(repo)} holds {len(weights)} weights files{_listed(weights)}.",
        "Expected a `vae` folder, or exactly one weights file.",
        f"Name the file: vaekit get {printable(repo)}/FILE" if weights else "Use another repository.",
    )


def halves_among(paths: Sequence[PurePosixPath]) -> tuple[PurePosixPath, ...]:
    """The decoder and the encoder of a tiny autoencoder, if they are the only weights; else none.

    >>> halves_among([PurePosixPath("taesd_encoder.pth"), PurePosixPath("taesd_decoder.pth")])
    (PurePosixPath('taesd_decoder.pth'), PurePosixPath('taesd_encoder.pth'))
    """
    by_half = {half: [path for path in paths if path.stem.endswith(f"_{half}")] for half in ("decoder", "encoder")}
    halves = tuple(path for half in by_half.values() for path in half)
    stems = {path.stem.removesuffix("_decoder").removesuffix("_encoder") for path in halves}
    return halves if len(halves) == len(paths) == 2 and len(stems) == 1 else ()


def _entry_with(repo: str, path: str) -> tuple[CatalogEntry, CatalogFile] | None:
    return next(
        (
            (entry, file)
            for entry in catalog_entries()
            for file in entry.files
            if (file.repo, file.path) == (repo, path)
        ),
        None,
    )


def _is_valid(path: str) -> bool:
    """Whether the path of a file in a repository is safe: relative and without "..", on any system."""
    return ".." not in path.split("/") and "\\" not in path and path.isprintable()


def _listed(paths: Sequence[PurePosixPath], most: int = 20) -> str:
    listing = ", ".join(printable(str(path)) for path in paths[:most])
    return f": {listing}{', ...' if len(paths) > most else ''}" if paths else ""

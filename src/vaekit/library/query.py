"""What a person who asks for a VAE means: a card, or a file or folder of a repository on the Hub."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from vaekit.catalog.entries import CatalogEntry, CatalogFile, catalog_entries, entry_named
from vaekit.errors import CannotFetch, NotFound, printable, shorten
from vaekit.formats.paths import WEIGHTS_ENDINGS, diffusers_preference
from vaekit.library.hub import Address, files_of
from vaekit.library.known_vaes import did_you_mean

PASTED = re.compile(
    r"(?:hf://|https?://[^/]+/)?(?P<repo>[^/@\s]+/[^/@\s]+)(?:@(?P<revision>[^/\s]+))?"
    r"(?:/(?:blob|resolve|tree|raw)/(?P<branch>[^/\s]+))?(?:/(?P<path>[^?#]*))?(?:[?#].*)?"
)
"""owner/name, a file in it, or the address of either as a browser shows it."""
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model"
"""How diffusers calls the weights of every model; they mean little without the config.json beside them."""


SAY_NOTHING = ("vae", "model", "pytorch_model")
"""Names that the one file at the top of many repositories has: it is called as its repository is."""


@dataclass(frozen=True)
class HubQuery:
    """What to fetch: one file, or the files of a diffusers folder."""

    name: str
    """What it will be called in the models folder: of a file without its ending."""
    files: tuple[Address, ...]
    """The weights first."""
    folder: bool = False
    expected: CatalogFile | None = None
    """What a card knows of the weights file."""
    card: CatalogEntry | None = None

    @property
    def ending(self) -> str:
        """The ending of the file; a folder has none."""
        return "" if self.folder else PurePosixPath(self.files[0].path).suffix


def parse_query(text: str) -> HubQuery:
    """Read the name of a card, "owner/name", "owner/name/file", or an address on the Hub.

    A repository without a file is asked what it holds.

    Raises:
        NotFound: this is neither.
        CannotFetch: the repository cannot be asked, or does not say which of its files is the VAE.
    """
    card = entry_named(text)
    if card is not None:
        return of_card(card)
    pasted = PASTED.fullmatch(text)
    if pasted is None or not _is_sound(pasted["path"] or ""):
        close = did_you_mean(text, [card.name for card in catalog_entries()])
        raise NotFound(
            f"There is no known VAE called {printable(text)!r}.",
            f"Known names: {shorten(entry.name for entry in catalog_entries())}; or owner/name/file on the Hub.",
            close or "`vaekit list --known` tells more of them.",
        )
    repo, revision = pasted["repo"], pasted["revision"] or pasted["branch"] or "main"
    path = (pasted["path"] or "").strip("/")
    if PurePosixPath(path).suffix.lower() in WEIGHTS_ENDINGS:
        known = _card_with(repo, path) if revision == "main" else None
        return of_card(*known) if known else of_file(Address(repo, path, revision))
    return of_repository(repo, revision, path)


def of_card(card: CatalogEntry, file: CatalogFile | None = None) -> HubQuery:
    """The first file of a card, or one of its others."""
    file = file or card.files[0]
    if file.url:
        raise CannotFetch(
            f"{card.name} is not on the Hub.",
            f"It is at {file.url}.",
            "Fetch it from there, and put it into a models folder.",
        )
    return HubQuery(card.name, (Address(file.repo, file.path),), expected=file, card=card)


def of_file(address: Address) -> HubQuery:
    """One file; for one that diffusers named, the whole folder that it is in."""
    path = PurePosixPath(address.path)
    if not path.name.startswith(DIFFUSERS_WEIGHTS):
        return HubQuery(path.name.removesuffix(path.suffix), (address,))
    config = Address(address.repo, str(path.with_name("config.json")), address.revision)
    above = path.parent.name if path.parent.name != "vae" else path.parent.parent.name
    return HubQuery(above or address.repo.split("/")[1], (address, config), folder=True)


def of_repository(repo: str, revision: str, below: str = "") -> HubQuery:
    """The VAE of a repository: of its `vae` folder, a diffusers VAE at its top, or the one file that can be it.

    Raises:
        CannotFetch: several files can be it, or none.
    """
    paths = [PurePosixPath(path) for path in files_of(repo, revision) if _is_sound(path)]
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
            found = of_file(Address(repo, str(likely[0]), revision))
            says_nothing = found.name in SAY_NOTHING and likely[0] in at_top
            return replace(found, name=repo.split("/")[1]) if says_nothing else found
    raise CannotFetch(
        f"{printable(repo)} holds {len(weights)} weights files{_listed(weights)}.",
        "Expected a `vae` folder, or one file that can only be the VAE.",
        f"Name the file: vaekit get {printable(repo)}/FILE" if weights else "Look for another repository.",
    )


def halves_among(paths: Sequence[PurePosixPath]) -> tuple[PurePosixPath, ...]:
    """The decoder and the encoder of one tiny autoencoder, where these two and no other weights are there; else none.

    >>> halves_among([PurePosixPath("taesd_encoder.pth"), PurePosixPath("taesd_decoder.pth")])
    (PurePosixPath('taesd_decoder.pth'), PurePosixPath('taesd_encoder.pth'))
    """
    by_half = {half: [path for path in paths if path.stem.endswith(f"_{half}")] for half in ("decoder", "encoder")}
    found = tuple(path for half in by_half.values() for path in half)
    stems = {path.stem.removesuffix("_decoder").removesuffix("_encoder") for path in found}
    return found if len(found) == len(paths) == 2 and len(stems) == 1 else ()


def _card_with(repo: str, path: str) -> tuple[CatalogEntry, CatalogFile] | None:
    return next(
        ((card, file) for card in catalog_entries() for file in card.files if (file.repo, file.path) == (repo, path)),
        None,
    )


def _is_sound(path: str) -> bool:
    """Whether the path of a file in a repository leads nowhere else, on any system."""
    return ".." not in path.split("/") and "\\" not in path and path.isprintable()


def _listed(paths: Sequence[PurePosixPath], most: int = 20) -> str:
    told = ", ".join(printable(str(path)) for path in paths[:most])
    return f": {told}{', ...' if len(paths) > most else ''}" if paths else ""

"""`push`: a finished run onto the Hub, without what is of no use there: checkpoints, logs, held-out images.

Folders of a run hold much that was never meant for others, such as people's images: only what the card shows goes by
itself, and only what is named goes besides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

from vaekit.errors import CannotPush, NotFound, printable
from vaekit.families import HALVES
from vaekit.formats.paths import DIFFUSERS_SETTINGS, DIFFUSERS_WEIGHTS
from vaekit.library.hub_errors import upload_errors
from vaekit.version import __version__

CARD, IMAGE_FOLDERS = "README.md", ("images", "pictures")
"""Runs of the first edition have their images in `pictures`."""
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
RESULT = "vae.safetensors"
"""The result of a run, where it is one file."""
MESSAGE = "Upload with vaekit"


@dataclass(frozen=True)
class UploadResult:
    """What was put on the Hub, or would be."""

    repo: str
    address: str
    files: tuple[str, ...]
    """Paths in the repository."""
    bytes: int
    commit: str
    """The address of the commit; empty where nothing was sent."""


def files_to_upload(run: Path, also: Sequence[str] = ()) -> list[Path]:
    """What of a run belongs on the Hub: weights, the settings beside them, the card, its images.

    Args:
        run: the folder.
        also: patterns of further files, by their paths in the folder: `recipe.json`, `checkpoints/*`. One without a
            slash means files in the folder itself, and none deeper inside.

    Raises:
        NotFound: there is no result in the folder, or nothing that a pattern means.
    """
    weights = weights_files(run)
    if not weights:
        raise NotFound(
            f"There is no finished run in {run}.",
            "Expected a VAE there, as `vaekit finetune` and `vaekit train` leave it.",
            "Let the run end first; the same command goes on with it.",
        )
    card = [run / CARD] if (run / CARD).is_file() else []
    return list(dict.fromkeys([*weights, *card, *images_of_card(run), *requested_files(run, also)]))


def images_of_card(run: Path) -> list[Path]:
    """The images that the card shows. A run of `vaekit train` has others under the same name, and no card."""
    if not (run / CARD).is_file():
        return []
    text = unquote((run / CARD).read_text("utf-8", errors="replace"))
    images = [file for folder in IMAGE_FOLDERS for file in sorted((run / folder).glob("*"))]
    return [file for file in images if file.suffix in IMAGE_ENDINGS and f"{file.parent.name}/{file.name}" in text]


def requested_files(run: Path, also: Sequence[str]) -> list[Path]:
    """The files that patterns mean; see `files_to_upload`.

    Raises:
        NotFound: one means nothing.
    """
    everything = [file.relative_to(run) for file in sorted(run.rglob("*")) if file.is_file()]
    wished: list[Path] = []
    for pattern in also:
        near = [path for path in everything if "/" in pattern or len(path.parts) == 1]
        found = [run / path for path in near if fnmatch(path.as_posix(), pattern)]
        if not found:
            raise NotFound(
                f"Nothing in {run} is called {printable(pattern)}.",
                "",
                "Leave it out, or name another file; one in a folder with the folder: held_out/0000.png.",
            )
        wished += found
    return wished


def push(
    run: Path,
    repo: str,
    private: bool = False,
    also: Sequence[str] = (),
    dry: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> UploadResult:
    """Put a run on the Hub in one commit. The repository is made where there is none; other files in it stay.

    The token is the one that huggingface_hub finds: in HF_TOKEN, or where `hf auth login` left it.

    Args:
        run: the folder.
        repo: "owner/name"; a name alone is one of the user's own.
        private: whether a repository that is made is private. One that is there stays as it is.
        also: see `files_to_upload`.
        dry: say what would be done, and ask nobody.
        say: told what goes on.

    Raises:
        NotFound: there is nothing to push.
        CannotPush: no token, no permission, no network, or the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
    from huggingface_hub.utils import validate_repo_id

    files = files_to_upload(run, also)
    with upload_errors(repo):
        validate_repo_id(repo)
    names = tuple(file.relative_to(run).as_posix() for file in files)
    size = sum(file.stat().st_size for file in files)
    if dry:
        return UploadResult(repo, f"{constants.ENDPOINT}/{repo}", names, size, "")
    if get_token() is None:
        raise CannotPush(
            "No token for the Hub was found: nobody may write there without one.",
            f"Expected one in HF_TOKEN, or from `hf auth login`, that may write to {printable(repo)}.",
            f"Make a token with permission to write at {constants.ENDPOINT}/settings/tokens.",
        )
    api = HfApi(library_name="vaekit", library_version=__version__)
    with upload_errors(repo):
        made = api.create_repo(repo, private=private or None, exist_ok=True)
        say(f"Sending {len(files)} files to {made}")
        operations = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in zip(names, files, strict=True)
        ]
        commit = api.create_commit(made.repo_id, operations, commit_message=MESSAGE)
    return UploadResult(made.repo_id, str(made), names, size, commit.commit_url)


def weights_files(folder: Path) -> list[Path]:
    """What a finished run holds of its result: weights, and the settings where it is a diffusers folder.

    Of files that belong together a crash may have left some: they are no result.
    """
    single = [folder / RESULT] if (folder / RESULT).is_file() else []
    encoders, decoders = (sorted(folder.glob(f"*_{half}.safetensors")) for half in HALVES)
    weights, settings = folder / DIFFUSERS_WEIGHTS, folder / DIFFUSERS_SETTINGS
    whole = [file for file in (weights, settings) if file.is_file()] if weights.is_file() else []
    return single or whole or ([*decoders, *encoders] if encoders and decoders else [])

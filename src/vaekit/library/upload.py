"""Upload a finished run to the Hub (`vaekit push`), without checkpoints, logs and held-out images.

Run folders may contain private data such as photographs: by default only the result, the model card and its
images are uploaded; other files must be named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

from vaekit.errors import CannotPush, NotFound, counted, printable, system_errors
from vaekit.families import HALVES
from vaekit.formats.paths import DIFFUSERS_SETTINGS, DIFFUSERS_WEIGHTS
from vaekit.library.hub_errors import upload_errors
from vaekit.reading import read_text
from vaekit.version import __version__

CARD, IMAGE_FOLDERS = "README.md", ("images", "pictures")
"""Folders of the model card's images; older versions used `pictures`."""
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
RESULT = "vae.safetensors"
"""The result of a run, if it is one file."""
MESSAGE = "Upload with vaekit"


@dataclass(frozen=True)
class UploadResult:
    """The result of an upload, or of a dry run."""

    repo: str
    address: str
    files: tuple[str, ...]
    """Paths in the repository."""
    bytes: int
    commit: str
    """The URL of the commit; empty if nothing was uploaded."""


@system_errors()
def files_to_upload(run: Path, also: Sequence[str] = ()) -> list[Path]:
    """The files of a run to upload: weights, their settings, the model card, its images.

    Args:
        run: the folder.
        also: patterns of further files, by their paths in the folder: `recipe.json`, `checkpoints/*`. One without a
            slash matches files in the folder itself only.

    Raises:
        NotFound: there is no result in the folder, or no file matches a pattern.
    """
    weights = weights_files(run)
    if not weights:
        raise NotFound(
            f"There is no finished run in {run}.",
            "Expected the result of `vaekit finetune` or `vaekit train`.",
            "Finish the run first; the same command resumes it.",
        )
    card = [run / CARD] if (run / CARD).is_file() else []
    return list(dict.fromkeys([*weights, *card, *images_of_card(run), *requested_files(run, also)]))


def images_of_card(run: Path) -> list[Path]:
    """The images of the model card. A run of `vaekit train` has others under the same name, and no model card."""
    if not (run / CARD).is_file():
        return []
    text = unquote(read_text(run / CARD, errors="replace"))
    images = [file for folder in IMAGE_FOLDERS for file in sorted((run / folder).glob("*"))]
    return [file for file in images if file.suffix in IMAGE_ENDINGS and f"{file.parent.name}/{file.name}" in text]


def requested_files(run: Path, also: Sequence[str]) -> list[Path]:
    """The files that match patterns; see `files_to_upload`.

    Raises:
        NotFound: a pattern matches no file.
    """
    everything = [file.relative_to(run) for file in sorted(run.rglob("*")) if file.is_file()]
    requested: list[Path] = []
    for pattern in also:
        near = [path for path in everything if "/" in pattern or len(path.parts) == 1]
        matches = [run / path for path in near if fnmatch(path.as_posix(), pattern)]
        if not matches:
            raise NotFound(
                f"No file in {run} matches {printable(pattern)}.",
                "",
                "Omit it, or name another file; include its subfolder, as in held_out/0000.png.",
            )
        requested += matches
    return requested


def push(
    run: Path,
    repo: str,
    private: bool = False,
    also: Sequence[str] = (),
    dry: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> UploadResult:
    """Upload a run to the Hub in one commit. The repository is created if needed; other files in it are kept.

    The token is that of huggingface_hub: from HF_TOKEN or `hf auth login`.

    Args:
        run: the folder.
        repo: "owner/name"; a name alone is a repository of the user.
        private: whether a new repository is private. An existing one is not changed.
        also: see `files_to_upload`.
        dry: only report what would be done, without network access.
        say: called with progress messages.

    Raises:
        NotFound: there is nothing to upload.
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
            "No token for the Hub was found, which uploads require.",
            f"Expected one in HF_TOKEN, or from `hf auth login`, with write access to {printable(repo)}.",
            f"Create a token with write access at {constants.ENDPOINT}/settings/tokens.",
        )
    api = HfApi(library_name="vaekit", library_version=__version__)
    with upload_errors(repo):
        url = api.create_repo(repo, private=private or None, exist_ok=True)
        say(f"Uploading {counted(len(files), 'file')} to {url}")
        operations = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in zip(names, files, strict=True)
        ]
        commit = api.create_commit(url.repo_id, operations, commit_message=MESSAGE)
    return UploadResult(url.repo_id, str(url), names, size, commit.commit_url)


def weights_files(folder: Path) -> list[Path]:
    """The result files of a finished run: weights, and the settings of a diffusers folder.

    An incomplete set of files, as after a crash, is not a result.
    """
    single = [folder / RESULT] if (folder / RESULT).is_file() else []
    encoders, decoders = (sorted(folder.glob(f"*_{half}.safetensors")) for half in HALVES)
    weights, settings = folder / DIFFUSERS_WEIGHTS, folder / DIFFUSERS_SETTINGS
    whole = [file for file in (weights, settings) if file.is_file()] if weights.is_file() else []
    return single or whole or ([*decoders, *encoders] if encoders and decoders else [])

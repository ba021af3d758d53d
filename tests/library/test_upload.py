"""`push` to a stand-in Hub, and `get` back: what arrives, what stays here, and what is said when it cannot be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from family_examples import EXAMPLES
from refusals import refuses

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import CannotPush, NotFound
from vaekit.families import assemble, family_with
from vaekit.identification.fingerprint import fingerprint
from vaekit.library.download import get
from vaekit.library.upload import files_to_upload, push
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")
"""What huggingface_hub 2.4 does to the network library below it."""
Hub = Any
NORMALIZATION = LatentNormalization((0.1,), (0.5,))


def small(name: str) -> VAE:
    torch.manual_seed(0)
    family = family_with(EXAMPLES[name])
    assert family is not None
    return assemble(family, EXAMPLES[name], normalization=NORMALIZATION).eval()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a run leaves: the result, a card with an image, and what is nobody else's business."""
    folder = tmp_path / "run"
    save(small("kl"), folder / "vae.safetensors")
    for name in ("images/crop_1.png", "log.jsonl", "recipe.json", "checkpoints/1/state.safetensors"):
        put(folder / name)
    (folder / "README.md").write_text("![A crop](images/crop_1.png)")
    return folder


def put(path: Path) -> None:
    """Some file or other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")


def names(hub: Hub) -> list[str]:
    return sorted(name.removeprefix("someone/anime/") for name in hub.files)


def test_there_and_back(hub: Hub, run: Path, token: None) -> None:
    pushed = push(run, "someone/anime", private=True)
    assert pushed.files == ("vae.safetensors", "README.md", "images/crop_1.png")
    assert pushed.commit.startswith(f"{hub.url}/someone/anime/commit/")
    assert names(hub) == ["README.md", "images/crop_1.png", "vae.safetensors"]
    assert hub.private == {"someone/anime": True}
    assert {asked.token for asked in hub.asked if "/models/" in asked.path} == {"Bearer hf_secret"}
    gotten = get("someone/anime")
    assert gotten.name == "anime", "a file called vae is called as its repository"
    back = load(gotten.name)
    assert fingerprint(back) == fingerprint(load(run)) and back.normalization == NORMALIZATION
    push(run, "someone/anime")  # once more: the repository is there
    assert hub.private == {"someone/anime": True}


@pytest.mark.parametrize("layout", ["diffusers", "tiny"])
def test_two_files_go_together(hub: Hub, tmp_path: Path, token: None, layout: str) -> None:
    save(small("tiny"), tmp_path / "run", layout)
    pushed = push(tmp_path / "run", "someone/little")
    assert len(pushed.files) == 2
    gotten = get("someone/little")
    assert gotten.path.is_dir() and gotten.name == "little"
    assert fingerprint(load(gotten.path)) == fingerprint(load(tmp_path / "run"))
    assert fingerprint(load("little")) == fingerprint(load(tmp_path / "run"))


def test_a_dry_run_asks_nobody(hub: Hub, run: Path) -> None:
    pushed = push(run, "someone/anime", dry=True)
    assert (len(pushed.files), pushed.commit, hub.asked) == (3, "", [])
    assert pushed.bytes == sum((run / name).stat().st_size for name in pushed.files)


def test_more_goes_only_where_it_is_asked_for(run: Path) -> None:
    asked = [file.relative_to(run).as_posix() for file in files_to_upload(run, ["*.json", "checkpoints/*"])]
    assert asked[3:] == ["recipe.json", "checkpoints/1/state.safetensors"]
    with refuses(NotFound, "*.gif"):
        files_to_upload(run, ["*.gif"])


def told(run: Path, *also: str) -> list[str]:
    """What would be sent beside the weights."""
    return [file.relative_to(run).as_posix() for file in files_to_upload(run, also)][1:]


def test_only_images_that_the_card_shows_are_sent(run: Path) -> None:
    for name in ("00000100.png", "crop_1.jpg", "my crop.png"):
        put(run / "images" / name)
    assert told(run) == ["README.md", "images/crop_1.png"]
    (run / "README.md").write_text('<img src="images/my%20crop.png">')
    assert told(run) == ["README.md", "images/my crop.png"]
    (run / "README.md").unlink()  # `vaekit train` leaves none, and progress with held-out images
    assert told(run) == []


def test_a_pattern_without_a_slash_stays_at_the_top(run: Path) -> None:
    for name in ("held_out/0000.png", "checkpoints/1/state.json", "loss.png"):
        put(run / name)
    ours = ["README.md", "images/crop_1.png"]
    assert told(run, "*.png") == [*ours, "loss.png"]
    assert told(run, "*.json") == [*ours, "recipe.json"]
    assert told(run, "*.safetensors") == ours
    assert told(run, "held_out/*.png") == [*ours, "held_out/0000.png"]
    with refuses(NotFound, "0000.png"):
        told(run, "0000.png")


@pytest.mark.parametrize("left", ["config.json", "small_encoder.safetensors"])
def test_what_a_crash_left_is_no_finished_run(tmp_path: Path, left: str) -> None:
    put(tmp_path / "run" / left)
    with refuses(NotFound, "run"):
        files_to_upload(tmp_path / "run")


def test_an_unfinished_run_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        push(tmp_path, "someone/anime")


def test_without_a_token_nobody_is_asked(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with refuses(CannotPush, "HF_TOKEN", "hf auth login"):
        push(run, "someone/anime")
    assert hub.asked == []


@pytest.mark.parametrize("place", ["repos/create", "preupload", "commit/main", "/info/lfs/", "/lfs/"])
@pytest.mark.parametrize("status", [401, 403, 404, 418])
def test_a_refusal_is_told_plainly(hub: Hub, run: Path, token: None, place: str, status: int) -> None:
    hub.refused = {place: status}
    with refuses(CannotPush, "someone/anime") as told:
        push(run, "someone/anime")
    assert "\n" not in str(told.value) and "secret" not in str(told.value)
    assert hub.files == {}


def test_no_network(run: Path, token: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with refuses(CannotPush, "127.0.0.1:9"):
        push(run, "someone/anime")


def test_no_name_of_a_repository(run: Path, token: None) -> None:
    with refuses(CannotPush, "a/b/c"):
        push(run, "a/b/c")

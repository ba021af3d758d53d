"""`get` against a stand-in Hub: whole, hashed, resumed, refused; never half a file under a final name."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import refuses

from vaekit.errors import CannotFetch, CannotWrite, NotFound, VaekitError, WrongHash
from vaekit.library.download import get
from vaekit.library.names import locate_vae

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
Hub = Any
WithCard = Callable[..., None]


@pytest.fixture
def known(hub: Hub, with_entry: WithCard) -> None:
    """A entry "known" whose file the stand-in has."""
    with_entry("known", WEIGHTS)
    hub.files["owner/name/vae.safetensors"] = WEIGHTS


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_known_vae_becomes_a_plain_file(hub: Hub, known: None, models: Path) -> None:
    seen: list[tuple[int, int]] = []
    gotten = get("known", progress=lambda done, total: seen.append((done, total)))
    assert (gotten.name, gotten.path) == ("known", models / "known.safetensors")
    assert (gotten.sha256, gotten.bytes, gotten.verified, gotten.how) == (DIGEST, 1 << 20, True, "downloaded")
    assert gotten.path.read_bytes() == WEIGHTS
    assert [path.name for path in models.iterdir()] == ["known.safetensors"]
    assert seen[-1] == (1 << 20, 1 << 20)
    assert gotten.path.stat().st_mode & 0o044 == 0o044 & ~current_mask()


def current_mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_second_get_asks_nobody(hub: Hub, known: None) -> None:
    get("known")
    hub.asked.clear()
    again = get("known")
    assert (again.how, again.verified, hub.asked) == ("already present", True, [])


def test_a_file_of_another_name_is_recognized(hub: Hub, known: None, models: Path) -> None:
    (models / "deep").mkdir()
    (models / "deep" / "my favorite.ckpt").write_bytes(WEIGHTS)
    gotten = get("known")
    assert gotten.path == models / "deep" / "my favorite.ckpt"
    assert hub.asked == []


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, known: None) -> None:
    hub.cuts = [300_000, 200_000]
    assert get("known").sha256 == DIGEST
    starts = [int(request.range.removeprefix("bytes=").rstrip("-") or 0) for request in hub.gets]
    assert starts == [0, 300_000, 500_000]


def test_after_giving_up_the_next_call_goes_on(hub: Hub, known: None, models: Path) -> None:
    hub.cuts = [700_000, 0, 0, 0, 0, 0]
    with refuses(CannotFetch, "700,000", "1,048,576"):
        get("known")
    assert visible(models) == []
    hub.asked.clear()
    hub.cuts = []
    assert get("known").sha256 == DIGEST
    assert [request.range for request in hub.gets] == ["bytes=700000-"]
    assert [path.name for path in models.iterdir()] == ["known.safetensors"]


def test_a_server_without_ranges_sends_all_again(hub: Hub, known: None) -> None:
    hub.ranges = False
    hub.cuts = [700_000]
    assert get("known").sha256 == DIGEST
    assert len(hub.gets) == 2


@pytest.mark.parametrize("left", [b"rubbish" * 200_000, b"x" * 1000])
def test_a_part_that_is_no_start_of_the_file_does_no_harm(hub: Hub, known: None, models: Path, left: bytes) -> None:
    (models / f".known.safetensors.{DIGEST[:12]}.part").write_bytes(left)
    if len(left) < len(WEIGHTS):
        with pytest.raises(WrongHash):
            get("known")
        assert list(models.iterdir()) == []
    assert get("known").sha256 == DIGEST


def test_wrong_bytes_are_thrown_away(hub: Hub, known: None, models: Path) -> None:
    wrong = WEIGHTS[::-1]
    hub.files["owner/name/vae.safetensors"] = wrong
    hub.lie = DIGEST  # the announcement is right, the content is not
    with pytest.raises(WrongHash) as told:
        get("known")
    assert DIGEST in str(told.value) and hashlib.sha256(wrong).hexdigest() in str(told.value)
    assert list(models.iterdir()) == []


def test_another_file_at_the_hub_is_not_even_fetched(hub: Hub, known: None) -> None:
    hub.files["owner/name/vae.safetensors"] = WEIGHTS[::-1]
    with refuses(WrongHash, "owner/name") as told:
        get("known")
    assert DIGEST in str(told.value)
    assert hub.gets == []


def test_another_file_in_the_way_is_left_alone(hub: Hub, known: None, models: Path) -> None:
    (models / "known.safetensors").write_bytes(b"mine")
    with refuses(WrongHash, "--as"):
        get("known")
    assert (models / "known.safetensors").read_bytes() == b"mine"
    assert get("known", name="theirs").path == models / "theirs.safetensors"


def test_a_hash_of_one_source_is_said_to_be(hub: Hub, known: None, with_entry: WithCard) -> None:
    with_entry("doubtful", WEIGHTS, verified=False)
    gotten = get("doubtful")
    assert not gotten.verified
    assert gotten.notes


def test_no_known_hash_is_told_with_the_one_computed(hub: Hub, known: None, with_entry: WithCard) -> None:
    with_entry("new", WEIGHTS, sha256="", verified=False)
    gotten = get("new")
    assert (gotten.sha256, gotten.verified) == (DIGEST, False)
    assert DIGEST in gotten.notes[0]
    assert get("new", sha256=DIGEST.upper()).verified
    with pytest.raises(WrongHash):
        get("new", sha256="0" * 64)


def test_what_the_hub_announces_is_held_against_what_comes(hub: Hub, with_entry: WithCard, models: Path) -> None:
    with_entry("new", WEIGHTS, sha256="", verified=False)
    hub.files["owner/name/vae.safetensors"] = WEIGHTS
    hub.lie = "0" * 64
    with refuses(WrongHash, "0" * 64):
        get("new")
    assert list(models.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "headers", "facts"),
    [
        (401, {"X-Error-Code": "GatedRepo"}, ["HF_TOKEN", "owner/name"]),
        (403, {"X-Error-Message": "not on the list"}, ["not on the list", "HF_TOKEN"]),
        (401, {}, ["owner/name"]),
        (404, {"X-Error-Code": "EntryNotFound"}, ["owner/name/vae.safetensors"]),
        (404, {"X-Error-Code": "RepoNotFound"}, ["owner/name/vae.safetensors"]),
        (500, {}, ["500"]),
        (503, {}, []),
        (429, {}, []),
        (418, {}, []),
    ],
)
def test_a_refusal_is_told_plainly(
    hub: Hub, known: None, models: Path, status: int, headers: dict[str, str], facts: list[str]
) -> None:
    hub.status, hub.headers = status, headers
    with refuses(CannotFetch, *facts) as told:
        get("known")
    assert "\n" not in str(told.value)
    assert list(models.iterdir()) == []


def test_a_token_is_sent_and_told(hub: Hub, known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    get("known")
    assert {request.token for request in hub.asked} == {"Bearer hf_secret"}
    hub.status, hub.headers = 403, {"X-Error-Code": "GatedRepo"}
    with refuses(CannotFetch, "HF_TOKEN") as told:
        get("known", name="again", sha256="0" * 64)
    assert "secret" not in str(told.value)


def test_no_server_at_all(known: None, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    for address in ("http://127.0.0.1:9", "nonsense", "http://no.such.host.invalid"):
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        with refuses(CannotFetch, address):
            get("known")


def test_a_full_disk_is_told_before_it_is_full(hub: Hub, known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with refuses(CannotWrite, "1,000"):
        get("known")
    assert hub.gets == []


def test_two_at_once(hub: Hub, known: None) -> None:
    hub.stall = threading.Event()
    first = threading.Thread(target=get, args=("known",))
    first.start()
    while not hub.gets:
        time.sleep(0.01)
    with refuses(CannotFetch, "known"):
        get("known")
    hub.stall.set()
    first.join()
    assert get("known").how == "already present"


@pytest.mark.parametrize(
    "name",
    [
        "some/repo/sub/vae.safetensors",
        "https://huggingface.co/some/repo/blob/main/sub/vae.safetensors",
        "https://huggingface.co/some/repo/resolve/main/sub/vae.safetensors?download=true",
        "hf://some/repo/sub/vae.safetensors",
        "some/repo",
    ],
)
def test_any_file_of_the_hub(hub: Hub, models: Path, name: str) -> None:
    hub.files = {"some/repo/sub/vae.safetensors": WEIGHTS, "some/repo/unet.safetensors": b"0", "some/repo/b.bin": b"1"}
    gotten = get(name)
    assert (gotten.path, gotten.verified) == (models / "vae.safetensors", False)
    assert get(name).how == "already present"


def test_a_file_of_a_card_by_its_address_is_that_card(hub: Hub, known: None) -> None:
    assert get("owner/name/vae.safetensors").name == "known"


CONFIG = b'{"_class_name": "AutoencoderKL"}'


@pytest.mark.parametrize(
    ("name", "folder", "called"),
    [
        ("some/model", "vae/", "model"),
        ("some/model", "", "model"),
        ("some/model/vae/diffusion_pytorch_model.safetensors", "vae/", "model"),
        ("some/model/tree/main/vae_1_0", "vae_1_0/", "vae_1_0"),
    ],
)
def test_a_diffusers_vae_is_a_folder(hub: Hub, models: Path, name: str, folder: str, called: str) -> None:
    hub.files = {
        f"some/model/{folder}diffusion_pytorch_model.fp16.safetensors": b"half",
        f"some/model/{folder}diffusion_pytorch_model.safetensors": WEIGHTS,
        f"some/model/{folder}config.json": CONFIG,
        "some/model/unet/diffusion_pytorch_model.safetensors": b"unet",
        "some/model/checkpoint.safetensors": b"all",
    }
    gotten = get(name)
    assert (gotten.path, gotten.sha256) == (models / called, DIGEST)
    assert visible(models) == [called]
    assert visible(models / called) == ["config.json", "diffusion_pytorch_model.safetensors"]
    hub.asked.clear()
    assert get(name).how == "already present"
    assert hub.gets == []


@pytest.mark.parametrize("name", ["some/model", "some/model/vae/diffusion_pytorch_model-00002-of-00002.safetensors"])
def test_all_shards_are_downloaded(hub: Hub, models: Path, name: str) -> None:
    shards = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    hub.files = {f"some/model/vae/{shard}": WEIGHTS for shard in shards} | {"some/model/vae/config.json": CONFIG}
    gotten = get(name)
    assert visible(gotten.path) == ["config.json", *shards]


def test_an_interrupted_folder_has_no_name_and_goes_on(hub: Hub, models: Path) -> None:
    hub.files = {"some/model/config.json": CONFIG, "some/model/diffusion_pytorch_model.safetensors": WEIGHTS}
    hub.cuts = [len(CONFIG), 600_000, 0, 0, 0, 0, 0]
    with pytest.raises(CannotFetch):
        get("some/model")
    assert visible(models) == []
    hub.asked.clear()
    hub.cuts = []
    assert get("some/model").path == models / "model"
    assert [request.range for request in hub.gets] == ["bytes=600000-"]
    assert [path.name for path in models.iterdir()] == ["model"]


def test_a_repository_without_a_vae(hub: Hub, models: Path) -> None:
    hub.files = {
        "some/unet/config.json": b'{"_class_name": "UNet2DConditionModel"}',
        "some/unet/diffusion_pytorch_model.safetensors": b"0",
        "some/many/a.safetensors": b"0",
        "some/many/b.safetensors": b"0",
        "some/none/README.md": b"0",
    }
    for repo, facts in (
        ("unet", ["UNet2DConditionModel"]),
        ("many", ["a.safetensors", "b.safetensors"]),
        ("none", ["0"]),
    ):
        with refuses(CannotFetch, *facts):
            get(f"some/{repo}")
    with refuses(CannotFetch, "some/absent"):
        get("some/absent")
    assert list(models.iterdir()) == []


@pytest.mark.parametrize("name", ["nonsense", "", "../x", "a/../b", "o/r/../../etc/passwd.pt", "x" * 5000, "a b/c"])
def test_no_name_at_all(hub: Hub, models: Path, name: str) -> None:
    with pytest.raises(VaekitError):
        get(name)
    assert list(models.iterdir()) == []
    with refuses(NotFound, "sd-vae-ft-mse"):
        get("sd-vae-ft-ms")


def test_the_hubs_own_cache_is_linked_and_not_copied(
    hub: Hub, known: None, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    blob = Path(hf_hub_download("owner/name", "vae.safetensors")).resolve()
    hub.asked.clear()
    with locate_vae("known") as path:  # its name works before it is anywhere else
        assert path.resolve() == blob
    gotten = get("known")
    assert (gotten.how, gotten.verified) == ("linked from the Hub's cache", True)
    assert gotten.path.samefile(blob)
    assert hub.asked == []


def test_the_hubs_own_cache_with_other_content_is_not_taken(
    hub: Hub, known: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    hub.files["owner/name/vae.safetensors"] = b"old"
    hf_hub_download("owner/name", "vae.safetensors")
    hub.files["owner/name/vae.safetensors"] = WEIGHTS
    assert get("known").how == "downloaded"


def test_the_builtin_one_is_there(models: Path) -> None:
    gotten = get("builtin")
    assert gotten.how == "part of the package"
    assert list(models.iterdir()) == []


def command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    call = [sys.executable, "-m", "vaekit", "get", *map(str, arguments)]
    return subprocess.Popen(
        call, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_killed_in_the_middle_and_run_again(hub: Hub, models: Path) -> None:
    hub.files["some/repo/vae.safetensors"] = WEIGHTS
    hub.stall = threading.Event()
    running = command("some/repo/vae.safetensors")
    while not any(path.stat().st_size >= len(WEIGHTS) // 2 for path in models.iterdir()):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert visible(models) == []
    hub.stall.set()
    hub.asked.clear()
    again = command("some/repo/vae.safetensors", "--sha256", DIGEST, "--json")
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert f'"sha256": "{DIGEST}"' in out and '"verified": true' in out
    assert [request.range for request in hub.gets] == [f"bytes={len(WEIGHTS) // 2}-"]
    assert [path.name for path in models.iterdir()] == ["vae.safetensors"]


def test_offline_by_the_environment(hub: Hub, models: Path) -> None:
    running = command("sd-vae-ft-mse", HF_HUB_OFFLINE="1")
    out, err = running.communicate()
    assert (running.returncode, out) == (1, "")
    assert "HF_HUB_OFFLINE" in err and "blob/main/vae-ft-mse-840000" in err
    assert len(err.strip().splitlines()) == 1
    assert hub.asked == []


def test_a_disk_that_fills_up(hub: Hub, models: Path) -> None:
    hub.files["some/repo/vae.safetensors"] = WEIGHTS
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))"
    code = f"{limit}; import sys; sys.argv[0] = 'vaekit'; from vaekit.cli import main; main()"
    call = [sys.executable, "-c", code, "get", "some/repo/vae.safetensors"]
    said = subprocess.run(call, capture_output=True, text=True)
    assert said.returncode == 1, said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
    assert "Traceback" not in said.stderr
    assert visible(models) == []

"""What bad input gets: exit status 1 and one paragraph, no traceback, nothing half-written."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from slow_cases import nightly

from vaekit.cli import status_of_verb
from vaekit.runtime.engine import Engine

Run = Callable[..., Any]


def assert_told(said: Any, *words: str) -> None:
    """A user error: one paragraph on stderr that says these things, and nothing that looks like a crash."""
    assert said.code == 1
    assert "Traceback" not in said.err
    assert len(said.err.strip().splitlines()) == 1, said.err
    for word in words:
        assert word in said.err, said.err


@pytest.fixture
def broken_vae(vae_file: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, torch.Tensor]], None]], Path]:
    """The small VAE's tensors, changed, under the same metadata."""

    def make(change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
        tensors = load_file(vae_file)
        change(tensors)
        with safe_open(vae_file, framework="pt") as file:
            save_file(tensors, tmp_path / "broken.safetensors", file.metadata())
        return tmp_path / "broken.safetensors"

    return make


def test_a_missing_image(run: Run, vae_file: Path, tmp_path: Path) -> None:
    assert_told(run("reconstruct", tmp_path / "none.png", "--vae", vae_file, "-o", tmp_path), "none.png")


def test_a_missing_vae(run: Run, photo: Path, tmp_path: Path) -> None:
    said = run("reconstruct", photo, "--vae", "sdxxl", "-o", tmp_path / "out")
    assert_told(said, "sdxxl", "builtin")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"this is a text file, whatever its name says", b"\x89PNG\r\n\x1a\n"])
def test_no_image_behind_the_name(run: Run, vae_file: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert_told(run("reconstruct", tmp_path / "x.png", "--vae", vae_file, "-o", tmp_path / "out"), "x.png")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_decompression_bomb(run: Run, vae_file: Path, tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert_told(run("reconstruct", tmp_path / "bomb.png", "--vae", vae_file, "-o", tmp_path / "out"), "178,956,970")


@pytest.mark.parametrize("kept", [0, 7, 100, 4000])
def test_a_truncated_vae(run: Run, vae_file: Path, photo: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "cut.safetensors").write_bytes(vae_file.read_bytes()[:kept])
    assert_told(run("reconstruct", photo, "--vae", tmp_path / "cut.safetensors", "-o", tmp_path), "cut.safetensors")


def test_one_tensor_missing(run: Run, broken_vae: Any) -> None:
    path = broken_vae(lambda tensors: tensors.pop("decoder.mid.block_1.conv1.weight"))
    assert_told(run("inspect", path), "decoder.mid.block_1.conv1.weight")


def test_one_tensor_too_many(run: Run, broken_vae: Any) -> None:
    path = broken_vae(lambda tensors: tensors.update({"encoder.extra.weight": torch.zeros(3)}))
    assert_told(run("inspect", path), "encoder.extra.weight")


def test_a_unet_without_a_vae(run: Run, photo: Path, tmp_path: Path) -> None:
    unet = {f"model.diffusion_model.input_blocks.{i}.0.weight": torch.zeros(4, 4) for i in range(12)}
    save_file(unet, tmp_path / "unet.safetensors")
    said = run("reconstruct", photo, "--vae", tmp_path / "unet.safetensors", "-o", tmp_path)
    assert_told(said, "unet.safetensors", "UNet")


class Exploit:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.marker}'",))


@pytest.mark.parametrize("raw", [True, False], ids=["pickle", "torch zip"])
def test_an_exploit_is_refused_and_nothing_runs(run: Run, photo: Path, tmp_path: Path, raw: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.ckpt"
    content = {"state_dict": {"encoder.conv_in.weight": Exploit(marker)}}
    if raw:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    assert_told(run("reconstruct", photo, "--vae", path, "-o", tmp_path / "out"), "evil.ckpt", "safetensors")
    assert not marker.exists()


def test_a_latent_of_another_family(run: Run, vae_file: Path, photo: Path, tmp_path: Path, shared_data: Path) -> None:
    run("encode", photo, "--vae", vae_file, "-o", tmp_path)
    taesd = shared_data / "vae" / "taesd"
    said = run("decode", tmp_path / "flower.latent.safetensors", "--vae", taesd, "-o", tmp_path / "out")
    assert_told(said, "kl", "tiny", "4", "8")


def test_a_folder_that_cannot_be_made(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = run("reconstruct", photo, "--vae", vae_file, "-o", tmp_path / "file" / "out")
    assert_told(said, str(tmp_path / "file"))


def test_a_full_disk_leaves_nothing_behind(vae_file: Path, photo: Path, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    code = f"{limit}; import sys; sys.argv = ['vaekit'] + sys.argv[1:]; from vaekit.cli import main; main()"
    call = [sys.executable, "-c", code, "reconstruct", photo, "--vae", vae_file, "-o", tmp_path / "out"]
    said = subprocess.run(call, capture_output=True, text=True)
    assert said.returncode == 1, said.stderr
    assert "File too large" in said.stderr
    assert "Traceback" not in said.stderr
    assert list((tmp_path / "out").iterdir()) == []


def full_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room for so many files."""
    settle, left = os.fsync, iter(range(writes))

    def fsync(file: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        settle(file)

    monkeypatch.setattr(os, "fsync", fsync)


def many(photo: Path, folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        shutil.copy(photo, folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("verb", ["reconstruct", "encode"])
@pytest.mark.parametrize("written", [0, 3])
def test_a_full_disk_is_told_once_and_no_more_is_begun(
    run: Run, vae_file: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, written: int
) -> None:
    images, out = many(photo, tmp_path / "in", 20), tmp_path / "out"
    full_after(written, monkeypatch)
    said = run(verb, images, "--vae", vae_file, "-o", out, "--json")
    assert said.code == 1
    assert said.err.count("No space left") == 1
    assert len(said.err.strip().splitlines()) == 2
    assert f"{20 - written - 1} more" in said.err
    done = said.json["images" if verb == "reconstruct" else "latents"]
    assert sorted(Path(one["output"]) for one in done) == sorted(out.iterdir())
    assert len(done) == written
    failures = said.json["failures"]
    told = [Path(one["image"]) for one in done] + [Path(failure["path"]) for failure in failures]
    assert sorted(told) == sorted(images.iterdir())
    assert all("No space left" in failure["error"] for failure in failures)


def test_a_folder_that_refuses_is_told_once(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    images = many(photo, tmp_path / "in", 8)
    said = run("reconstruct", images, "--vae", vae_file, "-o", tmp_path / "file" / "out")
    assert said.code == 1
    assert len(said.err.strip().splitlines()) == 2
    assert "7 more" in said.err


def test_an_interrupt_ends_a_folder(
    run: Run, vae_file: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = many(photo, tmp_path / "in", 20), tmp_path / "out"
    decode, left = Engine.decode, iter(range(4))

    def interrupted(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return decode(*arguments)

    monkeypatch.setattr(Engine, "decode", interrupted)
    said = run("reconstruct", images, "--vae", vae_file, "-o", out)
    assert said.code != 0
    assert "Traceback" not in said.err
    assert {path.suffix for path in out.iterdir()} == {".png"}
    for path in out.iterdir():
        with Image.open(path) as image:
            image.load()


def test_an_error_is_an_object_for_programs(run: Run, tmp_path: Path) -> None:
    told = run("inspect", tmp_path / "none", "--json").json["error"]
    assert told["kind"] == "NotFound"
    assert told["found"]


def test_wrong_usage_is_status_2(run: Run) -> None:
    assert run("reconstruct", "--no-such-option").code == 2
    assert run("convert", "a", "b", "--layout", "nonsense").code == 2


@pytest.mark.parametrize(("option", "value"), [("--dtype", "int3"), ("--device", "toaster")])
def test_a_plan_that_cannot_be(run: Run, vae_file: Path, photo: Path, tmp_path: Path, option: str, value: str) -> None:
    assert_told(run("reconstruct", photo, "--vae", vae_file, "-o", tmp_path, option, value), value)


@pytest.mark.parametrize("text", ["[enforce fail at alloc_cpu.cpp:127] can't allocate memory", "CUDA out of memory"])
def test_a_failed_allocation_of_torch_is_told(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(**_: object) -> int:
        raise RuntimeError(text)

    monkeypatch.setattr("vaekit.cli.app", failing)
    assert status_of_verb(as_json=False) == 1
    assert "memory" in capsys.readouterr().err


def test_other_runtime_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(**_: object) -> int:
        raise RuntimeError("a defect of vaekit")

    monkeypatch.setattr("vaekit.cli.app", failing)
    with pytest.raises(RuntimeError, match="a defect"):
        status_of_verb(as_json=False)


@pytest.mark.parametrize("closed", ["1", *nightly("2", "1 2", "0 1 2")])
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_closed_streams_are_no_crash(closed: str, as_json: list[str], vae_file: Path, tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        f"for number in {closed!r}.split(): os.close(int(number))\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'vaekit', *sys.argv[1:]])"
    )
    arguments = ["inspect", str(vae_file), "--no-hash", *as_json]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr

"""Every option that takes a path, with every kind of path that cannot be used: a user error, no traceback, no hang."""

import ctypes
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.cli import main
from vaekit.families import assemble, family_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.normalization import LatentNormalization

PATIENCE = 20
"""Seconds after which a command counts as hanging; it takes a tenth of one."""
HUGE = 10**11
"""Bytes of a sparse file, which takes no space on disk."""
BAD, VAE, IMAGES, OUT = "BAD", "VAE", "IMAGES", "OUT"
"""Stand for paths in the commands below."""

SHORT = ("--samples", "2", "--set", "schedule.batch_size=1", "--set", "schedule.warmup_samples=1")
COMMANDS: dict[str, tuple[str, ...]] = {
    "reconstruct ITEM": ("reconstruct", BAD, "--vae", VAE, "-o", OUT),
    "reconstruct --vae": ("reconstruct", IMAGES, "--vae", BAD, "-o", OUT),
    "reconstruct --models": ("reconstruct", IMAGES, "--vae", "none", "--models", BAD, "-o", OUT),
    "reconstruct --out": ("reconstruct", IMAGES, "--vae", VAE, "-o", BAD),
    "reconstruct --explain": ("reconstruct", BAD, "--vae", VAE, "--explain", "-o", OUT),
    "encode ITEM": ("encode", BAD, "--vae", VAE, "-o", OUT, "--json"),
    "encode --out": ("encode", IMAGES, "--vae", VAE, "-o", BAD),
    "decode ITEM": ("decode", BAD, "--vae", VAE, "-o", OUT),
    "compare IMAGE": ("compare", BAD, "--vae", VAE, "-o", f"{OUT}/x.html"),
    "compare --images": ("compare", "--images", BAD, "--vae", VAE, "-o", f"{OUT}/x.html"),
    "compare --vae": ("compare", IMAGES, "--vae", BAD, "-o", f"{OUT}/x.html"),
    "compare --decode-with": ("compare", IMAGES, "--vae", VAE, "--decode-with", BAD, "-o", f"{OUT}/x.html"),
    "compare --originals": ("compare", "--originals", BAD, "--reconstructions", IMAGES, "-o", f"{OUT}/x.html"),
    "compare --reconstructions": ("compare", "--originals", IMAGES, "--reconstructions", BAD, "-o", f"{OUT}/x.html"),
    "compare --out": ("compare", "none", "--vae", VAE, "-o", f"{BAD}/x.html"),
    "doctor --vae": ("doctor", "--vae", BAD),
    "doctor --images": ("doctor", "--vae", VAE, "--images", BAD),
    "evaluate --data": ("evaluate", "--data", BAD, "--vae", VAE),
    "evaluate --vae": ("evaluate", "--data", IMAGES, "--vae", BAD),
    "evaluate --out": ("evaluate", "--data", IMAGES, "--vae", VAE, "--out", BAD, "--lpips", "none"),
    "evaluate --features": ("evaluate", "--data", IMAGES, "--vae", VAE, "--features", BAD),
    "evaluate --lpips": ("evaluate", "--data", IMAGES, "--vae", VAE, "--lpips", BAD),
    "train RECIPE": ("train", BAD, "--data", IMAGES, "--out", OUT),
    "train --data": ("train", "mnist-mlp", "--data", BAD, "--out", OUT, *SHORT),
    "train --data, rows": ("train", "tables", "--data", BAD, "--out", OUT, *SHORT),
    "train --data, text": ("train", "text", "--data", BAD, "--out", OUT, *SHORT),
    "train --out": ("train", "mnist-mlp", "--data", IMAGES, "--out", BAD, "--set", "vae.net.hidden=[4]", *SHORT),
    "finetune --recipe": ("finetune", "--recipe", BAD, "--vae", VAE, "--data", IMAGES, "--out", OUT),
    "finetune --data": ("finetune", "--vae", VAE, "--data", BAD, "--out", OUT, *SHORT),
    "finetune --vae": ("finetune", "--vae", BAD, "--data", IMAGES, "--out", OUT),
    "finetune --lpips": ("finetune", "--vae", VAE, "--data", IMAGES, "--out", OUT, "--lpips", BAD),
    "push RUN": ("push", BAD, "someone/something", "--dry-run"),
    "inspect FILE": ("inspect", BAD),
    "diff A": ("diff", BAD, VAE),
    "diff B": ("diff", VAE, BAD, "--json"),
    "diff --images": ("diff", VAE, VAE, "--images", BAD),
    "convert IN": ("convert", BAD, f"{OUT}/x.safetensors"),
    "convert OUT": ("convert", VAE, f"{BAD}/x.safetensors"),
    "convert OUT, folder": ("convert", VAE, BAD, "--layout", "tiny"),
    "extract CHECKPOINT": ("extract", BAD, f"{OUT}/x.safetensors"),
    "bake CHECKPOINT": ("bake", BAD, VAE, f"{OUT}/x.safetensors"),
    "list --models": ("list", "--models", BAD),
}


SLOW = ("doctor --images",)


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def a_socket(folder: Path) -> Path:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as made:
        before = Path.cwd()
        os.chdir(folder)  # addresses are short
        try:
            made.bind("s")
        finally:
            os.chdir(before)
    return path


def a_loop(folder: Path) -> Path:
    (folder / "loop.png").symlink_to("loop.png")
    return folder / "loop.png"


def a_huge_file(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with open(folder / name, "wb") as file:
            file.truncate(HUGE)
        return folder / name

    return make


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("in the way")
    return folder / "file" / "x.png"


def an_empty_file(folder: Path) -> Path:
    (folder / "empty.png").touch()
    return folder / "empty.png"


def an_empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def not_utf8(folder: Path) -> Path:
    path = folder / os.fsdecode(b"caf\xe9\x1b[31m.png")
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    return path


def forbidden_file(folder: Path) -> Path:
    Image.new("RGB", (16, 16)).save(folder / "x.png")
    (folder / "x.png").chmod(0)
    return folder / "x.png"


def forbidden_folder(folder: Path) -> Path:
    (folder / "closed").mkdir()
    Image.new("RGB", (16, 16)).save(folder / "closed" / "x.png")
    (folder / "closed").chmod(0)
    return folder / "closed"


def inside_a_forbidden_folder(folder: Path) -> Path:
    return forbidden_folder(folder) / "x.png"


def a_forbidden_folder_inside(folder: Path) -> Path:
    (folder / "open").mkdir()
    Image.new("RGB", (16, 16)).save(folder / "open" / "x.png")
    forbidden_folder(folder / "open")
    return folder / "open"


def names_but_no_more(folder: Path) -> Path:
    """A folder that may be listed, but whose files may not even be looked at."""
    forbidden_folder(folder).chmod(0o444)
    return folder / "closed"


KINDS: dict[str, Callable[[Path], Path]] = {
    "a pipe": a_pipe,
    "a socket": a_socket,
    "an endless device": lambda _: Path("/dev/zero"),
    "the kernel's log": lambda _: Path("/proc/kmsg"),
    "a loop of links": a_loop,
    "a long name": lambda folder: folder / ("x" * 300),
    "a long path": lambda folder: folder.joinpath(*["x" * 200] * 30),
    "below a file": below_a_file,
    "an empty file": an_empty_file,
    "an empty folder": an_empty_folder,
    "a name that is not UTF-8": not_utf8,
    "a huge file": a_huge_file("huge"),
    "a huge table": a_huge_file("huge.csv"),
    "a huge image": a_huge_file("huge.png"),
    "huge weights": a_huge_file("huge.safetensors"),
    "a huge recipe": a_huge_file("huge.toml"),
    "a forbidden file": forbidden_file,
    "a forbidden folder": forbidden_folder,
    "inside a forbidden folder": inside_a_forbidden_folder,
    "a forbidden folder inside": a_forbidden_folder_inside,
    "a folder that may only be listed": names_but_no_more,
}


DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2
"""Linux's capabilities by which the superuser opens everything; see capabilities(7)."""


@contextmanager
def as_a_user() -> Iterator[None]:
    """This thread, and those that it starts, without the superuser's right to open everything."""
    if sys.platform != "linux":
        yield
        return
    c_library = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; two words of 32 bits each
    assert c_library.capget(header, before) == 0
    less = (ctypes.c_uint32 * 6)(*before)
    less[0] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    assert c_library.capset(header, less) == 0
    try:
        yield
    finally:
        c_library.capset(header, before)


class Hangs(BaseException):
    """A command takes too long."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny VAE, and images."""
    folder = tmp_path_factory.mktemp("places")
    torch.manual_seed(0)
    config = TinyConfig(3, 4, (), (4, 4), (4, 4), (1, 1), (1, 1), False)
    save(assemble(family_of("tiny"), config, normalization=LatentNormalization()), folder / "vae.safetensors")
    (folder / "images").mkdir()
    for i in range(3):
        Image.new("RGB", (16, 16), (i, 2 * i, 90)).save(folder / "images" / f"{i}.png")
    return {VAE: str(folder / "vae.safetensors"), IMAGES: str(folder / "images")}


def trouble_with(arguments: Sequence[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> str:
    """What is wrong with how a command ends; empty if nothing is."""
    monkeypatch.setattr(sys, "argv", ["vaekit", *arguments])
    capsys.readouterr()
    status: object = None
    try:
        with patience(PATIENCE):
            main()
    except SystemExit as ended:
        status = ended.code
    except Hangs:
        return "hangs"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    said = capsys.readouterr()
    if status not in (0, 1, 2):
        return f"ends with {status}"
    if re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", said.out + said.err):
        return f"prints control characters: {said.out + said.err!r}"
    if status and not (said.err + said.out).strip():
        return "says nothing"
    return f"prints a traceback: {said.err}" if "Traceback" in said.err else ""


def with_paths(word: str, values: Mapping[str, str]) -> str:
    """An argument with paths in place of the names that stand for them."""
    return re.sub("|".join(values), lambda name: values[name[0]], word)


Try = Callable[[str, Iterable[tuple[str, Callable[[Path], Path]]]], None]


@pytest.fixture
def try_paths(
    places: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Try]:
    """Run the command of an option with paths of some kinds; no superuser's rights help it."""

    def run(option: str, kinds: Iterable[tuple[str, Callable[[Path], Path]]]) -> None:
        troubles = []
        for number, (kind, make) in enumerate(kinds):
            folder = tmp_path / str(number)
            folder.mkdir()
            values = {**places, BAD: str(make(folder)), OUT: str(folder / "out")}
            with as_a_user():
                trouble = trouble_with([with_paths(word, values) for word in COMMANDS[option]], capsys, monkeypatch)
            if trouble:
                troubles.append(f"{kind}: {trouble}")
        assert not troubles, "\n".join(troubles)

    yield run
    for folder in tmp_path.rglob("closed"):
        folder.chmod(0o755)


@pytest.mark.parametrize("option", [option for option in COMMANDS if option not in SLOW])
def test_a_bad_path_is_a_user_error(option: str, try_paths: Try) -> None:
    """Two kinds for each option: all kinds take turns. Those of `SLOW` are tried in nightly runs."""
    start = 2 * list(COMMANDS).index(option)
    kinds = [*KINDS.items()]
    try_paths(option, [kinds[(start + step) % len(kinds)] for step in range(2)])


@pytest.mark.nightly
@pytest.mark.parametrize("option", COMMANDS)
def test_every_bad_path_is_a_user_error(option: str, try_paths: Try) -> None:
    try_paths(option, KINDS.items())

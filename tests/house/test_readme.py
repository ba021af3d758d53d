"""Every command and every line of Python in the README runs, and its file tree is the real one."""

import re
import shlex
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from PIL import Image

from vaekit.cli import main

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [content for name, content in fenced if name == language]


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the photographs of the page."""
    (tmp_path / "photos").mkdir()
    with Image.open(str(files("sklearn.datasets.images") / "china.jpg")) as photo:
        for place in ("photo.jpg", "photos/china.jpg"):
            photo.resize((192, 128)).save(tmp_path / place)
    return tmp_path


@pytest.mark.usefixtures("no_card_measures")
def test_the_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, in one process: later ones use what earlier ones wrote."""
    monkeypatch.chdir(folder)
    assert COMMANDS
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", shlex.split(command, comments=True))
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, command


def test_the_python_runs() -> None:
    (code,) = blocks("python")
    names = {"images": torch.rand(2, 3, 40, 24) * 2 - 1}
    exec(code, names)
    assert names["reconstructions"].shape == (2, 3, 40, 24)


def test_the_tree_and_the_links_are_real() -> None:
    tree = next(block for block in blocks("") if block.startswith("src/vaekit/"))
    for line in tree.splitlines():
        name = line.split()[0]
        parent = REPOSITORY / "src/vaekit" if line.startswith("  ") else REPOSITORY
        assert (parent / name).exists(), name
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (REPOSITORY / link).exists(), link


def test_make_targets_on_the_page_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for target in re.findall(r"`make (\w+)`", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target

"""The page of a running server in headless Chromium."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from running_server import RunningServer, running_server

from vaekit.serve.settings import ServeOptions

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")  # Playwright runs once at a time
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def models(vae_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two VAEs, a copy of one, and a file that is none."""
    folder = tmp_path_factory.mktemp("models of the page")
    for file in vae_folder.iterdir():
        shutil.copy(file, folder / file.name)
    shutil.copy(vae_folder / "small.safetensors", folder / "copy.safetensors")
    (folder / "broken.safetensors").write_bytes(b"no weights")
    return folder


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[RunningServer]:
    with running_server(ServeOptions((str(models / "small.safetensors"),), (models,))) as running:
        yield running


@dataclass
class Opened:
    """A page, what it said, and what it asked for."""

    page: Any
    photo: Path
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def choose(self, name: str, *, kind: str = "radio", group: str | None = None) -> None:
        """Check one of a group of choices."""
        inside = self.page if group is None else self.page.get_by_role("group", name=group)
        inside.get_by_role(kind, name=name, exact=True).check()

    def look(self) -> None:
        """Give the photograph, of 63 x 53 pixels, to the screen Look, and wait for the reconstruction."""
        self.page.set_input_files(".look input[type=file]", self.photo)
        self.page.wait_for_selector(".results article.image")


class Opener:
    """Opens pages, and in the end finds that none complained, and that none left the server."""

    def __init__(self, browser: Any, server: RunningServer, photo: Path) -> None:
        self.browser, self.server, self.photo = browser, server, photo
        self.opened: list[Opened] = []

    def __call__(self, screen: str = "look", *, phone: bool = False, **options: Any) -> Opened:
        """Open a screen.

        Args:
            screen: its name in the address.
            phone: a small touch screen.
            options: of the browser's context, such as `color_scheme`.
        """
        touch = {"has_touch": True, "is_mobile": True} if phone else {}
        context = self.browser.new_context(viewport=PHONE if phone else DESKTOP, **touch, **options)
        one = Opened(context.new_page(), self.photo)
        one.page.set_default_timeout(20_000)
        one.page.on("console", lambda message: one.said.append(message.text))
        one.page.on("pageerror", lambda error: one.said.append(str(error)))
        one.page.on("request", lambda request: one.asked.append(request.url))
        one.page.goto(f"{self.server.url}/#{screen}")
        one.page.wait_for_selector(".screen h1")
        self.opened.append(one)
        return one

    def close(self) -> None:
        for one in self.opened:
            one.page.wait_for_timeout(50)
            foreign = [url for url in one.asked if not url.startswith((self.server.url, "data:", "blob:"))]
            said = one.said
            one.page.context.close()
            assert said == [] and foreign == []


@pytest.fixture
def open_page(browser: Any, server: RunningServer, photo: bytes, tmp_path: Path) -> Iterator[Opener]:
    path = tmp_path / "photo.png"
    path.write_bytes(photo)
    opener = Opener(browser, server, path)
    yield opener
    opener.close()

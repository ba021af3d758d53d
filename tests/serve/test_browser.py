"""A real browser: the page loads under its policy, and pages of other origins get nothing."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from running_server import RunningServer, running_server

from vaekit.serve.settings import ServeOptions

ATTACK = """
async ([target, type]) => {
  const body = type === null ? new Uint8Array(16) : new Blob([new Uint8Array(16)], { type });
  try {
    const mode = type === "application/json" ? "cors" : "no-cors";
    const answer = await fetch(target, { method: "POST", mode, body });
    return [answer.type, answer.status, (await answer.text()).length];
  } catch (error) {
    return ["blocked", 0, 0];
  }
}
"""


@pytest.fixture(scope="module")
def server(vae_file: Path) -> Iterator[RunningServer]:
    with running_server(ServeOptions(vaes=(str(vae_file),))) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


class Empty(http.server.BaseHTTPRequestHandler):
    """Another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>other</title>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def other_site() -> Iterator[str]:
    """The address of pages of another origin on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}/"
        site.shutdown()
        thread.join()


def test_the_page_keeps_to_its_policy(browser: Any, server: RunningServer) -> None:
    page, said, asked = browser.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.url}/")
    page.get_by_role("link", name="VAEs").click()
    page.wait_for_selector("#vaes li")
    assert page.inner_text("#vaes li h3").startswith("small")
    page.close()
    assert said == []
    assert all(url.startswith((server.url, "data:")) for url in asked)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_pages_of_other_origins_run_nothing(
    browser: Any, server: RunningServer, other_site: str, content_type: str | None
) -> None:
    page = browser.new_page()
    page.goto(other_site)
    target = f"{server.url}/decode?shape=1&shape=4&shape=1&shape=1&dtype=float32"
    kind, status, length = page.evaluate(ATTACK, [target, content_type])
    page.close()
    assert kind in ("opaque", "blocked") and (status, length) == (0, 0)
    assert 'direction="decode"' not in server.service.metrics.text()[0].decode(), "nothing was decoded"


def test_pages_of_other_origins_embed_nothing(browser: Any, server: RunningServer, other_site: str) -> None:
    """Neither in a frame nor as a script or an image."""
    page = browser.new_page()
    page.goto(other_site)
    loaded = page.evaluate(
        """(url) => new Promise((done) => {
          const script = document.createElement("script");
          script.onload = () => done(true);
          script.onerror = () => done(false);
          script.src = url;
          document.head.append(script);
        })""",
        f"{server.url}/page/main.js",
    )
    page.close()
    assert loaded is False


def test_the_own_page_decodes(browser: Any, server: RunningServer) -> None:
    """The same request as that of other sites."""
    page = browser.new_page()
    page.goto(f"{server.url}/")
    status = page.evaluate(
        """async () => {
          const body = new Blob([new Uint8Array(16)], { type: "tensor/binary" });
          const address = "/decode?shape=1&shape=4&shape=1&shape=1&dtype=float32";
          return (await fetch(address, { method: "POST", body })).status;
        }"""
    )
    page.close()
    assert status == 200
    assert 'direction="decode"' in server.service.metrics.text()[0].decode()

"""A stand-in for the Hub on this machine, with the answers that huggingface_hub relies on."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from vaekit.catalog import entries as table_of_entries

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    range: str
    token: str


@dataclass
class StandIn:
    """What the stand-in serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    """ "owner/name/path" -> content."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with a status that is an error."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next connections break, one number for each."""
    stall: threading.Event | None = None
    """Wait for it in the middle of each content."""
    ranges: bool = True
    lfs: bool = True
    """Whether a tag is the SHA-256 of the content, or the short one of a small file."""
    lie: str = ""
    """A tag to send instead."""
    asked: list[Asked] = field(default_factory=list)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    """SHA-256 -> content of large files that no commit has named yet."""
    private: dict[str, bool] = field(default_factory=dict)
    """Repositories that were made, and whether they are private."""
    refused: dict[str, int] = field(default_factory=dict)
    """A part of a path -> the status that uploads to it are answered with."""
    url: str = ""

    @property
    def gets(self) -> list[Asked]:
        return [request for request in self.asked if request.method == "GET" and "/resolve/" in request.path]

    def tag(self, content: bytes) -> str:
        return self.lie or (hashlib.sha256(content) if self.lfs else hashlib.sha1(content)).hexdigest()


def handler(hub: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path, wanted = unquote(self.path), self.headers.get("range", "")
            hub.asked.append(Asked(self.command, path, wanted, self.headers.get("authorization", "")))
            if hub.status != 200:
                return self.head(hub.status, {**hub.headers, "Content-Length": "0"})
            if path.startswith("/api/models/"):
                return self.listing(path.removeprefix("/api/models/").split("/revision/")[0])
            repo, _, rest = path.lstrip("/").partition("/resolve/")
            content = hub.files.get(f"{repo}/{rest.split('/', 1)[-1]}")
            if content is None:
                return self.head(404, {"X-Error-Code": "EntryNotFound", "Content-Length": "0"})
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.ranges else 0
            if wanted and start >= len(content):
                return self.head(416, {"Content-Length": "0"})
            told = {"X-Repo-Commit": COMMIT, "ETag": f'"{hub.tag(content)}"', "Accept-Ranges": "bytes"}
            if hub.lfs:
                told |= {"X-Linked-Etag": f'"{hub.tag(content)}"', "X-Linked-Size": str(len(content))}
            if start:
                told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.head(206 if start else 200, {**told, "Content-Length": str(len(content) - start)})
            if body:
                self.send_content(content[start:])
            return None

        def do_PUT(self) -> None:
            self.receive()

        def do_POST(self) -> None:
            self.receive()

        def receive(self) -> None:
            """Uploads: a repository is made, files are asked about, large ones come alone, a commit names all."""
            path = unquote(self.path)
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            hub.asked.append(Asked(self.command, path, "", self.headers.get("authorization", "")))
            status = next((status for part, status in hub.refused.items() if part in path), hub.status)
            if status != 200:
                return self.head(status, {**hub.headers, "Content-Length": "0"})
            if path.startswith("/lfs/"):
                hub.uploaded[hashlib.sha256(content).hexdigest()] = content
                return self.head(200, {"Content-Length": "0"})
            if path.endswith("/commit/main"):
                return self.tell(self.commit(path.removeprefix("/api/models/").removesuffix("/commit/main"), content))
            told = json.loads(content)
            if path == "/api/repos/create":
                repo = f"{told['organization'] or 'me'}/{told['name']}"
                taken = repo in hub.private
                hub.private.setdefault(repo, told.get("visibility") == "private" or told.get("private") is True)
                return self.tell({"url": f"{hub.url}/{repo}", "name": repo}, 409 if taken else 200)
            if "/preupload/" in path:
                return self.tell({"files": [{**self.mode_of(each["path"]), **each} for each in told["files"]]})
            if path.endswith("/info/lfs/objects/batch"):
                return self.tell({"transfer": "basic", "objects": [self.place_for(each) for each in told["objects"]]})
            if path == "/api/validate-yaml":
                return self.tell({"errors": [], "warnings": []})
            return self.head(404, {"Content-Length": "0"})

        def mode_of(self, name: str) -> dict[str, Any]:
            large = name.endswith((".safetensors", ".png"))
            return {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}

        def place_for(self, wanted: dict[str, Any]) -> dict[str, Any]:
            return {**wanted, "actions": {"upload": {"href": f"{hub.url}/lfs/{wanted['oid']}"}}}

        def commit(self, repo: str, content: bytes) -> dict[str, Any]:
            for line in content.splitlines():
                told = json.loads(line)
                value = told["value"]
                if told["key"] == "file":
                    hub.files[f"{repo}/{value['path']}"] = base64.b64decode(value["content"])
                elif told["key"] == "lfsFile":
                    hub.files[f"{repo}/{value['path']}"] = hub.uploaded[value["oid"]]
            return {"success": True, "commitOid": COMMIT, "commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}"}

        def tell(self, told: dict[str, Any], status: int = 200) -> None:
            text = json.dumps(told).encode()
            self.head(status, {"Content-Type": "application/json", "Content-Length": str(len(text))})
            self.wfile.write(text)

        def listing(self, repo: str) -> None:
            inside = [name.removeprefix(f"{repo}/") for name in hub.files if name.startswith(f"{repo}/")]
            if not inside:
                return self.head(404, {"X-Error-Code": "RepoNotFound", "Content-Length": "0"})
            told = json.dumps({"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in inside]})
            self.head(200, {"Content-Type": "application/json", "Content-Length": str(len(told))})
            self.wfile.write(told.encode())
            return None

        def send_content(self, content: bytes) -> None:
            half = len(content) // 2
            if hub.cuts:
                cut = hub.cuts.pop(0)
                self.wfile.write(content[:cut])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(content[:half])
            self.wfile.flush()
            if hub.stall is not None:
                hub.stall.wait(60)
            self.wfile.write(content[half:])

        def head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


@pytest.fixture(scope="session")
def standing() -> Iterator[StandIn]:
    """A server that runs as long as the tests do."""
    hub = StandIn()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(hub)) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield hub
        server.shutdown()


@pytest.fixture
def hub(standing: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A fresh stand-in that huggingface_hub takes for the Hub, in this process and in those it starts."""
    vars(standing).update(vars(StandIn(url=standing.url)))
    monkeypatch.setenv("HF_ENDPOINT", standing.url)
    from huggingface_hub import constants

    from vaekit.library import hub

    monkeypatch.setattr(constants, "ENDPOINT", standing.url)
    template = standing.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(hub, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return standing


@pytest.fixture
def with_entry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put one more entry into the table, with one file."""
    real = table_of_entries.family_facts()

    def add(name: str, content: bytes, repo: str = "owner/name", path: str = "vae.safetensors", **told: Any) -> None:
        file = {"repo": repo, "path": path, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        own = {field: told.pop(field) for field in ("space", "fp16") if field in told}
        file |= {"verified": True} | told
        entry = {"name": name, "about": "for a test", "license": "none", "file": [file]} | own
        monkeypatch.setattr(table_of_entries, "family_facts", lambda: (*real, {"family": "kl", "entry": [entry]}))
        table_of_entries.catalog_entries.cache_clear()

    yield add
    monkeypatch.undo()
    table_of_entries.catalog_entries.cache_clear()

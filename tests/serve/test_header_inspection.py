"""Headers of files that stay with the client."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

BINARY = {"Content-Type": "application/octet-stream"}


def header_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: 8 + int.from_bytes(content[:8], "little")]


def made(entries: object) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


def entries(names: list[str]) -> tuple[bytes, int]:
    """A header with a tensor of one byte for each name, and the size of its file."""
    header = made({name: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, name in enumerate(names)})
    return header, len(header) + len(names)


def test_a_vae(client: TestClient, vae_file: Path, no_paths: Callable[[str], None]) -> None:
    answer = client.post(
        "/api/inspect", params={"size": vae_file.stat().st_size}, content=header_of(vae_file), headers=BINARY
    )
    assert answer.status_code == 200, answer.text
    no_paths(answer.text)
    facts, offered = answer.json(), client.get("/api/vaes/small").json()
    same = ("family", "latent_channels", "factor", "geometry", "normalization", "parameters", "dtypes", "halves")
    assert {name: facts[name] for name in same} == {name: offered[name] for name in same}
    assert facts["runnable"] and "fingerprint" not in facts and "fingerprint" in facts["unknown"]


def test_the_weights_are_not_taken(client: TestClient, vae_file: Path) -> None:
    content = vae_file.read_bytes()
    answer = client.post("/api/inspect", params={"size": len(content)}, content=content, headers=BINARY)
    assert answer.status_code in (413, 422), "the whole file is no header"


@pytest.mark.parametrize("size", ["", "-1", "x", "1e9", "9" * 40, "٣"])
def test_sizes_that_are_refused(client: TestClient, size: str) -> None:
    answer = client.post("/api/inspect", params={"size": size}, content=made({}), headers=BINARY)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "content",
    [
        (100 * 2**20).to_bytes(8, "little") + b"{}",
        (2**63).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        made([1, 2]),
        made("text"),
        made({"a": 1}),
        made({"a": {"dtype": 1, "shape": "x", "data_offsets": None}}),
        made({"a": {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 4]}}),
        made({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
        made({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        made({"__metadata__": {"a": 1}}),
        made({"a\u0000/etc/passwd": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}),
        made({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}),
        b"\x00",
    ],
)
def test_hostile_headers(client: TestClient, content: bytes, no_paths: Callable[[str], None]) -> None:
    answer = client.post("/api/inspect", params={"size": len(content) + 1}, content=content, headers=BINARY)
    assert answer.status_code == 422, answer.text
    assert set(answer.json()) == {"error", "message"}
    no_paths(answer.text)


def test_many_names_take_bounded_time(client: TestClient) -> None:
    """Of a real family, up to the limit, and beyond it."""
    started = time.monotonic()
    for count in (1500, 20_000):
        header, size = entries([f"decoder.up.{i // 30}.block.{i % 30}.conv1.weight" for i in range(count)])
        answer = client.post("/api/inspect", params={"size": size}, content=header, headers=BINARY)
        assert answer.status_code in (413, 422)
    assert time.monotonic() - started < 20


def test_large_bodies_are_refused_unread(client: TestClient) -> None:
    answer = client.post("/api/inspect", params={"size": 2**40}, content=b"\x00" * (2**21 + 1), headers=BINARY)
    assert answer.status_code == 413
    assert client.post("/api/inspect", params={"size": 9}, content=b"", headers=BINARY).status_code == 400

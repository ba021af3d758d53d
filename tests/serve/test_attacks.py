"""What hostile clients send to a real server: each is answered with 4xx in JSON within a second, and it goes on."""

import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from running_server import Answer, RunningServer, read_answer, running_server

from vaekit.runtime.memory import resident_memory
from vaekit.serve.settings import Limits, ServeOptions

GROWTH = 64 * 2**20
"""Bytes of memory that an attack may leave behind, most of it caches of the libraries."""


@pytest.fixture(scope="module")
def server(vae_file: Path, vae_folder: Path) -> Iterator[RunningServer]:
    limits = Limits(headers_seconds=0.4, idle_seconds=0.4, connections=40)
    options = ServeOptions(vaes=(str(vae_file),), models=(vae_folder,), memory="256MiB", limits=limits)
    with running_server(options) as running:
        yield running


def request(path: str, body: bytes = b"", method: str = "POST", *, length: int | None = None, **headers: str) -> bytes:
    """A request as raw bytes; `length` may be a lie."""
    given = {
        "Host": "127.0.0.1",
        "Content-Type": "tensor/binary",
        "Content-Length": str(len(body) if length is None else length),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in given.items() if value != "-"),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1") + body


def bomb(width: int, height: int, *, zeros: bool = True) -> bytes:
    """A PNG of a few bytes that claims, or holds, a large image."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = zlib.compress(bytes((3 * width + 1) * min(height, 2000))) if zeros else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def animation(frames: int) -> bytes:
    file = io.BytesIO()
    images = [Image.new("RGB", (16, 16), (number, 0, 0)) for number in range(frames)]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:])
    return file.getvalue()


LATENTS = "/decode?shape=1&shape=4&shape={}&shape={}&dtype=float32&output_type=pt"
ONE = "/decode?shape=1&shape=4&shape=1&shape=1&dtype=float32"
IMAGE = {"Content_Type": "image/png"}
CHUNKED = {"Transfer_Encoding": "chunked", "Content_Length": "-"}

ATTACKS: dict[str, bytes] = {
    "a foreign host": request(ONE, b"x" * 16, Host="evil.example"),
    "two hosts": b"POST /decode HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\nContent-Length: 0\r\n\r\n",
    "no host": b"POST /decode HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "no host in HTTP 1.0": b"POST /decode HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
    "a foreign origin": request(ONE, b"x" * 16, Origin="https://evil.example"),
    "a form": request(ONE, b"a=b", Content_Type="application/x-www-form-urlencoded"),
    "a multipart form": request("/encode", b"--x\r\n\r\n--x--", Content_Type="multipart/form-data; boundary=x"),
    "plain text": request("/encode", b"x", Content_Type="text/plain"),
    "10 GB": request("/encode", b"x" * 1000, length=10**10, **IMAGE),
    "10 GB of latents": request(ONE, b"x" * 1000, length=10**10),
    "a length of many digits": request("/encode", b"x", length=10**30, **IMAGE),
    "a negative length": request("/encode", b"x", length=-1, **IMAGE),
    "chunks without end": request(
        "/encode", b"400\r\n" + b"x" * 1024 + b"\r\n", Transfer_Encoding="chunked", Content_Length="-", **IMAGE
    ),
    "length and chunks": request("/encode", b"0\r\n\r\n", Transfer_Encoding="chunked", **IMAGE),
    "a compressed body": request("/encode", zlib.compress(bytes(10**6)), Content_Encoding="deflate", **IMAGE),
    "a body that stops": request("/encode", b"x" * 10, length=100, **IMAGE),
    "a claimed image of 10 gigapixels": request("/encode", bomb(100_000, 100_000, zeros=False), **IMAGE),
    "an image of 100 megapixels": request("/encode", bomb(10_000, 10_000), **IMAGE),
    "an image without data": request("/encode", bomb(64, 64, zeros=False), **IMAGE),
    "an image of other formats": request("/encode", animation(50), Content_Type="image/png"),
    "a script": request("/api/compare", b"<svg onload=alert(1)>", **IMAGE),
    "an image of 5000 megapixels for a task": request("/api/compare", bomb(100_000, 50_000, zeros=False), **IMAGE),
    "latents of another length": request(LATENTS.format(8, 8), b"x" * 1020),
    "latents of a huge image": request(LATENTS.format(2**30, 2**30), b"x" * 16),
    "latents of 2 GB": request(LATENTS.format(2**13, 2**13), b"x" * 16, length=4 * 4 * 2**26),
    "a small latent of an image beyond memory": request(LATENTS.format(1000, 1000), bytes(16 * 10**6)),
    "a negative shape": request(LATENTS.format(-8, 8), b"x" * 16),
    "a shape that is no number": request(LATENTS.format("NaN", 8), b"x" * 16),
    "no shape": request("/decode", b"x" * 16),
    "a thousand axes": request("/decode?dtype=float32&" + "shape=1&" * 1000, b"x" * 4),
    "NaN": request(ONE, b"\xff" * 16),
    "infinity": request(ONE, struct.pack("<4f", 1, 2, 3, float("inf"))),
    "an infinite scale": request(f"{ONE}&scaling_factor=inf", bytes(16)),
    "a scale of zero": request(f"{ONE}&scaling_factor=0", bytes(16)),
    "a dtype that is code": request(ONE.replace("float32", "__class__"), bytes(16)),
    "a path as a name": request("/decode?vae=/etc/passwd&dtype=float32&shape=1", b"x" * 4),
    "a path in the path": request("/vaes/..%2f..%2fetc%2fpasswd/decode", b"x"),
    "a relative path in the path": request("/vaes/../../etc/passwd/decode", b"x"),
    "a file of the page above it": request("/page/../settings.py", method="GET"),
    "an encoded file above the page": request("/page/%2e%2e%2f__init__.py", method="GET"),
    "an absolute file": request("/page//etc/passwd", method="GET"),
    "a NUL in a path": request("/page/%00", method="GET"),
    "a URL as a name": request("/decode?vae=http://169.254.169.254/latest&dtype=float32&shape=1", b"x" * 4),
    "a name on the Hub": request("/vaes/stabilityai%2Fsd-vae-ft-mse/decode", b"x"),
    "settings of A1111": request("/sdapi/v1/options", b'{"sd_vae": "/x"}', Content_Type="application/json"),
    "an unknown method": request("/decode", method="BREW"),
    "a proxy request": request("http://evil.example/", method="GET"),
    "a tunnel": request("evil.example:443", method="CONNECT"),
    "an upgrade": request("/decode", method="GET", Connection="Upgrade", Upgrade="websocket"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
    "a header without end": b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
    "an endless query": request("/decode?" + "a" * 100_000),
    "deep JSON": request("/api/vaes/small/interpolate", b"[" * 10**6, Content_Type="application/json"),
    "JSON with paths": request(
        "/api/vaes/small/interpolate", b'{"images": ["file:///etc/passwd", "/x"]}', Content_Type="application/json"
    ),
}


def check(answer: Answer, no_paths: Callable[[str], None]) -> None:
    assert 400 <= answer.status < 500, answer
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(answer.body)
    assert body.keys() == {"error", "message"}
    no_paths(answer.body.decode("utf-8"))
    assert answer.seconds < 1


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack(server: RunningServer, name: str, no_paths: Callable[[str], None]) -> None:
    before = resident_memory()
    check(server.exchange(ATTACKS[name]), no_paths)
    assert resident_memory() - before < GROWTH
    assert server.exchange(request(ONE, bytes(16))).status == 200
    deadline = time.monotonic() + 2
    while server.service.ledger.taken and time.monotonic() < deadline:
        time.sleep(0.01)  # memory is counted until an answer is sent completely
    assert server.service.ledger.taken == 0 and server.service.in_progress == 0


def test_a_head_that_never_ends(server: RunningServer, no_paths: Callable[[str], None]) -> None:
    """Slow loris: a byte now and then. The limit of this server is 0.4 seconds."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"POST /decode HTTP/1.1\r\n")
        connection.settimeout(0.05)
        while time.monotonic() - started < 2:
            connection.sendall(b"X: y\r\n")
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        connection.settimeout(5)
        answer = read_answer(connection, started)
    assert answer.status == 408
    check(answer, no_paths)


def test_a_body_that_trickles(server: RunningServer, no_paths: Callable[[str], None]) -> None:
    """Each byte comes in time, but not all of them: the average is limited, too."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request("/encode", length=100, **IMAGE))
        connection.settimeout(0.1)
        while time.monotonic() - started < 2:
            connection.sendall(b"x")
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        connection.settimeout(5)
        answer = read_answer(connection, started)
    assert answer.status == 408
    check(answer, no_paths)


def test_an_answer_that_nobody_takes(server: RunningServer) -> None:
    """The connection is closed, and its memory is free again."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request(LATENTS.format(160, 160), bytes(4 * 4 * 160 * 160)))
        received = connection.recv(100)
        assert received.startswith(b"HTTP/1.1 200")
        assert server.service.ledger.taken > 0
        deadline = time.monotonic() + 3
        while server.service.ledger.taken:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert server.exchange(request(ONE, bytes(16))).status == 200


def test_a_second_request_may_not_trickle_either(server: RunningServer, no_paths: Callable[[str], None]) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request("/health", method="GET"))
        assert read_answer(connection, time.monotonic()).status == 200
        time.sleep(0.6)  # an idle connection may stay
        started = time.monotonic()
        connection.sendall(b"GET /health HT")
        answer = read_answer(connection, started)
    assert answer.status == 408
    check(answer, no_paths)


def test_idle_connections_do_not_keep_others_out(server: RunningServer) -> None:
    """They are refused with 503 beyond the limit, and closed after the time limit."""
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(40)]
    try:
        answer = server.exchange(request("/health", method="GET"))
        assert answer.status == 503 and json.loads(answer.body)["error"] == "busy"
        time.sleep(0.6)
        assert server.exchange(request("/health", method="GET")).status == 200
    finally:
        for connection in held:
            connection.close()


def test_the_limits_hold_for_all_requests_together(vae_file: Path, photo: bytes) -> None:
    """Bodies that were announced, but never come, take memory of the ledger only until the time limit."""
    limits = Limits(idle_seconds=0.5, in_flight=2**20, pixels=2**16)
    with running_server(ServeOptions(vaes=(str(vae_file),), limits=limits)) as server:
        announced = request("/encode", length=2**18, **IMAGE)
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(4)]
        for connection in held:
            connection.sendall(announced)
        time.sleep(0.2)
        answer = server.exchange(request("/encode", photo, **IMAGE))
        assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1
        time.sleep(0.8)
        assert server.exchange(request("/encode", photo, **IMAGE)).status == 200
        for connection in held:
            connection.close()


def test_a_token_is_asked_for_before_anything_is_read(vae_file: Path) -> None:
    options = ServeOptions(vaes=(str(vae_file),), token="a token of some length")
    with running_server(replace(options, host="0.0.0.0")) as server:
        answer = server.exchange(request(ONE, length=10**10))
        assert answer.status == 401 and answer.seconds < 1
        assert server.exchange(request(ONE, bytes(16), Host="10.9.8.7", Authorization="Bearer x")).status == 400
        right = request(ONE, bytes(16), Authorization="Bearer a token of some length")
        assert server.exchange(right).status == 200

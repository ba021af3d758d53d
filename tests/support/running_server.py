"""A real server on a free port of this machine, in a thread."""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from vaekit.serve.server import make_server
from vaekit.serve.service import Service
from vaekit.serve.settings import ServeOptions


@dataclass(frozen=True)
class Answer:
    """What came back over a socket."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True, eq=False)
class RunningServer:
    """A server that accepts connections."""

    service: Service
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def exchange(self, sent: bytes, seconds: float = 5.0) -> Answer:
        """Send bytes on a new connection, and read until the server closes it or the answer is complete."""
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read everything
                connection.sendall(sent)
            return read_answer(connection, started)


def read_answer(connection: socket.socket, started: float) -> Answer:
    """Read one answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        assert part, f"closed after {received!r}"
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        part = connection.recv(65536)
        assert part, "closed within the body"
        body += part
    return Answer(int(first.split()[1]), headers, body, time.monotonic() - started)


@contextmanager
def running_server(options: ServeOptions) -> Iterator[RunningServer]:
    """Run a server during the block."""
    service = Service(replace(options, port=0))
    ports: queue.Queue[int] = queue.Queue()
    server = make_server(service, ports.put)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield RunningServer(service, ports.get(timeout=5))
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()

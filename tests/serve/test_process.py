"""`vaekit serve` as a process: what it prints, how it stops, and what happens when a client leaves."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from running_server import running_server

from vaekit.errors import CannotRead
from vaekit.serve.server import serve
from vaekit.serve.settings import Limits, ServeOptions
from vaekit.serve.work import Alone

LATENT = "/decode?shape=1&shape=4&shape={0}&shape={0}&dtype=float32&output_type=pt"
TENSOR = {"Content-Type": "tensor/binary"}


@contextmanager
def process(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", int, list[str]]]:
    """The command line in a process of its own: with its port, and the lines that it prints."""
    command = [sys.executable, "-m", "vaekit", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        lines: list[str] = []
        ports: list[int] = []
        ready = threading.Event()

        def read() -> None:
            assert running.stderr is not None
            for line in running.stderr:
                lines.append(line)
                if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                    ports.append(int(found[1]))
                    ready.set()
            ready.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert ready.wait(60) and ports, lines
            yield running, ports[0], lines
        finally:
            if running.poll() is None:
                os.kill(running.pid, signal.SIGKILL)
            running.wait(10)
            reader.join(10)


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, TENSOR)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def until(port: int, path: str, status: int) -> None:
    """Wait until an address answers with a status."""
    deadline = time.monotonic() + 30
    while ask(port, "GET", path)[0] != status:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_signal_finishes_what_runs_and_refuses_what_comes(vae_file: Path) -> None:
    with process("--vae", str(vae_file), "--memory", "1GiB") as (running, port, lines):
        until(port, "/ready", 200)
        with ThreadPoolExecutor(4) as pool:
            size = 128
            body = bytes(4 * 4 * size**2)
            answers = [pool.submit(ask, port, "POST", LATENT.format(size), body) for _ in range(4)]
            time.sleep(0.1)
            running.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            status, text = ask(port, "GET", "/ready")
            assert (status, json.loads(text)) == (503, {"status": "stopping"})
            assert ask(port, "GET", "/health")[0] == 200
            assert ask(port, "POST", LATENT.format(1), bytes(16))[0] == 503
            assert [answer.result(60)[0] for answer in answers] == [200] * 4
        assert running.wait(20) == 0
    log = "".join(lines)
    assert log.count("POST /decode 200") == 4
    assert "shape=" not in log and "Traceback" not in log


def test_a_port_that_is_taken(vae_file: Path) -> None:
    options = ServeOptions(vaes=(str(vae_file),))
    with running_server(options) as server, pytest.raises(CannotRead) as refused:
        serve(replace(options, port=server.port), lambda _: None)
    assert str(server.port) in refused.value.found


def test_work_of_a_client_that_left_is_cancelled(vae_file: Path) -> None:
    with running_server(ServeOptions(vaes=(str(vae_file),))) as server:
        (worker,) = server.service.workers
        opened, running = threading.Event(), threading.Event()
        worker.submit(Alone(lambda _: (running.set(), opened.wait(20))), None)
        assert running.wait(20)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            connection.request("POST", LATENT.format(4), bytes(256), TENSOR)
            wait_for(lambda: worker.waiting == 1)
            connection.close()
            wait_for(lambda: worker.waiting == 0)
        finally:
            opened.set()
        wait_for(lambda: server.service.in_progress == 0 and server.service.ledger.taken == 0)
        metrics = ask(server.port, "GET", "/metrics")[1]
        assert b"vaekit_cancelled_total 1.0" in metrics
        assert b'vaekit_requests_total{method="POST",route="/decode",status="499"} 1.0' in metrics


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_queue_is_503_with_retry_after(vae_file: Path) -> None:
    waiting = 2
    options = ServeOptions(vaes=(str(vae_file),), limits=Limits(waiting=waiting))
    with running_server(options) as server:
        (worker,) = server.service.workers
        opened, running = threading.Event(), threading.Event()
        worker.submit(Alone(lambda _: (running.set(), opened.wait(20))), None)
        assert running.wait(20)
        with ThreadPoolExecutor(waiting) as pool:
            waiters = [pool.submit(ask, server.port, "POST", LATENT.format(4), bytes(256)) for _ in range(waiting)]
            wait_for(lambda: worker.waiting == waiting)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            connection.request("POST", LATENT.format(4), bytes(256), TENSOR)
            answer = connection.getresponse()
            assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
            assert json.loads(answer.read())["error"] == "busy"
            connection.close()
            opened.set()
            assert [waiter.result(20)[0] for waiter in waiters] == [200] * waiting

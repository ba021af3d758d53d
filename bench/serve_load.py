"""Many clients at once against `vaekit serve`, beside a serial loop in one process.

    python bench/serve_load.py [--vae builtin] [--side 512] [--clients 64] [--seconds 60] [--memory 4GiB]

The loop decodes latents of one size one after the other, and writes each image as JPEG, as a request does. Then the
server runs as a process, and clients send the same latents, each its next request as soon as it has the answer. Printed
are the images per second of both, the statuses of the answers, times of the answers, and the largest growth of the
server's memory after the VAE was loaded. One answer is compared with the local result. The exit status is 1 if there
was a status of 5xx other than 503, if the memory exceeded the limit, or if an answer differed.
"""

import argparse
import asyncio
import io
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vaekit
from vaekit.domains.images.write import to_bytes
from vaekit.runtime.engine import Engine
from vaekit.runtime.memory import memory_bytes
from vaekit.runtime.plan import Plan

OK, BUSY = 200, 503
MIB = 2**20
JPEG = {"quality": 95, "subsampling": "4:4:4"}


@dataclass
class Answers:
    """What clients got."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def local_rate(engine: Engine, latents: Tensor, seconds: float) -> float:
    """Images per second of a serial loop."""
    decode(engine, latents)
    started, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds:
        decode(engine, latents)
        count += 1
    return count / passed


def decode(engine: Engine, latents: Tensor) -> bytes:
    """One image, as a file."""
    file = io.BytesIO()
    Image.fromarray(to_bytes(engine.decode(latents.float()))).save(file, "JPEG", **JPEG)
    return file.getvalue()


async def client(port: int, request: bytes, until: float, answers: Answers) -> None:
    """Send requests on one connection until a time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(request)
        status, headers, _ = await answer(reader)
        answers.statuses[status] += 1
        if status == OK:
            answers.seconds.append(time.perf_counter() - started)
        else:
            await asyncio.sleep(float(headers.get("retry-after", 1)))
        if headers.get("connection") == "close":
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def load(port: int, request: bytes, clients: int, seconds: float) -> tuple[Answers, float]:
    """Run all clients; returns their answers, and the seconds that it took."""
    answers, started = Answers(), time.perf_counter()
    await asyncio.gather(*(client(port, request, started + seconds, answers) for _ in range(clients)))
    return answers, time.perf_counter() - started


async def once(port: int, request: bytes) -> tuple[int, bytes]:
    """One request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    status, _, body = await answer(reader)
    writer.close()
    return status, body


def request_of(latents: Tensor) -> bytes:
    """A request to decode, as diffusers sends it."""
    body = latents.numpy().tobytes()
    shape = "&".join(f"shape={extent}" for extent in latents.shape)
    head = (
        f"POST /decode?{shape}&dtype=float16&output_type=pil&image_format=jpg HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: tensor/binary\r\nAccept: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def port_of(server: "subprocess.Popen[str]") -> int:
    """The port that the server prints."""
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise SystemExit("the server did not start")


def wait_until_ready(port: int) -> None:
    """Wait until the VAE is loaded."""
    request = b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    while asyncio.run(once(port, request))[0] != OK:
        time.sleep(0.1)


def resident(process: int, name: str) -> int:
    """The resident memory of a process in bytes: "VmRSS" now, "VmHWM" its peak."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def differences(image: bytes, expected: bytes) -> int:
    """The largest difference of two JPEG files in levels."""
    one, other = (np.asarray(Image.open(io.BytesIO(each))).astype(int) for each in (image, expected))
    return int(np.abs(one - other).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", default="builtin")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--local-seconds", type=float, default=15)
    parser.add_argument("--memory", default="4GiB")
    given = parser.parse_args()
    limit = memory_bytes(given.memory)
    engine = Engine(vaekit.load(given.vae), Plan(memory=limit * 3 // 4))
    size = engine.latent_size(given.side, given.side)
    shape = (1, engine.geometry.latent_channels, *size)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).half()
    expected = decode(engine, latents)
    alone = local_rate(engine, latents, given.local_seconds)
    print(f"{given.vae}, {given.side}x{given.side}, {torch.get_num_threads()} threads")
    print(f"serial loop   {alone:8.2f} images/s")

    command = [sys.executable, "-m", "vaekit", "serve", "--vae", given.vae, "--memory", given.memory, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = port_of(server)
            log = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)  # so that the pipe has room
            wait_until_ready(port)
            loaded = resident(server.pid, "VmRSS")
            status, image = asyncio.run(once(port, request_of(latents)))
            worst = differences(image, expected) if status == OK else 256
            answers, seconds = asyncio.run(load(port, request_of(latents), given.clients, given.seconds))
            grown = resident(server.pid, "VmHWM") - loaded
        finally:
            os.kill(server.pid, signal.SIGTERM)
            stopped = server.wait(60)
            log.wait(10)
    rate, times = len(answers.seconds) / seconds, sorted(answers.seconds)
    print(f"{given.clients:3} clients   {rate:8.2f} images/s: {rate / alone:.2f} of the loop, in {seconds:.0f} s")
    print(f"statuses      {dict(answers.statuses)}")
    print(f"answer        median {statistics.median(times):.2f} s, 99 % {times[int(0.99 * len(times))]:.2f} s")
    print(f"memory        +{grown / MIB:.0f} MiB of {limit / MIB:.0f} MiB; {loaded / MIB:.0f} MiB when loaded")
    print(f"difference    {worst} levels; exit status {stopped}")
    broken = [status for status in answers.statuses if status >= 500 and status != BUSY]
    return int(bool(broken) or grown > limit or worst > 1 or stopped != 0)


if __name__ == "__main__":
    sys.exit(main())

"""Convert many SMILES to tokens, in several processes where there are cores."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from vaekit.domains.molecules import worker
from vaekit.domains.molecules.chemistry import Normalization, rdkit
from vaekit.domains.molecules.codecs import selfies
from vaekit.domains.molecules.worker import convert
from vaekit.pipeline import available_cores

CHUNK = 250
"""SMILES that a process converts at a time, in about half a second."""
LEAST = 2000
"""SMILES for which several processes are started."""
CRASH = "RDKit or selfies crashes"
"""The reason for SMILES that end a process."""


def converted(texts: Sequence[str], codec: str, normal: Normalization) -> Iterator[list[str] | str]:
    """The tokens of SMILES, or the reasons why there are none; in order.

    Raises:
        MissingPackage: RDKit or selfies is not installed.
    """
    rdkit()
    selfies()
    count = available_cores() if len(texts) >= LEAST else 1
    if count < 2:
        yield from (convert(text, codec, normal) for text in texts)
        return
    with ExitStack() as stack:
        workers = Workers(codec, normal, count)
        stack.callback(workers.close)
        pool = ThreadPoolExecutor(count)
        stack.callback(pool.shutdown, cancel_futures=True)
        chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
        for answers in pool.map(workers.answers, chunks):
            yield from answers


class Workers:
    """Processes that convert SMILES; see `vaekit.domains.molecules.worker`.

    Args:
        codec, normal: how.
        count: the number of processes.
    """

    def __init__(self, codec: str, normal: Normalization, count: int) -> None:
        self._command = [sys.executable, "-m", worker.__name__, codec, str(normal.stereo), normal.fragments]
        self._idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self._count = count
        for _ in range(count):
            self._idle.put(self._start())

    def _start(self) -> "subprocess.Popen[str]":
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, encoding="utf-8", env={**os.environ, **path}, errors="replace"
        )

    def answers(self, texts: Sequence[str]) -> list[list[str] | str]:
        """The results for SMILES, by an idle process; after a crash, one by one by others."""
        process = self._idle.get()
        try:
            answers = ask(process, texts)
            if answers is not None:
                return answers
            found: list[list[str] | str] = []
            for text in texts:
                if process.poll() is not None:
                    process = self._start()
                found += ask(process, [text]) or [CRASH]
            return found
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End all processes."""
        for _ in range(self._count):
            end(self._idle.get())


def ask(process: "subprocess.Popen[str]", texts: Sequence[str]) -> list[list[str] | str] | None:
    """The answer of a process; None if it has ended."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(texts) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except OSError:
        line = ""
    if not line:
        end(process)
        return None
    answer: list[list[str] | str] = json.loads(line)
    return answer


def end(process: "subprocess.Popen[str]") -> None:
    """End a process, if it has not ended, and close its pipes."""
    process.kill()
    process.communicate()

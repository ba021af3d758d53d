"""Start the process that talks to Ray, send it shards, and receive their results."""

import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress

from vaekit.cluster.driver import GONE
from vaekit.cluster.messages import (
    BROKE,
    END,
    FAILED,
    MORE,
    NO_MORE,
    RESULT,
    SAID,
    SHARD,
    STOP,
    Channel,
    Sealed,
    Settings,
)
from vaekit.errors import ClusterFailed

START = "import sys; sys.path[:] = sys.argv[1:]; from vaekit.cluster.driver import main; main()"
PATIENCE = 60.0
"""Time limit in seconds for the process to end on request; Ray takes a few to end its own processes."""


def driven_results(
    settings: Settings, specs: Iterable[Sealed], say: Callable[[str], None]
) -> Generator[tuple[Sealed, bytes], None, None]:
    """The pickled results of shards as they are done; see `ray_results`, which another process runs.

    If this process is killed, that one finishes the shards that workers have, and ends.

    Raises:
        VaekitError: see `ray_results`.
        ClusterFailed: the other process was killed.
        RuntimeError: a bug, with its traceback.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", START, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which ends the other one
    )
    assert process.stdin is not None and process.stdout is not None
    channel = Channel(process.stdout, process.stdin)
    try:
        with suppress(*GONE):  # if it ended at once, `received` says so
            channel.send("", settings)
        yield from received(channel, iter(specs), say, process)
    finally:
        with suppress(*GONE):
            channel.send(STOP)
        channel.close()
        end(process)


def received(
    channel: Channel, specs: Iterator[Sealed], say: Callable[[str], None], process: "subprocess.Popen[bytes]"
) -> Iterator[tuple[Sealed, bytes]]:
    """The results that the other process sends; it is given the shards that it requests.

    Raises:
        VaekitError, RuntimeError: see `driven_results`.
    """
    running: dict[int, Sealed] = {}
    while (message := channel.receive()) is not None:
        kind, value = message
        if kind == MORE:
            spec = next(specs, None)
            if spec is not None:
                running[spec.number] = spec
            with suppress(*GONE):
                channel.send(NO_MORE if spec is None else SHARD, spec)
        elif kind == RESULT:
            number, result = value
            yield running.pop(number), result
        elif kind == SAID:
            say(value)
        elif kind == FAILED:
            raise value
        elif kind == BROKE:
            raise RuntimeError(f"The process that talks to Ray failed:\n{value}")
        elif kind == END:
            return
    process.wait(PATIENCE)
    raise ClusterFailed(
        f"The process that talks to Ray ended with status {process.returncode}.",
        "What is done is kept.",
        "Check the memory of this machine, and run the same command again.",
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the process, or kill it."""
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

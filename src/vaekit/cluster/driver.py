"""The process that talks to Ray. It outlives the process that was started, if that is killed, until the shards that
workers have are finished: otherwise Ray would kill all workers at once, and the shard of each would be repeated.
"""

import os
import signal
import sys
import traceback
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread, Timer

from vaekit.cluster.messages import BROKE, END, FAILED, MORE, NO_MORE, RESULT, SAID, SHARD, Channel, Sealed, Settings
from vaekit.cluster.ray_workers import ray_results
from vaekit.errors import VaekitError

LONGEST = 3600.0
"""Seconds after which shards are given up that are not finished since the process that was started was killed."""
GONE = (OSError, ValueError)
"""Errors of sending to a process that has ended."""


@dataclass(eq=False)
class Driver:
    """A run on Ray on behalf of another process."""

    channel: Channel
    settings: Settings
    abandoned: Event = field(default_factory=Event)
    """Set if the process that was started has ended."""
    _specs: SimpleQueue[Sealed | None] = field(default_factory=SimpleQueue)

    def listen(self) -> None:
        """Receive shards until the other process ends, or wants this one to end."""
        while (message := self.channel.receive()) is not None:
            kind, value = message
            if kind in (SHARD, NO_MORE):
                self._specs.put(value if kind == SHARD else None)
            else:
                interrupt_main()
                self._specs.put(None)  # which the main thread may wait for
                return
        self.abandoned.set()
        self._specs.put(None)
        timer = Timer(LONGEST, interrupt_main)
        timer.daemon = True
        timer.start()

    def specs(self) -> Iterator[Sealed]:
        """The shards, each requested when it is needed."""
        while not self.abandoned.is_set():
            self.send(MORE)
            spec = self._specs.get()
            if spec is None:
                return
            yield spec

    def send(self, kind: str, value: object = None) -> None:
        """Send a message, if the other process is there."""
        with suppress(*GONE):
            self.channel.send(kind, value)

    def run(self) -> None:
        """Process all shards."""
        Thread(target=self.listen, daemon=True).start()
        results = ray_results(self.settings, self.specs(), lambda text: self.send(SAID, text), self.abandoned.is_set)
        with closing(results):
            for spec, result in results:
                self.send(RESULT, (spec.number, result))


def main() -> None:
    """Run the shards that the other process sends; it is the peer on stdin and stdout."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    channel = private_channel()
    message = channel.receive()
    if message is None:
        return
    driver = Driver(channel, message[1])
    try:
        driver.run()
        last: tuple[str, object] = END, None
    except KeyboardInterrupt:
        return
    except VaekitError as error:
        last = FAILED, error
    except BaseException:  # a bug, for the traceback of the other process
        last = BROKE, traceback.format_exc()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process sends `STOP` in any case
    driver.send(*last)


def private_channel() -> Channel:
    """The channel on stdin and stdout, which are replaced: what libraries print must not get into it."""
    source, sink = os.dup(0), os.dup(1)
    with open(os.devnull, "r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115  of the process
    return Channel(os.fdopen(source, "rb"), os.fdopen(sink, "wb"))

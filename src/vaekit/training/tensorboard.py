"""TensorBoard's event files, if its writer is installed."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import MissingPackage, reason_of
from vaekit.metrics.image.levels import nearest_levels
from vaekit.optional import require

FOLDER = "board"
"""The folder of the event files in the run."""


class TensorBoardWriter:
    """Writes event files that TensorBoard reads, with `tensorboardX` (pip install 'vaekit[tensorboard]').

    Without the package nothing is written: the log file has all values. If the file cannot be written, nothing more is,
    and training goes on. Of the package only the parts that write at once are used: its `SummaryWriter` writes in a
    thread, which ends with a traceback on a full disk and makes the next call wait forever.

    Args:
        folder: of the run.
        samples: of the checkpoint that the run resumes from; TensorBoard hides what an earlier call wrote after it.
        say: called with a message if the file cannot be written.
    """

    def __init__(self, folder: Path, samples: int, say: Callable[[str], None] = lambda _: None) -> None:
        self._writer: Any = None
        self._say = say
        try:
            self._summary = require("tensorboardX.summary", "write for TensorBoard", "tensorboard")
            self._events = require("tensorboardX.proto.event_pb2", "write for TensorBoard", "tensorboard")
            files = require("tensorboardX.record_writer", "write for TensorBoard", "tensorboard")
        except MissingPackage:
            return
        with self._until_it_fails():
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time():.3f}.{socket.gethostname()}"  # TensorBoard looks for such names
            self._writer = files.RecordWriter(str(folder / FOLDER / name))
        log = self._events.SessionLog
        self._add(0, file_version="brain.Event:2")
        self._add(samples, session_log=log(status=log.START))

    def numbers(self, kind: str, values: Mapping[str, Any], samples: int) -> None:
        """Write scalars as `kind/name`; lists are ignored."""
        for name, value in values.items():
            if self._writer is not None and isinstance(value, float):
                self._add(samples, summary=self._summary.scalar(f"{kind}/{name}", value))
        with self._until_it_fails():
            if self._writer is not None:
                self._writer.flush()

    def image(self, name: str, pixels: Tensor, samples: int) -> None:
        """Write an image (3, h, w) in [-1, 1]."""
        if self._writer is not None:
            levels = nearest_levels(pixels.detach().cpu()).to(torch.uint8)
            self._add(samples, summary=self._summary.image(name, levels.numpy()))

    def close(self) -> None:
        """Flush and close the file."""
        with self._until_it_fails():
            if self._writer is not None:
                self._writer.close()

    def _add(self, samples: int, **content: Any) -> None:
        """Write an event."""
        event = self._events.Event(step=samples, wall_time=time.time(), **content)
        with self._until_it_fails():
            if self._writer is not None:
                self._writer.write(event.SerializeToString())

    @contextmanager
    def _until_it_fails(self) -> Iterator[None]:
        """Stop writing after an error of the system."""
        try:
            yield
        except OSError as error:
            broken, self._writer = self._writer, None
            with suppress(OSError):
                if broken is not None:
                    broken.close()
            self._say(f"TensorBoard's file cannot be written ({reason_of(error)}). The log file has all values.")

"""TensorBoard's files: what its reader finds in them, and disks on which they cannot be written."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vaekit.training.tensorboard import FOLDER, TensorBoardWriter

pytest.importorskip("tensorboardX")


def events_in(folder: Path) -> list[Any]:
    """The events of the only file, read by its format: length, checksum, content, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = (folder / FOLDER).iterdir()
    content, events = file.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


def test_numbers_and_images_are_read_back(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path, 40)
    writer.numbers("training", {"loss": 0.5, "codes": [1.0]}, 50)
    writer.image("held out", torch.zeros(3, 4, 6), 50)
    writer.close()
    events = events_in(tmp_path)
    assert (events[1].step, events[1].session_log.status) == (40, events[1].session_log.START)
    (loss,), (image,) = (event.summary.value for event in events[2:])
    assert (loss.tag, loss.simple_value) == ("training/loss", 0.5)
    assert (image.image.height, image.image.width) == (4, 6)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("works_before", [True, False])
def test_a_full_disk_is_told_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works_before: bool
) -> None:
    said: list[str] = []
    writer = TensorBoardWriter(tmp_path, 0, said.append) if works_before else None
    monkeypatch.setattr("tensorboardX.record_writer.RecordWriter.write", full)
    writer = writer or TensorBoardWriter(tmp_path, 0, said.append)
    for step in range(30):
        writer.numbers("training", {"loss": 0.5}, step)
    writer.close()
    assert len(said) == 1
    assert os.strerror(errno.ENOSPC) in said[0]


@pytest.mark.parametrize("block", [Path.touch, lambda path: path.symlink_to(path)], ids=["a file", "a loop of links"])
def test_something_in_the_way_is_told(tmp_path: Path, block: Callable[[Path], None]) -> None:
    block(tmp_path / FOLDER)
    said: list[str] = []
    writer = TensorBoardWriter(tmp_path, 0, said.append)
    writer.numbers("training", {"loss": 0.5}, 1)
    writer.close()
    assert len(said) == 1

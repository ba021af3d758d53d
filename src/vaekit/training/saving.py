"""States on the disk: safetensors and JSON, whole or not at all, the last good one always usable."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vaekit.checkpoints.saving import write_tensors
from vaekit.errors import BadCheckpoint
from vaekit.training.state import State
from vaekit.whole_files import whole_folder

TENSORS, WORDS = "state.safetensors", "state.json"
KEPT = 2
"""Newest states that stay: should the last one be damaged, there is one before it."""


def save_state(state: State, folder: Path) -> Path:
    """Write a state into a folder of its own, named by its samples, and remove all but the newest. States of more
    samples are damaged, or the run would not be here: they go too.

    Raises:
        CannotWrite: the disk is full, or the like. What was there before is still there.
    """
    target = folder / f"{state.samples:012d}"
    if target.exists():  # left by a run that went on from an older state
        shutil.rmtree(target)
    with whole_folder(target) as temporary:
        write_tensors(state.tensors(), temporary / TENSORS, {}, target)
        digest = file_digest(temporary / TENSORS)
        words = {"sha256": digest, "state": state.words()}
        (temporary / WORDS).write_text(json.dumps(words, indent=1) + "\n", "utf-8")
    states = sorted(saved(folder))
    place = states.index(target) + 1
    for other in (*states[: max(0, place - KEPT)], *states[place:]):
        shutil.rmtree(other, ignore_errors=True)
    return target


def saved(folder: Path) -> list[Path]:
    """The states in a folder."""
    return [each for each in folder.iterdir() if each.name.isdecimal()] if folder.is_dir() else []


def newest(folder: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], Mapping[str, Any]] | None:
    """The newest state that is whole, as `State.restore` takes it; None where there is none at all.

    Args:
        folder: where states are.
        say: told of each that is damaged.

    Raises:
        BadCheckpoint: all of them are damaged.
    """
    states = sorted(saved(folder), reverse=True)
    for path in states:
        try:
            words = json.loads((path / WORDS).read_text("utf-8"))
            if file_digest(path / TENSORS) != words["sha256"]:
                raise ValueError("its numbers are not those that were written")
            return load_file(path / TENSORS), words["state"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            say(f"The checkpoint {path} is damaged ({error}).")
    if states:
        raise BadCheckpoint(
            f"Not one of the checkpoints in {folder} is whole.",
            "",
            f"Bring one back from a copy, or remove {folder} to begin anew.",
        )
    return None


def file_digest(path: Path) -> str:
    """SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The state of training: weights, moving averages, optimizer; and its checkpoints.

DIR/000000012800/state.safetensors   all tensors
DIR/000000012800/state.json          the other values, and the SHA-256 of the tensors
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from vaekit.atomic import atomic_folder
from vaekit.checkpoints.save import write_tensors
from vaekit.errors import BadCheckpoint, reason_of
from vaekit.reading import open_file, read_json
from vaekit.training.ema_heads import heads_without_gradient
from vaekit.vae import VAE

Model = TypeVar("Model", bound=nn.Module)
TENSORS, VALUES = "state.safetensors", "state.json"
KEPT = 2
"""The number of checkpoints that are kept: if the newest is damaged, the one before it is used."""
VAE_PART, MODEL_PART = "vae", "model"
"""The start of the names of a model's tensors in checkpoints: of a VAE, and of another model."""
OLD_EXTRAS = {"opponent": "adversary"}
"""Names of extras in checkpoints of the first edition."""


class EMA(Generic[Model]):
    """An exponential moving average of the weights of a model.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that the random initial weights are soon forgotten. A run
    may keep several averages, and choose afterwards (Karras et al. 2024, arXiv 2312.02696, section 3).
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, steps: int) -> None:
        """Update the average with the model's weights after step number `steps`, from 0."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        averaged: list[Tensor] = list(self.model.parameters())
        current: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)  # statistics of the data: already averaged where needed


@dataclass(eq=False)
class State(Generic[Model]):
    """The state of training. Schedules, data order and randomness follow from `samples`."""

    model: Model
    """In fp32: the master weights."""
    optimizer: Optimizer
    averages: Sequence[EMA[Model]] = ()
    samples: int = 0
    """The number of samples so far."""
    extras: Mapping[str, "Stateful"] = field(default_factory=dict)
    """Other stateful parts by name: the adversary, its guard."""
    passed_over: int = 0
    """The number of consecutive steps, up to the last, that were skipped because of non-finite gradients."""
    frozen: Sequence[str] = ()
    """Names of the model's frozen modules, such as `encoder`."""

    @property
    def vae(self) -> Model:
        """The model, where it is a VAE."""
        return self.model

    @property
    def part(self) -> str:
        """The start of the names of the model's tensors."""
        return VAE_PART if isinstance(self.model, VAE) else MODEL_PART

    @property
    def result(self) -> Model:
        """The result of training: the first average, or the model itself without averages."""
        return self.averages[0].model if self.averages else self.model

    def to_training(self) -> None:
        """Put the model into training mode, except for frozen modules, whose statistics and codebooks must not
        change."""
        self.model.train()
        for part in modules_of(self.model, self.frozen):
            part.eval()

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        tensors = {f"{self.part}.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, average in enumerate(self.averages):
            tensors |= {f"average.{i}.{name}": tensor for name, tensor in average.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        for name, module in heads_without_gradient(self.model).items():
            tensors |= {f"adapting.{name}.{key}": tensor for key, tensor in module.progress().items()}
        for name, extra in self.extras.items():
            tensors |= {f"{name}.{key}": tensor for key, tensor in extra.tensors().items()}
        return tensors

    def values(self) -> dict[str, Any]:
        """All other values by name, as JSON types."""
        own = {"samples": self.samples, "passed_over": self.passed_over}
        return {**own, **{name: extra.values() for name, extra in self.extras.items()}}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore a saved state.

        Raises:
            ValueError: it is the state of another model.
        """
        tensors = {upgraded_name(name): tensor for name, tensor in tensors.items()}
        values = {upgraded_name(name): value for name, value in values.items()}
        try:
            self.model.load_state_dict(inside(tensors, self.part))
            for i, average in enumerate(self.averages):
                average.model.load_state_dict(inside(tensors, f"average.{i}"))
            restore_optimizer(self.optimizer, inside(tensors, "optimizer"))
            for name, module in heads_without_gradient(self.model).items():
                module.restore(inside(tensors, f"adapting.{name}"))
            for name, extra in self.extras.items():
                extra.restore(inside(tensors, name), values[name])
        except (RuntimeError, KeyError) as error:
            raise ValueError(str(error)) from error
        self.samples, self.passed_over = int(values["samples"]), int(values.get("passed_over", 0))


def upgraded_name(name: str) -> str:
    """The current name of an entry of a checkpoint; the first edition had other names for two parts.

    >>> upgraded_name("opponent.optimiser.3.step")
    'adversary.optimizer.3.step'
    """
    part, dot, rest = name.replace("optimiser.", "optimizer.").partition(".")
    return f"{OLD_EXTRAS.get(part, part)}{dot}{rest}"


def modules_of(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The modules with these names. Names that are not modules are ignored: a head may be a function."""
    modules = dict(model.named_modules())
    return [modules[name] for name in names if name in modules]


class Stateful:
    """A part of training, besides the model, whose state is saved in checkpoints."""

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        return {}

    def values(self) -> dict[str, Any]:
        """Its other values by name, as JSON types."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore a saved state."""


def inside(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors below a name: those with the prefix `name.`, which is removed."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer by index of the parameter and name: `3.exp_avg`."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state of an optimizer. The loop sets rates at every step."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save_state(state: State[Any], folder: Path) -> Path:
    """Write a checkpoint into a folder named by its samples, and remove all but the newest ones. Checkpoints with more
    samples are removed too: they are damaged, or the run would have resumed from them.

    Raises:
        CannotWrite: e.g. the disk is full. Earlier checkpoints are still there.
    """
    target = folder / f"{state.samples:012d}"
    if target.exists():  # left by a run that resumed from an earlier checkpoint
        shutil.rmtree(target)
    with atomic_folder(target) as temporary:
        write_tensors(state.tensors(), temporary / TENSORS, {}, target)
        digest = file_digest(temporary / TENSORS)
        values = {"sha256": digest, "state": state.values()}
        (temporary / VALUES).write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    states = sorted(saved_checkpoints(folder))
    place = states.index(target) + 1
    for other in (*states[: max(0, place - KEPT)], *states[place:]):
        shutil.rmtree(other, ignore_errors=True)
    return target


def saved_checkpoints(folder: Path) -> list[Path]:
    """The folders of checkpoints in a folder."""
    return [each for each in folder.iterdir() if each.name.isdecimal()] if folder.is_dir() else []


def newest_checkpoint(folder: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], Mapping[str, Any]] | None:
    """The newest intact checkpoint: the arguments of `State.restore`; None if there are no checkpoints.

    Args:
        folder: of the checkpoints.
        say: called with a message for each damaged one.

    Raises:
        BadCheckpoint: all of them are damaged.
    """
    states = sorted(saved_checkpoints(folder), reverse=True)
    for path in states:
        try:
            values = read_json(path / VALUES)
            if file_digest(path / TENSORS) != values["sha256"]:
                raise ValueError("its content differs from what was written")
            return load_file(path / TENSORS), values["state"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            say(f"The checkpoint {path} is damaged ({reason_of(error)}).")
    if states:
        raise BadCheckpoint(
            f"All checkpoints in {folder} are damaged.",
            "",
            f"Restore one from a backup, or remove {folder} to start over.",
        )
    return None


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

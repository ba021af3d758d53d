"""Exponential moving averages of the weights: what is kept after training."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from vaekit.atomic import atomic_folder
from vaekit.checkpoints.save import write_tensors
from vaekit.errors import BadCheckpoint
from vaekit.training.ema_heads import heads_without_gradient
from vaekit.vae import VAE


class EMA:
    """A second copy of a model whose weights trail behind the trained ones.

    The decay grows with the steps, min(decay, (1 + t) / (10 + t)), so that the first, random weights are soon gone.
    Several copies may trail at different distances (Karras et al. 2024, arXiv 2312.02696, section 3): which is best is
    seen afterwards.
    """

    def __init__(self, model: VAE, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: VAE, steps: int) -> None:
        """Come nearer to the model, after so many steps before this one."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        averaged: list[Tensor] = list(self.model.parameters())
        current: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)  # statistics of the data, averaged already where they need to be


@dataclass(eq=False)
class State:
    """The state of training. Schedules, data order and randomness follow from `samples`."""

    vae: VAE
    """In fp32: the master weights."""
    optimizer: Optimizer
    averages: Sequence[EMA] = ()
    samples: int = 0
    """Seen so far."""
    extras: Mapping[str, "Stateful"] = field(default_factory=dict)
    """What else has a state: an opponent, a watch over health."""
    passed_over: int = 0
    """Steps in a row, up to now, that changed nothing, as their gradients were not finite."""
    frozen: Sequence[str] = ()
    """Modules of the VAE that stay as they are, by name: `encoder`."""

    @property
    def result(self) -> VAE:
        """What is kept after training: the first average, or the model itself where there is none."""
        return self.averages[0].model if self.averages else self.vae

    def to_training(self) -> None:
        """Have the VAE in training mode, but for what is frozen: statistics and codebooks would change by looking."""
        self.vae.train()
        for part in modules_of(self.vae, self.frozen):
            part.eval()

    def tensors(self) -> dict[str, Tensor]:
        """All numbers, by name."""
        told = {f"vae.{name}": tensor for name, tensor in self.vae.state_dict().items()}
        for i, average in enumerate(self.averages):
            told |= {f"average.{i}.{name}": tensor for name, tensor in average.model.state_dict().items()}
        told |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        for name, module in heads_without_gradient(self.vae).items():
            told |= {f"adapting.{name}.{key}": tensor for key, tensor in module.progress().items()}
        for name, extra in self.extras.items():
            told |= {f"{name}.{key}": tensor for key, tensor in extra.tensors().items()}
        return told

    def words(self) -> dict[str, Any]:
        """All that is no tensor."""
        told = {"samples": self.samples, "passed_over": self.passed_over}
        return {**told, **{name: extra.words() for name, extra in self.extras.items()}}

    def restore(self, tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> None:
        """Restore a saved state.

        Raises:
            ValueError: it is the state of something else.
        """
        # The first edition spelled it "optimiser".
        tensors = {name.replace("optimiser.", "optimizer."): tensor for name, tensor in tensors.items()}
        try:
            self.vae.load_state_dict(inside(tensors, "vae"))
            for i, average in enumerate(self.averages):
                average.model.load_state_dict(inside(tensors, f"average.{i}"))
            restore_optimizer(self.optimizer, inside(tensors, "optimizer"))
            for name, module in heads_without_gradient(self.vae).items():
                module.restore(inside(tensors, f"adapting.{name}"))
            for name, extra in self.extras.items():
                extra.restore(inside(tensors, name), words[name])
        except (RuntimeError, KeyError) as error:
            raise ValueError(str(error)) from error
        self.samples, self.passed_over = int(words["samples"]), int(words.get("passed_over", 0))


def modules_of(vae: VAE, names: Sequence[str]) -> list[nn.Module]:
    """The modules of these names, as far as this VAE has them: a head may be a function."""
    found = dict(vae.named_modules())
    return [found[name] for name in names if name in found]


class Stateful:
    """Something beside the model whose state is kept with it."""

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers, by name."""
        return {}

    def words(self) -> dict[str, Any]:
        """What is no tensor."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> None:
        """Restore a saved state."""


def inside(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of each parameter: `3.exp_avg`."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, remembered in optimizer.state_dict()["state"].items()
        for name, value in remembered.items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Let it remember that again. Rates and the like are set by the loop at every step."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


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
    with atomic_folder(target) as temporary:
        write_tensors(state.tensors(), temporary / TENSORS, {}, target)
        digest = file_digest(temporary / TENSORS)
        words = {"sha256": digest, "state": state.words()}
        (temporary / WORDS).write_text(json.dumps(words, indent=1) + "\n", "utf-8")
    states = sorted(saved_checkpoints(folder))
    place = states.index(target) + 1
    for other in (*states[: max(0, place - KEPT)], *states[place:]):
        shutil.rmtree(other, ignore_errors=True)
    return target


def saved_checkpoints(folder: Path) -> list[Path]:
    """The states in a folder."""
    return [each for each in folder.iterdir() if each.name.isdecimal()] if folder.is_dir() else []


def newest_checkpoint(folder: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], Mapping[str, Any]] | None:
    """The newest state that is whole, as `State.restore` takes it; None where there is none at all.

    Args:
        folder: where states are.
        say: told of each that is damaged.

    Raises:
        BadCheckpoint: all of them are damaged.
    """
    states = sorted(saved_checkpoints(folder), reverse=True)
    for path in states:
        try:
            words = json.loads((path / WORDS).read_text("utf-8"))
            if file_digest(path / TENSORS) != words["sha256"]:
                raise ValueError("its content differs from what was written")
            return load_file(path / TENSORS), words["state"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            say(f"The checkpoint {path} is damaged ({error}).")
    if states:
        raise BadCheckpoint(
            f"All checkpoints in {folder} are damaged.",
            "",
            f"Restore one from a backup, or remove {folder} to start over.",
        )
    return None


def file_digest(path: Path) -> str:
    """SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

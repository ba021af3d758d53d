"""All that changes while a model is trained, as one thing that can be written down and taken up again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaekit.training.adapting import adapting
from vaekit.training.ema import EMA
from vaekit.vae import VAE


@dataclass(eq=False)
class State:
    """A model on its way. Schedules, data and randomness follow from `samples`, so nothing else need be kept."""

    vae: VAE
    """In fp32: the master weights."""
    optimiser: Optimizer
    averages: Sequence[EMA] = ()
    samples: int = 0
    """Seen so far."""
    extras: Mapping[str, "Keeps"] = field(default_factory=dict)
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
        told |= {f"optimiser.{name}": tensor for name, tensor in optimiser_tensors(self.optimiser).items()}
        for name, module in adapting(self.vae).items():
            told |= {f"adapting.{name}.{key}": tensor for key, tensor in module.progress().items()}
        for name, extra in self.extras.items():
            told |= {f"{name}.{key}": tensor for key, tensor in extra.tensors().items()}
        return told

    def words(self) -> dict[str, Any]:
        """All that is no tensor."""
        told = {"samples": self.samples, "passed_over": self.passed_over}
        return {**told, **{name: extra.words() for name, extra in self.extras.items()}}

    def restore(self, tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> None:
        """Become what was written down.

        Raises:
            ValueError: it is the state of something else.
        """
        try:
            self.vae.load_state_dict(inside(tensors, "vae"))
            for i, average in enumerate(self.averages):
                average.model.load_state_dict(inside(tensors, f"average.{i}"))
            restore_optimiser(self.optimiser, inside(tensors, "optimiser"))
            for name, module in adapting(self.vae).items():
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


class Keeps:
    """Something beside the model whose state is kept with it."""

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers, by name."""
        return {}

    def words(self) -> dict[str, Any]:
        """What is no tensor."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> None:
        """Become what was written down."""


def inside(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter: `3.exp_avg`."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, remembered in optimiser.state_dict()["state"].items()
        for name, value in remembered.items()
    }


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Let it remember that again. Rates and the like are set by the loop at every step."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})

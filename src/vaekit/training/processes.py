"""Data-parallel training under `torchrun`: each process handles its part of every batch.

Gradients are summed over processes by hand, after the backward pass. DistributedDataParallel wants one forward of one
module; here a step calls `encode` and `likelihood`, may call a second network, and asks for gradients in between (the
adaptive weight of an adversarial term). Calls behind its back are how others' trainers lost their all-reduce
(diffusers' train_autoencoderkl.py). What is given up is the overlap of communication with the backward pass: 84 million
gradients in fp32 are 0.3 GB a step.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run as one of them sees them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count == 1:
            return
        found = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in found])
        distributed.all_reduce(flat)
        for tensor, part in zip(found, flat.split([tensor.numel() for tensor in found]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def sum_gradients(self, module: nn.Module) -> None:
        """Sum the gradients of a module's parameters over all processes; where one has none, zeros take their place."""
        if self.count == 1:
            return
        trained = [each for each in module.parameters() if each.requires_grad]
        for each in trained:
            if each.grad is None:
                each.grad = torch.zeros_like(each)
        self.sum_(each.grad for each in trained if each.grad is not None)

    def any_(self, found: bool, device: torch.device) -> bool:
        """Whether it is so in any process: the same answer in all of them.

        Args:
            found: whether it is so here.
            device: where the processes can sum.
        """
        if self.count == 1:
            return found
        votes = torch.tensor([float(found)], device=device)
        self.sum_([votes])
        return votes.item() > 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()


def join_processes(device: torch.device) -> tuple[ProcessGroup, torch.device]:
    """The processes that `torchrun` started, or this one alone; and the device of this one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ProcessGroup(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return ProcessGroup(distributed.get_rank(), count), device

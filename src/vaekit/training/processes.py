"""Data-parallel training under `torchrun`: each process handles its part of every batch.

Gradients are summed over processes explicitly, after the backward pass. DistributedDataParallel requires one call of
`forward` of one module; here a step calls `encode` and `likelihood`, may run a second network, and computes gradients
in between (the adaptive weight of an adversarial term). Trainers that bypass `forward` silently lose the all-reduce, as
diffusers' train_autoencoderkl.py did. The cost is that communication does not overlap with the backward pass: 84
million gradients in fp32 are 0.3 GB per step.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, from the view of one of them."""

    rank: int = 0
    """Of this process."""
    count: int = 1
    """Of all processes."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count == 1:
            return
        all_ = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in all_])
        distributed.all_reduce(flat)
        for tensor, part in zip(all_, flat.split([tensor.numel() for tensor in all_]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def sum_gradients(self, module: nn.Module) -> None:
        """Sum the gradients of a module's parameters over all processes; a missing gradient counts as zeros."""
        if self.count == 1:
            return
        trained = [each for each in module.parameters() if each.requires_grad]
        for each in trained:
            if each.grad is None:
                each.grad = torch.zeros_like(each)
        self.sum_(each.grad for each in trained if each.grad is not None)

    def any_(self, value: bool, device: torch.device) -> bool:
        """Whether a value is true in any process; the same result in all of them.

        Args:
            value: of this process.
            device: of the tensors that the processes exchange.
        """
        if self.count == 1:
            return value
        votes = torch.tensor([float(value)], device=device)
        self.sum_([votes])
        return votes.item() > 0

    def wait(self) -> None:
        """Wait for all processes."""
        if self.count > 1:
            distributed.barrier()


def join_processes(device: torch.device) -> tuple[ProcessGroup, torch.device]:
    """The processes that `torchrun` started, or this one alone; and the device of this process."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ProcessGroup(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return ProcessGroup(distributed.get_rank(), count), device

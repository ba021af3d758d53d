"""Steps that are one: an activation that follows a convolution is done with it."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from vaekit.runtime.operations import SAME_ROW, Apply, Convolve
from vaekit.runtime.steps import Step

RELUS = (F.relu, torch.relu)


def fused(steps: Sequence[Step], output: int) -> tuple[tuple[Step, ...], int]:
    """The same network in fewer steps.

    Args:
        steps: what it does, in order.
        output: the step that makes its result.
    """
    users = Counter(each.step for step in steps for each in step.inputs)
    users[output] += 1
    made: list[Step] = []
    places: dict[int, int] = {}
    for i, step in enumerate(steps):
        before = steps[step.inputs[0].step] if step.inputs else None
        if is_relu(step) and before is not None and users[step.inputs[0].step] == 1 and is_linear(before):
            assert isinstance(before.operation, Convolve)
            places[i] = places[step.inputs[0].step]
            made[places[i]] = dataclasses.replace(
                made[places[i]], operation=dataclasses.replace(before.operation, relu=True)
            )
            continue
        places[i] = len(made)
        inputs = tuple(dataclasses.replace(each, step=places[each.step]) for each in step.inputs)
        made.append(dataclasses.replace(step, inputs=inputs))
    return tuple(made), places[output]


def is_relu(step: Step) -> bool:
    """Whether a step makes zero of negative numbers."""
    return isinstance(step.operation, Apply) and step.operation.function in RELUS and step.inputs[0].window == SAME_ROW


def is_linear(step: Step) -> bool:
    """Whether a step is a convolution and nothing else yet."""
    return isinstance(step.operation, Convolve) and not step.operation.relu

"""Check that weights and activations, of both halves, are finite."""

from collections.abc import Iterable

import torch

from vaekit.doctor.activations import Activity
from vaekit.doctor.findings import Finding
from vaekit.doctor.observe import Observation
from vaekit.vae import VAE

NAMED = 3
"""The maximum number of tensor names in a message; the others are counted."""


def check_weights(vae: VAE) -> Finding:
    """Count non-finite values in weights and buffers, by tensor."""
    broken = {}
    count = 0
    for name, tensor in (*vae.named_parameters(), *vae.named_buffers()):
        if tensor.is_floating_point():
            count += tensor.numel()
            bad = int((~torch.isfinite(tensor)).sum())
            if bad:
                broken[name] = {"not_finite": bad, "of": tensor.numel()}
    values = {"count": count, "tensors": broken}
    if not broken:
        return Finding("weights", "ok", f"all {count:,} weights are finite", values)
    listed = ", ".join(
        f"{name} ({each['not_finite']:,} of {each['of']:,})" for name, each in list(broken.items())[:NAMED]
    )
    more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    return Finding(
        "weights",
        "wrong",
        f"NaN or infinite values in {listed}{more}",
        values,
        "The file is damaged, or its training diverged: download it again, or use an earlier checkpoint.",
    )


def check_activations(observation: Observation) -> Finding:
    """Find non-finite activations in fp32: the first layer of each half."""
    halves = {"encoder": observation.encoding, "decoder": observation.decoding}
    values = {half: _summary(calls.values()) for half, calls in halves.items() if calls}
    firsts = (next((each for each in calls.values() if not each.finite), None) for calls in halves.values())
    broken = [first for first in firsts if first is not None]
    ran = " and ".join(half for half, calls in halves.items() if calls)
    if not broken:
        return Finding("activations", "ok", f"finite everywhere in the {ran}, in fp32", values)
    listed = "; ".join(
        f"{first.place}: {first.nan:,} NaN and {first.infinite:,} infinite of {first.count:,} values"
        for first in broken
    )
    return Finding(
        "activations",
        "wrong",
        f"non-finite in fp32, first in {listed}",
        values,
        "Check that the weights of that layer are finite and of usual magnitude; if not, use another copy of the file.",
    )


def _summary(activities: Iterable[Activity]) -> dict[str, object]:
    """The number of calls, the number of those with non-finite outputs, and the first of these."""
    calls = list(activities)
    first = next((each for each in calls if not each.finite), None)
    facts = first and {"place": first.place, "nan": first.nan, "infinite": first.infinite, "of": first.count}
    return {"watched": len(calls), "not_finite": sum(not each.finite for each in calls), "first": facts}

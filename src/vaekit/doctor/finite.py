"""Check that weights and activations, of both halves, are finite."""

from collections.abc import Iterable

import torch

from vaekit.doctor.activations import Activity
from vaekit.doctor.findings import Finding
from vaekit.doctor.observe import Observation
from vaekit.vae import VAE

NAMED = 3
"""So many names of tensors in a sentence; the others are counted."""


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
    numbers = {"count": count, "tensors": broken}
    if not broken:
        return Finding("weights", "ok", f"all {count:,} weights are finite", numbers)
    told = ", ".join(
        f"{name} ({each['not_finite']:,} of {each['of']:,})" for name, each in list(broken.items())[:NAMED]
    )
    more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    return Finding(
        "weights",
        "wrong",
        f"NaN or infinite values in {told}{more}",
        numbers,
        "The file is damaged, or its training diverged: download it again, or use an earlier checkpoint.",
    )


def check_activations(observation: Observation) -> Finding:
    """Find non-finite activations in fp32: the first layer of each half."""
    halves = {"encoder": observation.encoding, "decoder": observation.decoding}
    numbers = {half: _numbers(seen.values()) for half, seen in halves.items() if seen}
    firsts = (next((each for each in seen.values() if not each.finite), None) for seen in halves.values())
    broken = [first for first in firsts if first is not None]
    ran = " and ".join(half for half, seen in halves.items() if seen)
    if not broken:
        return Finding("activations", "ok", f"finite everywhere in the {ran}, in fp32", numbers)
    told = "; ".join(
        f"{first.place}: {first.nan:,} NaN and {first.infinite:,} infinite of {first.count:,} values"
        for first in broken
    )
    return Finding(
        "activations",
        "wrong",
        f"non-finite in fp32, first in {told}",
        numbers,
        "Check that the weights of that layer are finite and of usual magnitude; if not, use another copy of the file.",
    )


def _numbers(activities: Iterable[Activity]) -> dict[str, object]:
    """How many places were seen, and the first whose numbers are not finite."""
    seen = list(activities)
    first = next((each for each in seen if not each.finite), None)
    told = first and {"place": first.place, "nan": first.nan, "infinite": first.infinite, "of": first.count}
    return {"watched": len(seen), "not_finite": sum(not each.finite for each in seen), "first": told}

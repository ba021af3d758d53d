"""Objectives: weighted sums of terms over one pass."""

import pytest
from passes import random_pass, seeded

from vaekit.training.objectives import Objective
from vaekit.training.terms.plain import kl
from vaekit.training.weights import weight_from


def test_warm_up_and_cycles_are_weights() -> None:
    seen = random_pass((3,))
    warm_up = weight_from([[0, 0.0], [1000, 1.0]])
    cyclic = weight_from([[0, 0.0], [500, 1.0]], period=1000)
    for weight, told in ((warm_up, {0: 0, 250: 0.25, 9000: 1}), (cyclic, {250: 0.5, 700: 1, 1250: 0.5, 2000: 0})):
        for samples, factor in told.items():
            losses = Objective({"kl": kl()}, {"kl": weight})(seen.vae, seen.x, samples, seeded())
            assert losses.total.item() == pytest.approx(factor * seen.posterior.kl(seen.prior).mean().item())

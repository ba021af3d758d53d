"""The memory for gradients: measured on a small latent, and refused where it does not fit."""

from dataclasses import replace

import pytest
import torch

from vaekit.errors import TooLittleMemory
from vaekit.runtime.engine import Engine
from vaekit.tasks.gradient_memory import BACKWARD, items_at_once, kept_bytes
from vaekit.tasks.model import OpenModel


def test_memory_grows_with_the_latent(model: OpenModel) -> None:
    vae = model.engine.vae
    small, large = (kept_bytes(vae, torch.zeros(1, 4, side, side)) for side in (8, 16))
    pixels = 32 * 32 * 4
    assert small > 10 * pixels and large == pytest.approx(4 * small, rel=0.1)


def test_items_that_do_not_fit_are_refused_and_others_are_few_at_once(model: OpenModel) -> None:
    z = torch.zeros(5, 4, 16, 12)
    one = BACKWARD * kept_bytes(model.engine.vae, z[:1])
    limited = Engine(model.engine.vae, replace(model.engine.plan, memory=int(3.4 * one)))
    assert items_at_once(limited, model.engine.vae, z, 256) in (2, 3, 4)
    assert items_at_once(model.engine, model.engine.vae, z, 7) == 7
    with pytest.raises(TooLittleMemory) as caught:
        items_at_once(limited, model.engine.vae, torch.zeros(1, 4, 64, 64), 256)
    assert "cma-es" in caught.value.remedy

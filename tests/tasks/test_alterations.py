"""Directions of exposure, contrast and warmth: what they do to decoded images."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.metrics.image.lab import lab
from vaekit.tasks import alterations
from vaekit.tasks.alterations import ALTERATIONS, altered_directions, contrasted, exposed, warmed
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.testcards.dead_leaves import dead_leaves


@pytest.fixture(scope="module")
def builtin() -> OpenModel:
    return open_model(ModelOptions("builtin"), EngineOptions(device="cpu"))


def means(x: Tensor) -> dict[str, float]:
    lightness, _, yellow = lab(x.clamp(-1, 1)).unbind(1)
    return {
        "exposure": lightness.mean().item(),
        "contrast": lightness.flatten(1).std(dim=1).mean().item(),
        "warmth": yellow.mean().item(),
    }


def test_nothing_is_altered_by_0() -> None:
    x = dead_leaves(1, (16, 16), Generator().manual_seed(1))
    for alteration in ALTERATIONS:
        torch.testing.assert_close(alteration.apply(x, 0.0), x, atol=1e-5, rtol=0)
    assert means(exposed(x, 1))["exposure"] > means(x)["exposure"]
    assert means(contrasted(x, 0.5))["contrast"] > means(x)["contrast"]
    assert means(warmed(x, 0.4))["warmth"] > means(x)["warmth"]


def test_directions_of_the_builtin_vae(builtin: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the largest amount changes images that were not among the test images in the right sense: exposure and
    warmth by 60 % to 150 % of what it does to pixels, contrast by some of it."""
    monkeypatch.setattr(alterations, "SIDE", 64)
    directions = {each.name: each for each in altered_directions(builtin)}
    assert list(directions) == ["exposure", "contrast", "warmth"]
    x = dead_leaves(2, (64, 64), Generator().manual_seed(9))
    z = torch.cat([builtin.engine.encode(each).mode for each in x.split(1)])
    plain = means(builtin.decode(z, (64, 64)))
    for alteration in ALTERATIONS:
        direction, amount = directions[alteration.name], alteration.most / 2
        step = (amount * direction.vector)[None, :, None, None]
        center = z.mean(dim=(2, 3), keepdim=True)
        moved = center + (z - center) * step.exp() if direction.kind == "spread" else z + step
        change = means(builtin.decode(moved, (64, 64)))[alteration.name] - plain[alteration.name]
        wanted = means(alteration.apply(x, amount))[alteration.name] - means(x)[alteration.name]
        least, most = (0.1, 1.5) if alteration.name == "contrast" else (0.6, 1.5)
        assert least < change / wanted < most, (alteration.name, change, wanted)

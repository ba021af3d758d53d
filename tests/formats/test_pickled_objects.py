"""Pickles without named tensors are called what they hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refuses
from torch import nn

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors
from vaekit.formats.pickled_objects import is_model

CONTENTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a model": (nn.Linear(2, 2), ("torch.nn.modules.linear.Linear", "state_dict")),
    "a model in a dictionary": ({"epoch": 3, "model": nn.Conv2d(1, 1, 1)}, ("torch.nn.modules.conv.Conv2d",)),
    "a tensor": (torch.ones(4, 8), ("1 tensors", "4, 8")),
    "a list": ([torch.ones(3), torch.ones(2)], ("2 tensors",)),
    "counters": ({"epoch": 1, "lr": 0.1}, ("epoch", "lr")),
    "a number": (5, ("int",)),
    "arrays": ({"encoder.weight": np.ones(3)}, ("numpy", "numpy.savez")),
    "a list of arrays": ({"arrays": np.ones((2, 2)), "epoch": 3}, ("numpy", "numpy.savez")),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_are_named(name: str, tmp_path: Path) -> None:
    content, facts = CONTENTS[name]
    torch.save(content, tmp_path / "x.pt")
    with refuses(BadCheckpoint, *facts) as caught:
        open_tensors(tmp_path / "x.pt")
    assert "again" not in str(caught.value)


def test_pythons_own_classes_are_no_models() -> None:
    assert is_model("diffusers.models.autoencoders.AutoencoderKL")
    assert not is_model("collections.Counter")
    assert not is_model("object")

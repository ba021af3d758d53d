"""Which dictionary of a checkpoint holds the weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from torch import nn

from vaekit.errors import BadCheckpoint
from vaekit.formats.nested_weights import AUTOENCODERS, AVERAGES, WRAPPERS
from vaekit.formats.open import open_tensors

HERE = {"here": torch.ones(2), "too": torch.ones(1)}
FEWER = {"elsewhere": torch.ones(2)}
AS_MANY = {"elsewhere": torch.ones(2), "more": torch.ones(1)}

PLACES: dict[str, Any] = {
    "at the top": HERE,
    "at the top, beside numbers": HERE | {"epoch": 3, "rates": [0.1]},
    **{f"under {name}": {"epoch": 3, name: HERE} for name in (*AUTOENCODERS, *AVERAGES, *WRAPPERS)},
    "two levels down": {"module": {"vae": HERE}},
    "three levels down": {"checkpoint": {"model": {"state_dict": HERE}}},
    "an autoencoder beside something larger": {"model": AS_MANY | {"third": torch.ones(1)}, "vae": HERE},
    "an average beside the last weights": {"model": AS_MANY, "ema": HERE},
    "an average one level deeper": {"state_dict": AS_MANY, "ema": {"state_dict": HERE}},
    "the last weights beside a partial average": {"model": HERE, "ema": FEWER},
    "a wrapper beside loose tensors": FEWER | {"state_dict": HERE},
    "a wrapper that holds no tensors": HERE | {"model": {"name": "x"}, "ema": 0.999, "module": None},
    "beside an optimizer": {"optimizer": {"state": {0: AS_MANY}}, "model": HERE},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("new", [True, False])
def test_where_weights_stand(tmp_path: Path, place: str, new: bool, saved: Callable[..., bytes]) -> None:
    (tmp_path / "x.pt").write_bytes(saved(PLACES[place], new))
    assert set(open_tensors(tmp_path / "x.pt").specs) == set(HERE)


def test_deeper_down_names_are_kept_whole_and_too_deep_is_nowhere(tmp_path: Path) -> None:
    torch.save({"model": {"model": {"model": {"model": HERE}}}}, tmp_path / "x.pt")
    assert all(name.startswith("model.model.model.model.") for name in open_tensors(tmp_path / "x.pt").specs)
    deep: dict[str, Any] = HERE
    for _ in range(20):
        deep = {"model": deep}
    torch.save(deep, tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x.pt")


def test_loops_end(tmp_path: Path) -> None:
    loop: dict[str, Any] = {f"number {i}": i for i in range(10_000)}
    loop |= dict.fromkeys((*AUTOENCODERS, *AVERAGES, *WRAPPERS), loop)
    torch.save(loop, tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x.pt")


def test_a_whole_model_is_called_what_it_is(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "x.pt")
    with refuses(BadCheckpoint, "torch.nn.modules.linear.Linear"):
        open_tensors(tmp_path / "x.pt")


def test_a_dictionary_in_a_million_places_is_read_once(tmp_path: Path) -> None:
    inner: dict[str, Any] = {"weight": torch.ones(1)}
    for _ in range(6):
        inner = {str(i): inner for i in range(50)}
    torch.save(inner, tmp_path / "x.pt")
    assert len(open_tensors(tmp_path / "x.pt").specs) == 1

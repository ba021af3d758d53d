"""Two files presented as one."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from vaekit.formats.joined import joined
from vaekit.formats.open import open_weights


def test_tensors_of_both_are_read_by_their_names(tmp_path: Path) -> None:
    one, other = torch.rand(3), torch.rand(2, 2)
    save_file({"a": one}, tmp_path / "one.safetensors", {"format": "pt"})
    save_file({"a": other}, tmp_path / "other.safetensors", {"format": "np"})
    both = joined(open_weights(tmp_path / "one.safetensors"), open_weights(tmp_path / "other.safetensors"), "b.")
    read = both.read(["b.a", "a"])
    assert list(read) == ["b.a", "a"]
    assert torch.equal(read["a"], one) and torch.equal(read["b.a"], other)
    assert both.specs["b.a"].shape == (2, 2)
    assert both.metadata == {"format": "pt"}
    assert both.files == (tmp_path / "one.safetensors", tmp_path / "other.safetensors")
    span = both.span("b.a")
    assert span is not None and span.path == tmp_path / "other.safetensors"

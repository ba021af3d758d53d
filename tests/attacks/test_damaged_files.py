"""Files cut short, and files that claim more than they hold."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vaekit.errors import BadCheckpoint, VaekitError
from vaekit.identification.identify import identify

Opens = Callable[[Path], bool]


def test_the_small_files_are_whole(tmp_path: Path, files: dict[str, bytes], opens: Opens) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert opens(tmp_path / name)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.ckpt", "x.gguf"])
def test_a_file_cut_short_anywhere(tmp_path: Path, files: dict[str, bytes], opens: Opens, name: str) -> None:
    content = files[name]
    ends = {*range(0, 40), *range(40, len(content), len(content) // 60), len(content) - 1}
    for end in sorted(ends):
        (tmp_path / name).write_bytes(content[:end])
        assert not opens(tmp_path / name), end


def test_a_tensor_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    torch.save({"encoder.conv_in.weight": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint):
        identify(tmp_path / "x.pt")


def test_a_pickle_that_holds_itself(tmp_path: Path) -> None:
    loop: dict[str, object] = {"weight": torch.ones(1)}
    loop["state_dict"] = loop
    torch.save(loop, tmp_path / "x.pt")
    with pytest.raises(VaekitError):
        identify(tmp_path / "x.pt")


def test_a_checkpoint_inside_a_zip_that_lies_about_a_length(
    tmp_path: Path, files: dict[str, bytes], opens: Opens
) -> None:
    """The pickle asks for more numbers than its record has."""
    content = files["x.pt"]
    (tmp_path / "x.pt").write_bytes(content.replace(b"K\x02K\x03K\x03K\x03t", b"K\x02K\x03K\x03K\xfft"))
    assert not opens(tmp_path / "x.pt")

"""One output name per input."""

from pathlib import Path

import pytest

from vaekit.errors import CannotWrite
from vaekit.tasks.output_paths import output_paths


def test_names_follow_the_inputs() -> None:
    inputs = [Path("a/photo.jpg"), Path("b/x.latent.safetensors")]
    assert output_paths(inputs, Path("out"), ".png") == {
        inputs[0]: Path("out/photo.png"),
        inputs[1]: Path("out/x.png"),
    }


def test_inputs_of_one_name_get_different_outputs() -> None:
    inputs = [Path("a/same.png"), Path("b/same.png"), Path("b/same.jpg"), Path("a/same.png")]
    outputs = output_paths(inputs, Path("out"), ".png")
    assert len(set(outputs.values())) == len(outputs) == 3
    assert outputs[Path("b/same.jpg")] == Path("out/same.jpg.png")


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite):
        output_paths([tmp_path / "photo.png"], tmp_path, ".png")

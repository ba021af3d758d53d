"""`tasks.convert`: what was written is read back."""

from pathlib import Path

import vaekit
from vaekit.identification.fingerprint import fingerprint
from vaekit.tasks.convert import convert
from vaekit.tasks.options import ModelOptions


def test_the_record_names_what_was_written(vae_file: Path, tmp_path: Path) -> None:
    done = convert(ModelOptions(str(vae_file)), tmp_path / "copy.safetensors", "ldm", "fp32")
    assert (done.input, done.layout) == (str(vae_file), "ldm")
    assert done.fingerprint == fingerprint(vaekit.load(vae_file)) == fingerprint(vaekit.load(done.output))

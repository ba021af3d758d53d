"""Paths of weights files."""

import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from vaekit.formats.paths import DIFFUSERS_WEIGHTS, WEIGHTS_ENDINGS, diffusers_preference, missing_target
from vaekit.reading import exists


@pytest.mark.parametrize("name", ["missing", "x" * 5000, "a\0b"])
def test_paths_that_cannot_exist_do_not(tmp_path: Path, name: str) -> None:
    assert not exists(tmp_path / name)
    assert exists(tmp_path)


def test_plain_safetensors_come_first_and_variants_last() -> None:
    names = ["a.bin", "diffusion_pytorch_model.fp16.safetensors", "a.fp16.bin", DIFFUSERS_WEIGHTS]
    ordered = [path.name for path in sorted(map(PurePosixPath, names), key=diffusers_preference)]
    assert ordered == [DIFFUSERS_WEIGHTS, "diffusion_pytorch_model.fp16.safetensors", "a.bin", "a.fp16.bin"]


def test_the_file_of_diffusers_is_a_weights_file() -> None:
    assert Path(DIFFUSERS_WEIGHTS).suffix in WEIGHTS_ENDINGS


def test_the_module_imports_no_torch() -> None:
    code = "import sys, vaekit.formats.paths; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_links_to_missing_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("../blobs/ab")
    (tmp_path / "file").write_text("x")
    (tmp_path / "good").symlink_to("file")
    assert missing_target(tmp_path / "link") == "../blobs/ab"
    assert [missing_target(tmp_path / name) for name in ("file", "good", "absent", "x" * 5000, "a\0")] == [""] * 5

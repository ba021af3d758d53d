"""The script that made the built-in VAE still runs, from pictures to the packaged file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from vaekit.checkpoints.inspecting import inspect

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_builtin.py"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of smooth random pictures, one of them see-through, one twice."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        picture = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((200, 150))
        picture.save(folder / f"{i}.png")
    picture.save(folder / "twice.png")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(folder / "see-through.png")
    return folder


def test_a_short_run_writes_a_vae_that_loads(pictures: Path, lpips_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(lpips_tensors, tmp_path / "lpips.safetensors")
    options = {
        "--data": f"{pictures}=1",
        "--evaluate": pictures,
        "--lpips": tmp_path / "lpips.safetensors",
        "--out": tmp_path / "run",
        "--samples": 8,
        "--batch-size": 4,
        "--crop": 32,
    }
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = inspect(tmp_path / "run" / "builtin.safetensors")
    assert seen.dtypes == ("float16",)
    assert seen.frame is not None
    assert '"held_out"' in (tmp_path / "run" / "log.jsonl").read_text()


def test_another_padding_can_be_trained(pictures: Path, lpips_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(lpips_tensors, tmp_path / "lpips.safetensors")
    (pictures / "see-through.png").unlink()
    options = {
        "--data": pictures,
        "--lpips": tmp_path / "lpips.safetensors",
        "--out": tmp_path / "reflecting.safetensors",
        "--samples": 1,
        "--batch-size": 1,
        "--crop": 32,
    }
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run(
        [sys.executable, SCRIPT.with_name("finetune_padding.py"), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert '"verdict": ' in done.stdout
    assert inspect(tmp_path / "reflecting.safetensors").config["padding"] == "reflect"

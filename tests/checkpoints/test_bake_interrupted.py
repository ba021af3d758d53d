"""Baking in little memory, killed in the middle, and onto a full disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ldm_names import ldm_names
from safetensors.torch import save_file
from slow_cases import nightly

from vaekit.checkpoints.save import save
from vaekit.vae import VAE

Make = Callable[..., Path]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("ending", ["safetensors", *nightly("ckpt")])
def test_memory_stays_small(kl_vae: VAE, tmp_path: Path, ending: str) -> None:
    """300 MB of checkpoint; beyond what Python and torch take, a few megabytes are used."""
    block = torch.ones(15_000_000, dtype=torch.float16)
    tensors = {f"model.diffusion_model.{i}.weight": block.clone() for i in range(10)}
    tensors |= {f"first_stage_model.{key}": tensor.half() for key, tensor in ldm_names(kl_vae).items()}
    save_file(tensors, tmp_path / "whole.safetensors")
    if ending == "ckpt":
        torch.save({"state_dict": tensors}, tmp_path / "whole.ckpt")
    save(kl_vae, tmp_path / "new.safetensors")
    paths = [str(tmp_path / name) for name in (f"whole.{ending}", "new.safetensors", "out.safetensors")]
    code = (
        "import vaekit; from pathlib import Path; vaekit.inspect('builtin'); vaekit.bake\n"
        "def peak(): return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        f"vaekit.bake(*{paths})\n"
        "import sys; sys.stdout.write(str(peak() - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30_000, "kilobytes"
    assert (tmp_path / "out.safetensors").stat().st_size > 300_000_000


def start_baking(folder: Path, before: str = "") -> subprocess.Popen[str]:
    paths = [str(folder / f"{name}.safetensors") for name in ("whole", "new", "out")]
    code = f"{before}\nimport vaekit; vaekit.bake(*{paths})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_nothing_has_the_final_name(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    filling = {f"model.{i}.weight": torch.zeros(10_000_000) for i in range(10)}
    whole_checkpoint(kl_vae, around=filling)
    save(kl_vae, tmp_path / "new.safetensors")
    slow = "import os, time; copy = os.copy_file_range\n"
    slow += "os.copy_file_range = lambda *a, **k: (time.sleep(0.2), copy(*a, **k))[1]"
    process = start_baking(tmp_path, slow)
    deadline = time.monotonic() + 120
    while not any(part.stat().st_size for part in tmp_path.glob(".out*.part")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob(".out*.part"))
    assert not (tmp_path / "out.safetensors").exists()


def test_a_disk_that_fills_up_leaves_nothing(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    whole_checkpoint(kl_vae)
    save(kl_vae, tmp_path / "new.safetensors")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    process = start_baking(tmp_path, limit)
    _, errors = process.communicate()
    assert "CannotWrite" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "whole.safetensors"]

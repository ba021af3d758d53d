"""Full disks and killed processes: nothing half-written is left."""

import subprocess
import sys
from pathlib import Path

import pytest

SAVE = """
import os, resource, signal, sys
from pathlib import Path
import torch
from vaekit.families import assemble, family_of
from vaekit.checkpoints.latent_files import LatentFile, LatentOrigin, save_latent
from vaekit.checkpoints.save import save
from vaekit.distributions import Point
from vaekit.errors import CannotWrite
from vaekit.families.kl.net import KLConfig
from vaekit.geometry import Geometry

what, place, trouble = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
family = family_of("kl")
vae = assemble(family, KLConfig(3, 4, 4, (32, 32), (32, 32), 1, 2, (), (), False, True, True, 32))
if trouble == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
else:
    def die(*_): os.kill(os.getpid(), signal.SIGKILL)
    os.replace = die
try:
    if what == "latent":
        space = LatentOrigin("a" * 64, "kl", Geometry(3, 4, (8, 8)), None)
        save_latent(place, LatentFile(Point(torch.zeros(1, 4, 256, 256)), space, (2048, 2048)))
    else:
        save(vae, place, what)
except CannotWrite as error:
    print(error)
    sys.exit(7)
"""
PLACES = {"native": "x.safetensors", "latent": "x.safetensors", "diffusers": "folder"}


def run_save(what: str, folder: Path, trouble: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", SAVE, what, str(folder / PLACES[what]), trouble]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("what", PLACES)
def test_a_full_disk(tmp_path: Path, what: str) -> None:
    if what != "diffusers":
        (tmp_path / "x.safetensors").write_text("old")
    ended = run_save(what, tmp_path, "full")
    assert (ended.returncode, ended.stderr) == (7, "")
    assert ended.stdout.strip()
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == ({} if what == "diffusers" else {"x.safetensors": "old"})


@pytest.mark.parametrize("what", ["native", "diffusers"])
def test_a_kill_during_a_save(tmp_path: Path, what: str) -> None:
    if what == "native":
        (tmp_path / "x.safetensors").write_text("old")
    assert run_save(what, tmp_path, "kill").returncode == -9
    assert not (tmp_path / "folder").exists()
    if what == "native":
        assert (tmp_path / "x.safetensors").read_text() == "old"

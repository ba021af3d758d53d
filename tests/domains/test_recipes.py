"""The classical recipes, each over two hundred random images: it ends with a file that opens and can be run."""

from pathlib import Path

import pytest
import torch
from torch import Generator

import vaekit
from vaekit.domains.recipes import recipe
from vaekit.training.data import Stream, Tensors
from vaekit.training.run import Run, run_training

NAMES = ("mnist-iwae", "mnist-vamp", "mnist-beta-tcvae", "autoencoder")


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_with_a_file_that_opens(name: str, tmp_path: Path) -> None:
    chosen = recipe(name, ["schedule.samples=200"])
    assert {"about", "data", "takes"} <= chosen.table.keys()
    told = chosen.table["data"]
    shape = (200, told["channels"], told["size"], told["size"])
    images = torch.rand(shape, generator=Generator().manual_seed(0)).round() * 2 - 1
    objective, schedule = chosen.objective(), chosen.schedule()
    run_training(
        Run(chosen, tmp_path, Stream(Tensors(images), 0), {}, objective, schedule, images[:10], validate_every=1)
    )
    vae = vaekit.load(tmp_path / "vae.safetensors")
    with torch.no_grad():
        back = vae.reconstruct(images[:3])
        prior = vae.prior
        z = vae.encode(images[:3]).mode
    assert back.shape == images[:3].shape and back.isfinite().all()
    assert prior is None or prior.log_prob(z).isfinite().all()
    assert (prior is None) == (name == "autoencoder")
    assert len((tmp_path / "log.jsonl").read_text("utf-8").splitlines()) == 4

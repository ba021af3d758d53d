"""Beam search of VAEs of sequences."""

from pathlib import Path

import pytest
import torch
from refusals import refuses
from small_tables import columns, save_table_vae
from small_text import save_text_vae

from vaekit.distributions.sequences import Decoding, Generates
from vaekit.errors import BadPlan
from vaekit.tasks.model import open_model
from vaekit.tasks.options import DecodingOptions, EngineOptions, ModelOptions

CPU = EngineOptions(device="cpu")


def test_beams_find_sequences_at_least_as_probable(tmp_path: Path) -> None:
    save_text_vae(tmp_path / "vae.safetensors")
    model = ModelOptions(str(tmp_path / "vae.safetensors"))
    z = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    scores = []
    for beam in (1, 10):
        opened = open_model(model, CPU, decoding=DecodingOptions(beam))
        head = opened.engine.vae.to_likelihood
        assert isinstance(head, Generates) and head.decoding == Decoding(beam)
        scores.append(opened.engine.likelihood(z).log_prob(opened.decode(z, ())))
    assert (scores[1] >= scores[0] - 1e-4).float().mean() > 0.7 and scores[1].mean() >= scores[0].mean()


@pytest.mark.parametrize("beam", [0, -1, 101])
def test_beams_out_of_range(tmp_path: Path, beam: int) -> None:
    save_text_vae(tmp_path / "vae.safetensors")
    with refuses(BadPlan, str(beam)):
        open_model(ModelOptions(str(tmp_path / "vae.safetensors")), CPU, decoding=DecodingOptions(beam))


def test_rows_have_no_beams(tmp_path: Path) -> None:
    vae = ModelOptions(str(save_table_vae(tmp_path / "vae.safetensors", columns())))
    open_model(vae, CPU, decoding=DecodingOptions(1))
    with refuses(BadPlan):
        open_model(vae, CPU, decoding=DecodingOptions(2))

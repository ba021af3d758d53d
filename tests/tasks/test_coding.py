"""Fewer codes than a residual quantizer has: which files hold, and at which rate."""

from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES
from refusals import refuses
from small_audio import save_audio_vae, save_tone

from vaekit.checkpoints.latent_files import load_latent
from vaekit.checkpoints.save import save
from vaekit.distributions import Quantized
from vaekit.errors import BadPlan
from vaekit.families import assemble, family_of
from vaekit.tasks.decode import decode
from vaekit.tasks.encode import encode
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import CodingOptions, EngineOptions, ModelOptions

CPU = EngineOptions(device="cpu")
CONFIG = EXAMPLES["encodec"]


@pytest.fixture
def vae(tmp_path: Path) -> ModelOptions:
    torch.manual_seed(0)
    save(assemble(family_of("encodec"), CONFIG).eval(), tmp_path / "vae.safetensors")
    return ModelOptions(str(tmp_path / "vae.safetensors"))


def latent_of(model: OpenModel, path: Path, out: Path) -> Quantized:
    assert encode(model, [path], out).complete
    posterior = load_latent(out / f"{path.stem}.latent.safetensors").posterior
    assert isinstance(posterior, Quantized)
    return posterior


def test_files_hold_the_first_codes_of_the_same_vae(vae: ModelOptions, tmp_path: Path) -> None:
    path = save_tone(tmp_path / "in" / "a.wav", 4_001, 24_000)
    every, some = open_model(vae, CPU), open_model(vae, CPU, coding=CodingOptions(2))
    whole, first = (latent_of(each, path, tmp_path / str(i)) for i, each in enumerate((every, some)))
    assert whole.codes.shape[1] == 3 and torch.equal(first.codes, whole.codes[:, :2])
    assert every.origin == some.origin
    assert decode(every, [tmp_path / "1"], tmp_path / "out").results[0].notes == ()


def test_the_rate_is_said(vae: ModelOptions) -> None:
    (note,) = open_model(vae, CPU, coding=CodingOptions(2)).notes
    # 12 vectors in a codebook, and 24,000 / 6 positions per second: 2 * log2(12) * 4000
    assert note == "2 of 3 codes at each position: 28.7 kbit/s"
    assert open_model(vae, CPU).notes == ()


@pytest.mark.parametrize("codes", [0, -1, 4])
def test_codes_that_it_does_not_have(vae: ModelOptions, codes: int) -> None:
    with refuses(BadPlan, str(codes), "1 to 3"):
        open_model(vae, CPU, coding=CodingOptions(codes))


def test_other_vaes_have_no_first_codes(tmp_path: Path) -> None:
    save_audio_vae(tmp_path / "vae.safetensors")
    with refuses(BadPlan, "--codes"):
        open_model(ModelOptions(str(tmp_path / "vae.safetensors")), CPU, coding=CodingOptions(1))

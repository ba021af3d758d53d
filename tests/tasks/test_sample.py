"""`tasks.sample`: reproducible samples, priors, and what is refused."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES
from planted_rows import save_planted
from refusals import refuses

from vaekit.checkpoints.save import save
from vaekit.domains.images.read import read_image
from vaekit.domains.tables import sample_quality
from vaekit.errors import BadPlan, HalfMissing, NoPrior, NotFound, TooLittleMemory
from vaekit.families import assemble, family_of
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.sample import SampleOptions, sample

SMALL = SampleOptions(count=3, size=16)


@pytest.fixture(scope="module")
def one_vector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE with one vector per image."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("burgess") / "vae.safetensors"
    save(assemble(family_of("burgess"), EXAMPLES["burgess"]).eval(), path)
    return path


@pytest.fixture(scope="module")
def one_vector(one_vector_file: Path) -> OpenModel:
    return open_model(ModelOptions(str(one_vector_file)), EngineOptions(device="cpu"))


def pixels(folder: Path) -> list[torch.Tensor]:
    return [read_image(path).pixels for path in sorted(folder.glob("samples-*.png"))]


def test_samples_a_sheet_and_a_record(model: OpenModel, tmp_path: Path) -> None:
    result = sample(model, tmp_path, SMALL)
    assert [path.name for path in result.files[:2]] == ["samples.png", "samples-0001.png"]
    assert result.notes and result.items == 3
    assert {image.shape for image in pixels(tmp_path)} == {(1, 3, 16, 16)}
    record = json.loads(result.files[-1].read_text("utf-8"))
    assert (record["seed"], record["vae"]["fingerprint"]) == (0, model.origin.fingerprint)
    assert record["vae"]["dtype"] == "fp32"


def test_the_same_seed_gives_the_same_samples(one_vector: OpenModel, tmp_path: Path) -> None:
    for name, options in (("few", replace(SMALL, count=2)), ("many", replace(SMALL, count=70))):
        sample(one_vector, tmp_path / name, options)
    sample(one_vector, tmp_path / "other", replace(SMALL, count=2, seed=1))
    few, many, other = (pixels(tmp_path / name) for name in ("few", "many", "other"))
    assert len(many) == 70
    assert all(torch.equal(a, b) for a, b in zip(few, many, strict=False))
    assert not torch.equal(few[0], other[0])
    assert len({image.numpy().tobytes() for image in many}) == 70


@pytest.mark.nightly
def test_another_process_gives_the_same_samples(one_vector_file: Path, one_vector: OpenModel, tmp_path: Path) -> None:
    sample(one_vector, tmp_path / "here", replace(SMALL, count=5))
    command = [
        sys.executable,
        "-m",
        "vaekit",
        "sample",
        "--vae",
        one_vector_file,
        "-n",
        "5",
        "--out",
        tmp_path / "there",
    ]
    subprocess.run([*map(str, command), "--device", "cpu"], check=True)
    for one, other in zip(pixels(tmp_path / "here"), pixels(tmp_path / "there"), strict=True):
        assert torch.equal(one, other)


def test_temperature_0_is_the_mean(one_vector: OpenModel, tmp_path: Path) -> None:
    sample(one_vector, tmp_path, replace(SMALL, temperature=0.0))
    assert len({image.numpy().tobytes() for image in pixels(tmp_path)}) == 1


def test_a_fitted_prior(one_vector: OpenModel, images: Path, tmp_path: Path) -> None:
    (images / "broken.png").unlink()
    pytest.importorskip("sklearn")
    result = sample(one_vector, tmp_path / "out", replace(SMALL, prior="fitted", data=images))
    assert "2 images" in result.prior and result.items == 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (replace(SMALL, prior="uniform"), "uniform"),
        (replace(SMALL, prior="fitted"), "--data"),
        (replace(SMALL, data=Path("images")), "--prior fitted"),
        (replace(SMALL, temperature=math.inf), "inf"),
        (replace(SMALL, temperature=math.nan), "nan"),
        (replace(SMALL, prior="fitted", temperature=0.5), "--temperature"),
    ],
)
def test_bad_options_are_refused(one_vector: OpenModel, tmp_path: Path, options: SampleOptions, named: str) -> None:
    with refuses(BadPlan, named):
        sample(one_vector, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_maps_have_no_fitted_prior(model: OpenModel, images: Path, tmp_path: Path) -> None:
    with pytest.raises(BadPlan):
        sample(model, tmp_path / "out", replace(SMALL, prior="fitted", data=images))


def test_a_codebook_has_no_prior_to_sample(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(assemble(family_of("vq"), EXAMPLES["vq"]).eval(), tmp_path / "vq.safetensors")
    model = open_model(ModelOptions(str(tmp_path / "vq.safetensors")), EngineOptions(device="cpu"))
    with pytest.raises(NoPrior):
        sample(model, tmp_path / "out", SMALL)


def test_a_size_that_the_vae_does_not_make_is_named(one_vector: OpenModel, tmp_path: Path) -> None:
    side = one_vector.engine.geometry.size[0] if one_vector.engine.geometry.size else 0
    assert not sample(one_vector, tmp_path, replace(SMALL, count=1, size=side)).notes
    (note,) = sample(one_vector, tmp_path, replace(SMALL, count=1, size=side + 1)).notes
    assert f"--size {side + 1}" in note


def test_a_prior_with_categories(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(assemble(family_of("joint"), EXAMPLES["joint"]).eval(), tmp_path / "joint.safetensors")
    model = open_model(ModelOptions(str(tmp_path / "joint.safetensors")), EngineOptions(device="cpu"))
    assert "categories" in sample(model, tmp_path / "out", SampleOptions(count=2)).prior
    assert len(pixels(tmp_path / "out")) == 2


def test_a_size_beyond_the_memory_is_refused_before_latents_are_drawn(model: OpenModel, tmp_path: Path) -> None:
    with pytest.raises(TooLittleMemory):
        sample(model, tmp_path / "out", replace(SMALL, size=10**6))


def test_remedies_can_be_followed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(assemble(family_of("tiny"), EXAMPLES["tiny"]).eval(), tmp_path / "tiny.safetensors")
    model = open_model(ModelOptions(str(tmp_path / "tiny.safetensors")), EngineOptions(device="cpu"))
    with refuses(NoPrior, "diffusion model"):  # latents that are maps have no fitted prior
        sample(model, tmp_path / "out", SMALL)


def test_an_encoder_alone_makes_no_samples(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = assemble(family_of("kl"), EXAMPLES["kl"], halves=("encoder",)).eval()
    save(vae, tmp_path / "encoder.safetensors")
    model = open_model(ModelOptions(str(tmp_path / "encoder.safetensors")), EngineOptions(device="cpu"))
    with pytest.raises(HalfMissing):
        sample(model, tmp_path / "out", SMALL)


def test_values_of_rows_vary_as_the_likelihood_says(tmp_path: Path) -> None:
    """Of a linear decoder with rows of length 1, and a scale of 1 around it: a variance of 2 in the column's unit."""
    rows = open_model(ModelOptions(str(save_planted(tmp_path / "vae.safetensors"))), EngineOptions(device="cpu"))
    heights = {}
    for name, count in (("few", 70), ("many", 2000)):
        result = sample(rows, tmp_path / name, SampleOptions(count))
        with open(result.files[0], newline="") as file:
            heights[name] = [float(row["height"]) for row in csv.DictReader(file)]
        assert len(heights[name]) == count and result.quality is None
    assert heights["few"] == heights["many"][:70]
    values = torch.tensor(heights["many"])
    assert values.mean().item() == pytest.approx(10, abs=0.3)
    assert values.var().item() == pytest.approx(2 * 2**2, rel=0.15)


def test_rows_are_compared_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_quality, "two_sample_auroc", lambda *_: 0.5)
    rows = open_model(ModelOptions(str(save_planted(tmp_path / "vae.safetensors"))), EngineOptions(device="cpu"))
    data = sample(rows, tmp_path / "data", SampleOptions(600)).files[0]
    result = sample(rows, tmp_path / "out", SampleOptions(400, data=data, seed=5))
    assert result.quality is not None
    assert result.quality.values["marginal_distance"] < 0.12
    assert abs(result.quality.values["closer_share"] - 0.5) < 0.25
    record = json.loads(result.files[-1].read_text("utf-8"))
    assert record["quality"]["copies"] == 0 and set(record["quality"]["column_distances"]) == {
        "height",
        "width",
        "ripe",
    }
    with pytest.raises(NotFound):
        sample(rows, tmp_path / "none", SampleOptions(4, data=tmp_path / "gone.csv"))
    assert not (tmp_path / "none").exists()

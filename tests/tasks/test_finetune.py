"""`tasks.finetune`: a run through the functions that the command line calls."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from soft_images import write_soft

from vaekit.errors import BadRecipe
from vaekit.formats.open import open_tensors
from vaekit.tasks.finetune import CARD, PAGE, FinetuneRequest, open_finetuning
from vaekit.tasks.options import ModelOptions
from vaekit.training.log import LogEvent

SHORT = ("schedule.samples=4", "schedule.batch_size=2", "schedule.warmup_samples=2", "images.size=32")


@pytest.fixture
def request_of(tmp_path: Path, lpips_file: Path) -> FinetuneRequest:
    """Soft images; with a seed of 0 two are held out."""
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for number in range(40):
        write_soft(tmp_path / "data" / f"{number:02}.png", (36, 36), rng)
    return FinetuneRequest(tmp_path / "data", tmp_path / "run", overrides=SHORT, lpips=lpips_file, license="mit")


def test_a_run_is_trained_measured_and_described(
    request_of: FinetuneRequest,
    vae_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def no_cards(_: object) -> dict[str, float]:
        raise AssertionError("they take longer than such a run")

    monkeypatch.setattr("vaekit.comparison.compare.card_measures", no_cards)
    monkeypatch.setattr("vaekit.comparison.latent_space.SIZE", 32)
    events: list[LogEvent] = []
    measured: list[tuple[int, int]] = []
    with open_finetuning(ModelOptions(str(vae_file), padding="zeros"), replace(request_of, latent=True)) as job:
        assert not request_of.out.exists()
        vae = job.train(events.append, lambda _: None)
        result = job.measure(vae, lambda done, total: measured.append((done, total)))
    assert events[-1].samples == 4
    assert measured[-1] == (2, 2)
    assert "4 samples" in result.report.protocol["not_measured"]["test cards"]
    assert result.files == ["vae.safetensors"]
    assert result.metrics["held_out_images"] == 2 and {"before", "after"} < set(result.metrics)
    metadata = open_tensors(request_of.out / "vae.safetensors").metadata["vaekit.finetuned"]
    assert json.loads(metadata)["metrics"] == result.metrics
    assert (request_of.out / CARD).read_text("utf-8").startswith("---\nlicense: mit\n")
    card, page = (request_of.out / name for name in (CARD, PAGE))
    assert "## Latent space" in card.read_text("utf-8") and "PPL" in page.read_text("utf-8")
    assert capfd.readouterr().out == ""


def test_longer_runs_are_measured_on_more(
    request_of: FinetuneRequest, vae_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thresholds that four samples reach, or not."""
    monkeypatch.setattr("vaekit.comparison.compare.card_measures", lambda _: {"mtf50": 0.5})
    monkeypatch.setattr("vaekit.tasks.finetune.CARDS_FROM", 1)
    monkeypatch.setattr("vaekit.tasks.finetune.LEAST_MEASURED", 1)
    with open_finetuning(ModelOptions(str(vae_file), padding="zeros"), request_of) as job:
        tuning = replace(job.tuning, run=replace(job.tuning.run, schedule=replace(job.tuning.run.schedule, samples=1)))
        vae = job.train(lambda _: None, lambda _: None)
        result = replace(job, tuning=tuning).measure(vae)
    assert result.metrics["held_out_images"] == 1
    assert all(each.measures["mtf50"].value == 0.5 for each in result.report.candidates)


def test_a_recipe_of_a_whole_vae_is_refused(request_of: FinetuneRequest, vae_file: Path) -> None:
    wrong = replace(request_of, recipe="mnist-mlp", overrides=())
    with pytest.raises(BadRecipe), open_finetuning(ModelOptions(str(vae_file)), wrong):
        pass
    assert not request_of.out.exists()

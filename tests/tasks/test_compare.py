"""`tasks.compare`: candidates, image sources and the written report."""

import json
import shutil
from pathlib import Path

import pytest

from vaekit.comparison.candidates import FolderCandidate, VAECandidate
from vaekit.comparison.image_sources import CARD_SIZE, builtin_images, images_in
from vaekit.errors import LatentMismatch, NotFound, NothingEvaluated
from vaekit.tasks.compare import (
    CompareOptions,
    candidates_and_images,
    compare,
    distinct_names,
    fits_for,
    folder_candidates,
    vae_candidates,
    with_corrected,
)
from vaekit.tasks.options import EngineOptions, ModelOptions, SelectionOptions

ENGINE = EngineOptions(device="cpu")


def test_a_candidate_for_each_vae_or_decoder(vae_file: Path, tmp_path: Path) -> None:
    other = str(shutil.copy(vae_file, tmp_path / "other.safetensors"))
    two = vae_candidates([str(vae_file), other], [], ModelOptions(), ENGINE)
    assert [one.name for one in two] == ["small.safetensors", "other.safetensors"]
    (decoder,) = vae_candidates([str(vae_file)], [other], ModelOptions(), ENGINE)
    assert isinstance(decoder, VAECandidate) and decoder.decoder is not decoder.encoder
    with pytest.raises(LatentMismatch):
        vae_candidates([str(vae_file)], ["builtin"], ModelOptions(), ENGINE)


def test_folders_of_other_tools_are_candidates(images: Path) -> None:
    options = CompareOptions(originals=images, reconstructions=[images])
    candidates, sources = candidates_and_images(options, ModelOptions(), ENGINE, SelectionOptions())
    assert isinstance(candidates[0], FolderCandidate)
    assert [source.name for source in sources] == ["0.png", "1.png", "broken.png"]
    with pytest.raises(NotFound):
        folder_candidates([images / "none"])


def test_a_limit_takes_the_same_images_every_time(images: Path) -> None:
    first, second = (images_in([images], 2, 7) for _ in range(2))
    assert [one.name for one in first] == [one.name for one in second] and len(first) == 2


def test_the_test_cards_have_the_side_of_the_vae() -> None:
    assert builtin_images(64)[0].read().pixels.shape[2:] == (64, 64)
    assert builtin_images(None)[0].read().pixels.shape[2:] == CARD_SIZE


def test_names_that_tell_paths_apart() -> None:
    assert distinct_names(["a/vae.pt", "b/vae.pt"]) == ["a/vae.pt", "b/vae.pt"]
    assert distinct_names(["a/x.pt", "b/y.pt"]) == ["x.pt", "y.pt"]
    assert len(set(distinct_names(["same", "same"]))) == 2


def test_a_correction_needs_images_and_a_file(vae_file: Path) -> None:
    candidates = vae_candidates([str(vae_file)], [], ModelOptions(), ENGINE)
    with pytest.raises(NothingEvaluated):
        fits_for(candidates, [str(vae_file)], 7, 0)
    with pytest.raises(NotFound):
        with_corrected(candidates, [str(vae_file)], None)


def test_a_report_of_another_tools_images(images: Path, tmp_path: Path) -> None:
    options = CompareOptions(originals=images, reconstructions=[images], shown=0, command="a command")
    result = compare(options, tmp_path / "r.html", ModelOptions(), ENGINE, SelectionOptions())
    (candidate,) = result.report.candidates
    assert candidate.measures["psnr"].value == 100.0
    assert [one.name for one in result.report.skipped] == ["broken.png"]
    assert json.loads(result.json.read_text("utf-8"))["protocol"]["command"] == "a command"
    assert result.page.is_file()

"""Points of a latent space: the same as those of encode, decode and sample, for texts, rows and images."""

from pathlib import Path

import pytest
import torch
from refusals import refuses
from small_text import lines_of, save_text_vae

from vaekit.errors import BadItem, NoPrior
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.points import Point, latent_shape, latents_of, shown_items
from vaekit.tasks.sample import SampleOptions, sample


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    path = tmp_path_factory.mktemp("vae") / "text.safetensors"
    save_text_vae(path)
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))


def test_a_text_is_encoded_as_by_the_vae(sentences: OpenModel) -> None:
    texts = ["A dog runs.", "A cat sleeps."]
    z = latents_of(sentences, [Point(text=text) for text in texts])
    assert z.shape == (2, *latent_shape(sentences)) == (2, 2)
    with torch.no_grad():
        x = sentences.schema.to_tensor(lines_of(texts))
        assert torch.equal(z, sentences.engine.vae.encode(x).mode)


def test_points_may_be_mixed(sentences: OpenModel) -> None:
    points = [Point(latent=[0.5, -2.0]), Point(text="A dog runs."), Point(seed=3)]
    z = latents_of(sentences, points)
    assert z[0].tolist() == [0.5, -2.0]
    assert torch.equal(z[1:2], latents_of(sentences, points[1:2]))
    assert torch.equal(z[2:], latents_of(sentences, points[2:]))


def test_a_seed_is_that_of_samples(model: OpenModel, sentences: OpenModel, tmp_path: Path) -> None:
    """The first item of `sample`, where that takes the most probable one."""
    z = latents_of(sentences, [Point(seed=5)])
    (item,) = shown_items(sentences, z)
    written = sample(sentences, tmp_path, SampleOptions(1, seed=5, greedy=True, keep_invalid=True))
    assert written.files[0].read_text().splitlines() == [item.text]
    assert latents_of(model, [Point(seed=1)]).shape == (1, *latent_shape(model))


def test_items_are_shown_as_their_domain_shows_them(model: OpenModel, sentences: OpenModel) -> None:
    (item,) = shown_items(sentences, torch.zeros(1, 2))
    assert isinstance(item.text, str) and item.is_valid and item.image is None
    z = torch.zeros(2, *latent_shape(model))
    for shown in shown_items(model, z):
        assert shown.text is None and shown.image is not None and shown.image.shape[0] == 3


def test_what_is_no_point_is_refused(model: OpenModel, sentences: OpenModel) -> None:
    with refuses(BadItem, "8", "7"):
        latents_of(sentences, [Point(text="A dog runs.\nA cat sleeps.")])
    with refuses(BadItem, "images"):
        latents_of(model, [Point(text="a picture")])
    with refuses(BadItem, "3 values"):
        latents_of(sentences, [Point(latent=[1.0, 2.0, 3.0])])
    with refuses(BadItem, "finite"):
        latents_of(sentences, [Point(latent=[1.0, 1e39])])
    prior, sentences.engine.vae.to_prior = sentences.engine.vae.to_prior, None
    try:
        with refuses(NoPrior):
            latents_of(sentences, [Point(seed=0)])
    finally:
        sentences.engine.vae.to_prior = prior


def test_molecules_are_drawn() -> None:
    pytest.importorskip("rdkit", reason="molecules need rdkit")
    pytest.importorskip("selfies", reason="molecules need selfies")
    from planted_tokens import planted_molecules

    molecules = planted_molecules()
    z = latents_of(molecules, [Point(text="CCNCNC")])
    (item,) = shown_items(molecules, z)
    assert item.text == "CCNCNC" and item.is_valid
    assert item.image is not None and tuple(item.image.shape) == (3, 220, 220)
    with refuses(BadItem, "no"):
        latents_of(molecules, [Point(text="no molecule")])

"""CLIP text models in local folders as encoders of captions: tiny ones with random weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from refusals import refuses
from small_diffusion import generate_options, train_options

from vaekit.diffusion.conditions import Vectors
from vaekit.diffusion.files import load_diffusion
from vaekit.errors import BadPlan, NotFound
from vaekit.tasks.generate import generate
from vaekit.tasks.text_vectors import open_text_encoder
from vaekit.tasks.train import train

pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A pipeline's folders: `text_encoder` and `tokenizer`."""
    from tiny_pipelines import clip, clip_tokenizer

    folder = tmp_path / "clip"
    clip(0).save_pretrained(folder / "text_encoder")
    clip_tokenizer(tmp_path / "words").save_pretrained(folder / "tokenizer")
    return folder


def test_texts_become_vectors_with_zeros_behind_their_ends(clip: Path) -> None:
    encoder = open_text_encoder(clip)
    vectors = encoder(["cat", "a cat cat", ""])
    there = vectors.any(dim=2)
    assert there.sum(dim=1).tolist() == [3, 5, 0] and vectors.shape[1] == 5
    assert torch.equal(vectors[:1, :3], encoder(["cat"]))


@pytest.mark.nightly
def test_a_model_is_trained_on_them_and_takes_prompts(clip: Path, tmp_path: Path) -> None:
    options = train_options(tmp_path, [f"diffusion.condition={{kind='clip', encoder='{clip}'}}"])
    train(options)
    file = load_diffusion(options.out)
    assert isinstance(file.model.config.condition, Vectors)
    wanted = replace(generate_options(tmp_path), prompt="a bar that lies, and a long story about it")
    assert generate(wanted).paths
    (clip / "text_encoder" / "model.safetensors").rename(clip / "gone")
    with refuses(BadPlan, "clip"):
        generate(wanted)
    assert generate(replace(wanted, prompt=None)).notes
    from tiny_pipelines import clip as other

    other(1).save_pretrained(clip / "text_encoder")
    with refuses(BadPlan, file.facts.captions["digest"]):
        generate(wanted)


def test_a_folder_without_a_text_model_is_refused(tmp_path: Path) -> None:
    with refuses(NotFound, "config.json"):
        open_text_encoder(tmp_path)

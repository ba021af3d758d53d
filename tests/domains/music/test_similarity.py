"""Similarity of excerpts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_music import music_schema, random_excerpt, save_music_vae

from vaekit.domains.music.domain import MUSIC
from vaekit.domains.music.excerpts import DRUMS, HOLD, MELODY, REST, ROLL, Excerpt, silence
from vaekit.domains.music.similarity import PITCHES, pitch_shares
from vaekit.latents.paths import linear
from vaekit.tasks.interpolate import InterpolationOptions, interpolate, points_between
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.ordered_path import DENSITY, ordered_points


def melody(*values: int) -> Excerpt:
    return Excerpt(MELODY, "4/4", 120.0, tuple((value,) for value in values))


A = melody(60, HOLD, 62, 64, REST, 64)


def test_a_histogram_counts_starts_of_notes() -> None:
    assert pitch_shares(A) == {60: 0.25, 62: 0.25, 64: 0.5}
    assert pitch_shares(melody(60, HOLD, 60, HOLD)) == {60: 1.0}
    assert pitch_shares(Excerpt(ROLL, "4/4", 120.0, ((64, 60), (64, 62)), 1)) == pytest.approx(
        {60: 1 / 3, 62: 1 / 3, 64: 1 / 3}
    )
    assert pitch_shares(silence(MELODY, 8, 1, "4/4")) == {}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (A, 1.0),
        (melody(64, 62, 60, 64), 1.0),
        (melody(60, 60, 60, 61), 0.25),
        (melody(*(each + 1 if each == 64 else each for each in (60, HOLD, 62, 64, REST, 64))), 0.5),
        (melody(70, 71), 0.0),
        (silence(MELODY, 8, 1, "4/4"), 0.0),
    ],
)
def test_similarity_is_the_common_area(other: Excerpt, expected: float) -> None:
    both = PITCHES.of_pairs([A, other], [other, A])
    assert both.tolist() == pytest.approx([expected, expected])


def test_excerpts_without_notes_are_equal() -> None:
    assert PITCHES.of_pairs([silence(DRUMS, 4, 1, "4/4")], [silence(DRUMS, 8, 1, "4/4")]).tolist() == [1.0]


def test_paths_are_ordered_by_pitches() -> None:
    assert MUSIC.similarity is not None
    assert MUSIC.similarity.along_paths is PITCHES


def test_an_ordered_path_between_excerpts(tmp_path: Path) -> None:
    schema, files = music_schema(), [tmp_path / "a.mid", tmp_path / "b.mid"]
    save_music_vae(tmp_path / "vae.safetensors", schema)
    for seed, file in enumerate(files):
        MUSIC.write([random_excerpt(MELODY, seed)], file, schema)
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")), EngineOptions())
    loaded = MUSIC.read_all(files, schema, model.engine.geometry)
    options = InterpolationOptions(steps=3, ordered=True)
    points = points_between(model, loaded, options, linear)
    dense = points_between(model, loaded, replace(options, steps=4 * DENSITY - 1, ordered=False), linear)
    items = schema.to_items(model.engine.decode(dense))
    chosen = ordered_points(PITCHES.of_pairs([items[0]] * len(items), items).tolist(), items, 5)
    torch.testing.assert_close(points, dense[chosen])
    assert interpolate(model, files, tmp_path / "out", options).items == 5

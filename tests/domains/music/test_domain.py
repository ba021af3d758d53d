"""Music as a domain: what its files sound and look like, its measures, and every verb on an untrained VAE."""

import base64
import io
import math
import re
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refuses
from small_music import TUNES, music_schema, random_excerpt, save_music_vae

from vaekit.datasets.dataset import Parsed, Record
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.find import domain_named
from vaekit.domains.item_batches import open_items
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.music.domain import MUSIC
from vaekit.domains.music.drawings import roll, sheet
from vaekit.domains.music.excerpts import DRUMS, HOLD, KINDS, MELODY, REST, Excerpt
from vaekit.domains.music.measures import excerpt_errors, share_of_steps
from vaekit.domains.music.page import page
from vaekit.domains.music.properties import (
    PROPERTIES,
    histogram_overlap,
    metrical_levels,
    pitch_histogram,
    similarities,
    syncopation,
)
from vaekit.domains.music.sound import LOUDEST, MOST_SECONDS, RATE, hit, render, tone, wav
from vaekit.domains.music.windows import Windows
from vaekit.domains.music.write import numbered, write_rows
from vaekit.domains.recipes import recipe
from vaekit.errors import BadItem
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.tasks.cache import cache
from vaekit.tasks.decode import decode
from vaekit.tasks.direction import DirectionOptions, direction
from vaekit.tasks.edit import edit
from vaekit.tasks.encode import encode
from vaekit.tasks.generate import generate
from vaekit.tasks.generation import GenerateOptions
from vaekit.tasks.interpolate import InterpolationOptions, interpolate
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reconstruct import reconstruct
from vaekit.tasks.sample import SampleOptions, sample
from vaekit.tasks.train import TrainOptions, train
from vaekit.tasks.traverse import TraverseOptions, traverse

LOUD = Excerpt("polyphony", "4/4", 120.0, (((100, 96, 60, 30),) + ((HOLD,) * 4,) * 3) * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_sounds_are_not_clipped_and_do_not_click(kind: str) -> None:
    excerpts = [random_excerpt(kind, seed) for seed in range(3)]
    sound = render(excerpts)
    seconds = sum(excerpt.seconds for excerpt in excerpts)
    assert seconds * RATE < len(sound) < (seconds + 1) * RATE and sound.dtype == np.float32
    assert np.isfinite(sound).all() and 0.05 < np.abs(sound).max() <= LOUDEST + 1e-6
    assert abs(float(sound[0])) < 0.02 and abs(float(sound[-1])) < 1e-3


def test_loud_chords_are_scaled() -> None:
    assert np.abs(render([LOUD] * 2)).max() <= LOUDEST + 1e-6
    assert not render([replace(LOUD, steps=((REST,) * 4,) * 4)]).any()
    assert len(render([])) < RATE


@pytest.mark.parametrize("pitch", [0, 21, 60, 108, 127])
@pytest.mark.parametrize("length", [1, 50, 4000])
def test_notes_start_and_end_in_silence(pitch: int, length: int) -> None:
    note = tone(pitch, length)
    assert len(note) > length and np.isfinite(note).all() and abs(note[0]) < 1e-3 and abs(note[-1]) < 1e-3
    highest = np.abs(np.diff(note)).max()
    assert highest < 2.5, "no step larger than its harmonics make"


def test_a_cut_note_ends_smoothly() -> None:
    """The end of a note is as smooth as its middle: a click would be a step many times larger than its neighbors."""
    note = tone(48, 6000)
    steps = np.abs(np.diff(note))
    assert steps[-1200:].max() <= steps[:4000].max()


def test_drums_differ_and_end() -> None:
    hits = [hit(place) for place in range(9)]
    assert len({each.tobytes() for each in hits}) == 9
    assert all(abs(each[0]) < 0.01 and abs(each[-1]) < 0.01 and np.abs(each).max() > 0.1 for each in hits)


def test_long_pieces_are_rendered_in_part() -> None:
    long = Excerpt(MELODY, "4/4", 4.0, ((60,), *((HOLD,),) * 999))
    assert len(render([long, long])) <= (MOST_SECONDS + 1) * RATE


def test_a_wav_file_can_be_read() -> None:
    with wave.open(io.BytesIO(wav(render([LOUD])))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        levels = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert np.abs(levels.astype(int)).max() <= LOUDEST * 32767 + 1


@pytest.mark.parametrize("kind", KINDS)
def test_rolls_show_notes(kind: str) -> None:
    image = roll(random_excerpt(kind, 1))
    assert image.shape[1] == 32 * 6 and len({tuple(color) for color in image.reshape(-1, 3).tolist()}) > 3
    page = sheet([random_excerpt(kind, seed) for seed in range(6)])
    assert page.shape[0] == 3 and -1 <= float(page.min()) < float(page.max()) <= 1
    assert roll(Excerpt(kind, "4/4", 120.0, ())).size and roll(random_excerpt(kind, 0, bars=200)).shape[1] <= 1536


def test_written_excerpts_are_read_again(tmp_path: Path) -> None:
    for kind in KINDS:
        schema = music_schema(kind)
        excerpts = [random_excerpt(kind, seed, meter=meter) for seed in (3, 4) for meter in ("4/4", "6/8")]
        excerpts = [replace(excerpt, tempo=90.0 + number) for number, excerpt in enumerate(excerpts)]
        written = write_rows(numbered(excerpts), tmp_path / kind / "e.mid")
        assert [path.suffix for path in written] == [".mid", ".wav", ".png", ".html"]
        assert sorted(path.name for path in (tmp_path / kind).iterdir()) == sorted(path.name for path in written)
        again = MUSIC.read(written[0], schema)
        assert len(again.originals) == 4 and not again.skipped
        for one, other in zip(excerpts, again.originals, strict=True):
            assert one.meter == other.meter and one.tempo == pytest.approx(other.tempo, rel=1e-5)
            same = {note for _, note in one.notes()} == {note for _, note in other.notes()}
            assert same or kind == "roll", "of a roll, pitches that sound on in the next excerpt are one note"


def test_pages_are_complete_and_safe() -> None:
    cells = [("<b>&", random_excerpt(MELODY, 0)), ("", random_excerpt(DRUMS, 0))]
    text = page('<script>"', [('row "1"', cells)] * 2)
    assert text.count("<audio") == text.count("<img") == 4 and "http" not in text and "<script" not in text
    assert "<b>" not in text
    (first, *_) = re.findall(r'src="data:audio/wav;base64,([^"]*)"', text)
    with wave.open(io.BytesIO(base64.b64decode(first))) as file:
        assert file.getnframes() > RATE
    assert page("long", numbered([random_excerpt(MELODY, 0)] * 90)).count("<audio") < 40


def test_properties() -> None:
    excerpt = Excerpt(MELODY, "4/4", 120.0, tuple((value,) for value in (60, REST, 64, HOLD, 72, HOLD, HOLD, HOLD) * 2))
    values = {name: measure([excerpt])[0] for name, measure in PROPERTIES.items()}
    assert values == {"note density": 1.5, "pitch range": 12, "mean pitch": pytest.approx(196 / 3), "syncopation": 0}
    silent = Excerpt(MELODY, "4/4", 120.0, ((REST,),) * 16)
    assert PROPERTIES["note density"]([silent]) == [0]
    assert all(math.isnan(PROPERTIES[name]([silent])[0]) for name in ("pitch range", "mean pitch", "syncopation"))


def test_syncopation_counts_notes_held_over_stronger_steps() -> None:
    def of(*values: int) -> float:
        return syncopation(Excerpt(MELODY, "4/4", 120.0, tuple((value,) for value in values)))

    straight = of(*([60, HOLD, HOLD, HOLD] * 4))
    off = of(REST, REST, *([60, HOLD, HOLD, HOLD] * 3), 60, HOLD)
    assert straight == 0 and off > 0.5


@pytest.mark.parametrize(
    ("meter", "expected"),
    [
        ("4/4", [5, 1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1]),
        ("3/4", [4, 1, 2, 1, 3, 1, 2, 1, 3, 1, 2, 1]),
        ("6/8", [4, 1, 2, 1, 2, 1, 3, 1, 2, 1, 2, 1]),
    ],
)
def test_metrical_levels(meter: str, expected: list[int]) -> None:
    assert metrical_levels(random_excerpt(MELODY, 0, meter=meter, bars=1)) == expected


def test_similarity_and_histograms() -> None:
    one, other = random_excerpt(MELODY, 0), random_excerpt(MELODY, 1)
    assert similarities([one, one], [one, other])[0] == 1 > similarities([one], [other])[0]
    assert pitch_histogram(one).sum() == pytest.approx(1) and histogram_overlap(one, one) == pytest.approx(1)
    silent = Excerpt(MELODY, "4/4", 120.0, ((REST,),) * 16)
    assert histogram_overlap(silent, silent) == 1 and histogram_overlap(one, silent) == 0


def test_accuracy_is_of_steps() -> None:
    schema = music_schema()
    x = torch.tensor([[2, 5, 6, 7, 8, 0, 0]])
    hits = torch.tensor([[True, True, False, True, False, True, True]])
    assert share_of_steps(schema, x, hits).tolist() == [0.5], "neither the meter nor the end counts"
    assert excerpt_errors(schema).quantities[0].name == "step_accuracy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE, and tunes of which one bar does not fit."""
    folder = tmp_path_factory.mktemp("music")
    (folder / "tunes.abc").write_text(TUNES + "\nX:3\nM:4/4\nL:1/4\nQ:75\nK:C\nC4|(3C/4D/4E/4 F7/2|E4|G4||\n")
    (folder / "fits.abc").write_text(TUNES)
    splits = MUSIC.open(folder / "tunes.abc", SkipLog())
    save_music_vae(folder / "vae.safetensors", MUSIC.schema({"bars": 1, "held_out": 0}, splits))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> OpenModel:
    return open_model(ModelOptions(str(folder / "vae.safetensors")), EngineOptions(device="cpu"))


def test_files_through_a_vae(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    assert model.domain is domain_named("music")
    (result,) = reconstruct(model, [folder / "tunes.abc"], tmp_path, side_by_side=True).results
    assert "tunes.abc:15" in " ".join(result.notes) and "bar 2" in " ".join(result.notes)
    again = open_items(MUSIC, tmp_path / "tunes.side-by-side.mid", SkipLog(), model.schema).train
    assert isinstance(again, Windows)
    items = [again.unchecked(number) for number in range(33)]
    excerpts = [item.item for item in items if isinstance(item, Parsed)]
    originals = MUSIC.read(folder / "tunes.abc", model.schema).originals
    assert len(excerpts) == 33 and [each.steps for each in excerpts[:28:2]] == [each.steps for each in originals[:14]]
    assert [round(each.tempo) for each in excerpts] == [90] * 18 + [120] * 8 + [75] * 7
    assert not list(excerpts[28].notes()), "what does not fit stays in its place, as rests"
    suffixes = (".mid", ".wav", ".png", ".html")
    names = {f"tunes{middle}{suffix}" for middle in ("", ".side-by-side") for suffix in suffixes}
    assert {path.name for path in tmp_path.iterdir()} == names
    (encoded,) = encode(model, [folder / "fits.abc"], tmp_path / "latents").results
    (decoded,) = decode(model, [encoded.output], tmp_path / "decoded").results
    assert decoded.output.suffix == ".mid" and decoded.output.stat().st_size > 100


def test_files_without_music_of_the_kind(model: OpenModel, tmp_path: Path) -> None:
    drums = replace(random_excerpt(DRUMS, 0), tempo=90.0)
    write_rows(numbered([drums]), tmp_path / "drums.mid")
    with refuses(BadItem, "drums.mid"):
        MUSIC.read(tmp_path / "drums.mid", model.schema)


def test_verbs(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    fits = folder / "fits.abc"
    drawn = sample(model, tmp_path / "sampled", SampleOptions(count=3, unique=True, new_to=fits))
    between = interpolate(model, [fits], tmp_path / "between", InterpolationOptions(steps=1, ordered=True))
    moved = traverse(model, fits, tmp_path / "moved", TraverseOptions(steps=3))
    for files in (drawn.files, between.files, moved.files):
        assert {path.suffix for path in files} == {".mid", ".wav", ".png", ".html", ".json"}
        assert all(path.stat().st_size for path in files)
    assert between.items == 25 and (tmp_path / "moved" / "traversal.html").read_text().count("<audio") == 6
    learned = tmp_path / "density.safetensors"
    direction(model, [fits], learned, DirectionOptions(property="note density"))
    edited = edit(model, [fits], [learned], [[-1.0, 1.0]], tmp_path / "edited")
    assert edited and len(list((tmp_path / "edited").glob("*.mid"))) == 2


def test_measures_of_an_evaluation(model: OpenModel, folder: Path) -> None:
    schema = model.schema
    items = MUSIC.evaluation_items(folder / "tunes.abc", model.engine.vae, schema, MeasureOptions())
    x = torch.stack([items.read(name) for name in items.names if name != "tunes.abc:15"])
    measures, _ = MUSIC.measures(model.engine.vae, schema, MeasureOptions(nll_samples=2), torch.device("cpu"))
    runner, _ = MUSIC.runner(model.engine.vae, model.engine.plan)
    passed = VAEPass(tuple("e" * len(x)), x, runner, seed=0, sampled=False)
    with torch.no_grad():
        values = {name: each for measure in measures.items for name, each in measure.compute(passed).items()}
    assert {"step_accuracy", "exact_match", "pitch_overlap", "density_error", "teacher_forced_accuracy"} <= set(values)
    assert all(len(each) == len(x) and bool(each.isfinite().all()) for each in values.values())
    assert all(0 <= float(values[name].min()) <= float(values[name].max()) <= 1 for name in list(values)[:3])


def test_samples_are_compared_with_data(model: OpenModel, folder: Path) -> None:
    fits, schema = folder / "fits.abc", model.schema
    real = [schema.to_items(schema.to_tensor([record]))[0] for record in records_of(fits, model)]
    compare = MUSIC.sample_comparison(fits, schema)
    same, other = compare(real, 0), compare([random_excerpt(MELODY, 0, bars=1)] * 4, 0)
    assert same.values["novel"] == 0 and same.values["pitch_overlap"] == pytest.approx(1)
    assert max(value for value in same.parts.values() if value == value) == pytest.approx(0)
    assert other.values["novel"] == 1 and other.values["unique"] == 0.25 and other.values["pitch_overlap"] < 0.9
    assert {measure.name for measure in same.measures} == set(same.values) and len(same.histograms) == 4
    unknown = MUSIC.sample_evaluation(fits, None, schema)(real, 0)
    assert "novel" not in unknown.values and unknown.not_measured
    silent = compare([replace(real[0], steps=((REST,),) * 16)], 0)
    assert silent.values["sounding"] == 0


def records_of(path: Path, model: OpenModel) -> list[Record]:
    data = open_items(MUSIC, path, SkipLog(), model.schema).train
    return [data.read(number) for number in range(len(data))]


def test_the_recipe(folder: Path) -> None:
    settings = recipe("music", ("schedule.samples=32",))
    assert settings.domain == "music"
    MUSIC.check_table({name: value for name, value in settings.data.items() if name != "domain"})


def test_latents_are_cached_and_generated(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    cache(model, folder / "fits.abc", tmp_path / "cache")
    small = ("schedule.batch_size=8", "schedule.warmup_samples=8", "diffusion.net.width=16", "diffusion.net.depth=1")
    changes = ("data.domain=music", *small)
    vae = ModelOptions(str(folder / "vae.safetensors"))
    train(TrainOptions("diffusion-molecules", tmp_path / "cache", tmp_path / "run", 32, None, 0, changes, vae=vae))
    made = generate(GenerateOptions(tmp_path / "run", tmp_path / "made", count=3, steps=2)).paths
    assert len(MUSIC.open(next(path for path in made if path.suffix == ".mid"), SkipLog()).train) == 1

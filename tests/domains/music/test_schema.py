"""Excerpts as tokens, and back."""

from dataclasses import replace

import pytest
import torch
from refusals import refuses
from small_music import music_schema, random_excerpt

from vaekit.datasets.dataset import Line, Parsed
from vaekit.distributions.sequences import END
from vaekit.domains.music.domain import MUSIC
from vaekit.domains.music.excerpts import DRUMS, HOLD, KINDS, MELODY, POLYPHONY, REST, ROLL, Excerpt
from vaekit.domains.music.fit import fit
from vaekit.domains.music.schema import MusicSchema, schema_from
from vaekit.domains.music.settings import MusicSettings
from vaekit.errors import BadCheckpoint, BadItem, BadRecipe, NotFound, NoTrainingData


def tensors(schema: MusicSchema, *excerpts: Excerpt) -> torch.Tensor:
    return schema.to_tensor([Parsed(f"e{number}", excerpt) for number, excerpt in enumerate(excerpts)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bars", [2, 0])
def test_tokens_are_an_exact_inverse(kind: str, bars: int) -> None:
    excerpts = [random_excerpt(kind, seed, meter=meter) for seed in range(20) for meter in ("4/4", "6/8")]
    schema = fit(MusicSettings(kind, bars, voices=3), excerpts)
    x = tensors(schema, *excerpts)
    assert x.shape == (40, schema.length) and x.dtype == torch.long and int(x.max()) < schema.table.size
    assert schema.to_items(x) == [replace(excerpt, tempo=schema.tempo) for excerpt in excerpts]
    assert torch.equal(tensors(schema, *schema.to_items(x)), x)
    assert schema.example().shape == (1, schema.length)


@pytest.mark.parametrize("kind", KINDS)
def test_any_tokens_are_an_excerpt(kind: str) -> None:
    schema = music_schema(kind)
    x = torch.randint(0, schema.table.size, (200, schema.length), generator=torch.Generator().manual_seed(0))
    items = schema.to_items(x)
    again = tensors(schema, *items)
    assert schema.to_items(again) == items, "what was written is read as it is"
    assert {len(item.steps) for item in items} <= {32, 24}
    assert (again[:, -1] == END).all()


def test_the_meter_is_a_token_if_there_are_several() -> None:
    schema = music_schema()
    assert schema.lead == 1 and schema.meters == ("4/4", "6/8") and schema.group == 16
    excerpts = [random_excerpt(MELODY, seed, 1, each) for seed in range(9) for each in ("4/4", "6/8")]
    one = fit(MusicSettings(meters=("4/4",)), excerpts)
    assert one.lead == 0 and one.meters == ("4/4",) and one.length == 33 and one.group == 16
    with refuses(BadItem, "6/8"):
        tensors(one, random_excerpt(MELODY, 0, 1, "6/8"))


def test_what_does_not_fit_is_refused() -> None:
    schema = music_schema()
    fitting = random_excerpt(MELODY, 0)
    high = replace(fitting, steps=((127,), *fitting.steps[1:]))
    with refuses(BadItem, "G9", "e0"):
        tensors(schema, high)
    others = (random_excerpt(POLYPHONY, 0), replace(fitting, per_quarter=2), replace(fitting, steps=fitting.steps * 9))
    for other in others:
        with pytest.raises(BadItem):
            tensors(schema, other)
    with pytest.raises(BadItem):
        schema.to_tensor([Line("l", "a line")])
    drums = fit(MusicSettings(DRUMS), [Excerpt(DRUMS, "4/4", 120.0, ((1,), (0,)) * 16)])
    with refuses(BadItem, "kick", "snare"):
        tensors(drums, Excerpt(DRUMS, "4/4", 120.0, ((3,), (0,)) * 16))


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_plain(kind: str) -> None:
    schema = music_schema(kind)
    assert schema_from(schema.as_plain()) == schema
    settings = schema.vae_settings()["net"]
    assert settings["vocabulary"] == schema.table.size and settings["length"] == schema.length


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "song"},
        {"bars": -1},
        {"bars": True},
        {"per_quarter": 0},
        {"voices": 9},
        {"voices": 2},
        {"length": 10**9},
        {"tempo": float("nan")},
        {"tempo": "fast"},
        {"low": 90, "high": 20},
        {"high": 128},
        {"meters": []},
        {"meters": ["4/4", "4/4"]},
        {"meters": ["4/0"]},
        {"meters": "4/4"},
        {"hits": None},
        {"kind": DRUMS, "hits": [512]},
        {"kind": DRUMS, "hits": []},
    ],
)
def test_damaged_schemas_are_refused(change: dict[str, object]) -> None:
    plain = {**music_schema().as_plain(), **change}
    with pytest.raises(BadCheckpoint):
        MUSIC.schema_from(plain, None)


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "song"},
        {"bars": -1},
        {"steps": 0},
        {"voices": 0},
        {"hop": 0},
        {"transpose": 99},
        {"meters": ["x"]},
        {"kind": DRUMS, "transpose": 1},
        {"length": 1},
        {"held_out": -1},
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense(table: dict[str, object]) -> None:
    with pytest.raises(BadRecipe):
        MUSIC.check_table(table)


def test_transposition_keeps_intervals_and_range() -> None:
    excerpts = [random_excerpt(MELODY, seed) for seed in range(30)]
    schema = fit(MusicSettings(transpose=3), excerpts)
    x = tensors(schema, *excerpts)
    for shift in (-3, 0, 3):
        moved = schema.to_items(schema.transposed(x, torch.full((30,), shift)))
        for before, after in zip(excerpts, moved, strict=True):
            assert [(value + shift if value >= 0 else value,) for (value,) in before.steps] == list(after.steps)
    assert torch.equal(schema.transposed(x, torch.full((30,), 60)), x), "out of range: as it was"
    drums = music_schema(DRUMS)
    tokens = tensors(drums, random_excerpt(DRUMS, 0))
    assert torch.equal(drums.transposed(tokens, torch.tensor([2])), tokens)


def test_tokens_that_make_no_sense_are_rests() -> None:
    schema = music_schema(MELODY)
    x = tensors(schema, random_excerpt(MELODY, 0)).clone()
    x[0, 1] = schema.numbers[HOLD]
    assert schema.to_items(x)[0].steps[0] == (REST,)
    roll = music_schema(ROLL)
    step = [roll.numbers[50], roll.numbers[60], roll.numbers[50]]
    (item,) = roll.to_items(torch.tensor([[2, *step, *[END] * (roll.length - 4)]]))
    assert item.steps[0] == (60, 50, REST)


def test_nothing_to_fit() -> None:
    for excerpts in ([], [Excerpt(MELODY, "4/4", 120.0, ((REST,),) * 32)]):
        with pytest.raises(NoTrainingData):
            fit(MusicSettings(), excerpts)
    with refuses(NoTrainingData, "16,384"):
        fit(MusicSettings(bars=200), [replace(random_excerpt(MELODY, 0), steps=((60,),) * 20_000)])
    with pytest.raises(NotFound):
        music_schema().property_named("loudness")

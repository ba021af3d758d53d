"""Recipes: read, with_overrides and refused; their VAE, schedule and objective."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from torch import Generator, Tensor
from torch.nn import Identity

from vaekit.distributions import Always, DiagonalGaussian, Normal, StandardNormal
from vaekit.errors import BadRecipe
from vaekit.families.kl.net import KLConfig
from vaekit.families.parts.net import PartsConfig
from vaekit.training.objectives import Pass
from vaekit.training.recipe import (
    Recipe,
    as_value,
    merged,
    read_recipe,
    recipe_of,
    upgraded,
    weight_from,
    with_overrides,
)
from vaekit.training.terms.table import TERMS
from vaekit.vae import VAE


def test_shares_follow_the_length_of_the_run() -> None:
    words = {"objective": {"terms": {"l1": {"weight": [["0%", 0], ["12.5 %", 1]], "period": "50%"}}}}
    for samples in (800, 8_000):
        weight = Recipe("x", {**words, "schedule": {"samples": samples}}).objective().weights["l1"]
        assert weight.points == ((0.0, 0.0), (samples / 8, 1.0)) and weight.period == samples / 2
        assert weight.at(samples // 16) == pytest.approx(0.5)


def test_numbers_stay_numbers() -> None:
    assert weight_from([[0, 1], ["50%", 0], [900, 1]], None, 1_000).points == ((0.0, 1.0), (500.0, 0.0), (900.0, 1.0))


@pytest.mark.parametrize("place", ["half", "50", "-5%", "%", None, [1]])
def test_what_is_no_share_is_told(place: object) -> None:
    recipe = Recipe("x", {"objective": {"terms": {"l1": {"weight": [[place, 1]]}}}, "schedule": {"samples": 10}})
    with pytest.raises(BadRecipe):
        recipe.objective()


def test_a_share_of_nothing_is_told() -> None:
    with pytest.raises(BadRecipe):
        Recipe("x", {"objective": {"terms": {"l1": {"weight": [["50%", 1]]}}}}).objective()


def test_a_capacity_grows_over_shares_of_the_run() -> None:
    terms = {"kl": {"capacity": [["0%", 0], ["50%", 25]]}}
    seen = Pass(
        VAE(Identity(), certain, None, Normal, to_prior=Always(StandardNormal())), torch.ones(2, 3), 250, Generator()
    )
    value = (
        Recipe("x", {"objective": {"terms": terms}, "schedule": {"samples": 1_000}})
        .objective()
        .terms["kl"]
        .compute(seen)
    )
    assert value.tolist() == pytest.approx([11.0, 11.0])


def certain(_: Tensor) -> DiagonalGaussian:
    """1.5 nats of KL from N(0, 1)."""
    return DiagonalGaussian(torch.ones(2, 3), torch.zeros(2, 3))


def test_a_capacity_that_is_no_weight_is_told() -> None:
    recipe = Recipe("x", {"objective": {"terms": {"kl": {"capacity": "much"}}}, "schedule": {"samples": 10}})
    with pytest.raises(BadRecipe):
        recipe.objective()


def test_recipes_of_the_first_edition_are_upgraded() -> None:
    old = {"data": "Squares", "pictures": {"size": 8, "crop": "centre"}, "vae": {"net": {"picture_size": 8}}}
    found = recipe_of("old", old, ["pictures.size=16", "vae.net.picture_size=16"])
    assert found.table == {
        "dataset": "Squares",
        "data": {"domain": "images", "size": 16, "crop": "center"},
        "vae": {"net": {"image_size": 16}},
    }


def test_text_of_the_first_edition_had_characters() -> None:
    net = {"kind": "sequence"}
    for data, unit in (({}, "characters"), ({"unit": "words"}, "words")):
        found = recipe_of("old", {"data": {"domain": "text", **data}, "vae": {"net": net}})
        assert found.table["data"]["unit"] == unit
    assert (
        recipe_of("old", {"data": {"domain": "text"}, "vae": {"net": net}}, ["data.unit=bytes"]).data["unit"] == "bytes"
    )
    for table in ({"domain": "text"}, {"domain": "images"}):
        kind = "tokens" if table["domain"] == "text" else "sequence"
        assert "unit" not in recipe_of("new", {"data": table, "vae": {"net": {"kind": kind}}}).data


@pytest.mark.parametrize(("trim", "share"), [(0, 0.0), (0.05, 0.05), (None, 0.0)])
def test_a_share_of_each_batch_may_be_trimmed(trim: float | None, share: float) -> None:
    objective = {"terms": {"l1": 1.0}, **({} if trim is None else {"trim": trim})}
    assert Recipe("x", {"objective": objective}).objective().trim == share


@pytest.mark.parametrize("trim", [1, 1.5, -0.1, "5%", True, math.nan, [0.05]])
def test_what_cannot_be_trimmed_is_refused(trim: object) -> None:
    with refuses(BadRecipe, "trim"):
        Recipe("x", {"objective": {"terms": {"l1": 1.0}, "trim": trim}}).objective()


@pytest.mark.parametrize("data", [None, 3, {}, {"domain": 3}])
def test_a_recipe_without_a_domain_is_refused(data: object) -> None:
    with pytest.raises(BadRecipe):
        _ = Recipe("mine", {} if data is None else {"data": data}).domain


def test_a_file_of_either_format_is_named_after_its_stem(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('about = "x"\n[schedule]\nsamples = 100\n')
    (tmp_path / "yours.json").write_text('{"about": "x", "schedule": {"samples": 100}}')
    for name, stem in (("mine.toml", "mine"), ("yours.json", "yours")):
        found = read_recipe(tmp_path / name, ["schedule.samples=50"])
        assert (found.name, found.table) == (stem, {"about": "x", "schedule": {"samples": 50}})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.toml", b"a = "),
        ("x.toml", b"\xff"),
        ("x.json", b"{"),
        ("x.json", b"[1]"),
        ("x.json", b"[" * 100_000),
        ("gone.toml", None),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with refuses(BadRecipe, name):
        read_recipe(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("0.5", 0.5), ("[1, 2]", [1, 2]), ("true", True), ('"4"', "4"), ("photos/x", "photos/x"), ("", "")],
)
def test_values_of_overrides_are_toml_or_text(text: str, value: object) -> None:
    assert as_value(text) == value and type(as_value(text)) is type(value)


def test_overrides_change_a_copy_and_may_add_tables() -> None:
    table: dict[str, Any] = {"schedule": {"samples": 100}}
    assert with_overrides("x", table, [" schedule.samples = 50", "codes.by=average"]) == {
        "schedule": {"samples": 50},
        "codes": {"by": "average"},
    }
    assert table == {"schedule": {"samples": 100}}


@pytest.mark.parametrize(
    "change", ["schedule.samples", "=5", "schedule.samples.x=5", "schedule.=5", "schedul.samples=5", "nonsense=1"]
)
def test_overrides_of_no_key_are_refused(change: str) -> None:
    with refuses(BadRecipe, change, "mine"):
        with_overrides("mine", {"schedule": {"samples": 100}}, [change])


def test_defaults_fill_gaps_of_the_vae_alone(table: dict[str, Any]) -> None:
    recipe = Recipe("x", table)
    assert recipe.with_defaults({}) is recipe
    filled = recipe.with_defaults({"net": {"data_shape": [30], "length": 9}})
    assert filled.table["vae"]["net"] == {**table["vae"]["net"], "length": 9}
    assert merged({"a": {"b": 1}}, {"a": 2}) == {"a": 2}


def test_tables_of_the_first_edition_may_have_either_name() -> None:
    assert upgraded({"images": {"size": 8}, "data": {"often": "area"}}) == {
        "data": {"domain": "images", "often": "area", "size": 8}
    }
    assert upgraded({"pictures": 3}) == {"data": 3}
    assert upgraded({"data": {"domain": "tables"}}) == {"data": {"domain": "tables"}}


def test_the_config_is_that_of_its_family(table: dict[str, Any], small_kl: KLConfig) -> None:
    assert isinstance(Recipe("x", table).config(), PartsConfig)
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(small_kl).items()}
    assert Recipe("x", {"vae": {"family": "kl", **fields}}).config() == small_kl


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ("vae.family=unheard", ["unheard"]),
        ("vae.family=3", ["3"]),
        ("vae.family=kl", ["vae"]),
        ("vae.net.kind=magic", ["magic"]),
        ("vae=3", ["vae"]),
    ],
)
def test_a_vae_that_cannot_be_built_is_refused(table: dict[str, Any], change: str, facts: list[str]) -> None:
    with refuses(BadRecipe, "mine", *facts):
        recipe_of("mine", table, [change]).config()


@pytest.mark.parametrize("change", [{"encoder_widths": [], "decoder_widths": []}, {"hidden_channels": 0}])
def test_nets_of_nothing_are_refused(small_kl: KLConfig, change: dict[str, Any]) -> None:
    with refuses(BadRecipe, *change):
        Recipe("x", {"vae": {"family": "kl", **vars(small_kl), **change}}).config()


def test_a_vae_has_random_weights_from_the_generator_of_torch(small_recipe: Recipe) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(torch.cat([each.flatten() for each in small_recipe.vae().parameters()]))
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


@pytest.mark.parametrize("change", ["schedule.samples=0", "schedule.speed=3", 'schedule.batch_size="8"', "schedule=3"])
def test_a_schedule_that_means_nothing_is_refused(table: dict[str, Any], change: str) -> None:
    assert Recipe("x", table).schedule().samples == 320
    with refuses(BadRecipe, "mine", "schedule"):
        recipe_of("mine", table, [change]).schedule()


def test_terms_may_have_any_name(table: dict[str, Any]) -> None:
    table["objective"] = {"per_dimension": True, "terms": {"mine": {"term": "mse", "weight": 2}, "l1": 0.5, "kl": {}}}
    recipe = Recipe("x", table)
    objective = recipe.objective()
    assert {name: weight.at(0) for name, weight in objective.weights.items()} == {"mine": 2.0, "l1": 0.5, "kl": 1.0}
    assert objective.per_dimension
    assert recipe.kinds_of_terms() == {"mine": "mse", "l1": "l1", "kl": "kl"}


@pytest.mark.parametrize(
    ("objective", "facts"),
    [
        ({"terms": {"unheard": 1}}, ["unheard", *TERMS]),
        ({"terms": {"mine": {"term": 3}}}, ["3"]),
        ({"terms": {"kl": {"speed": 3}}}, ["kl", "speed"]),
        ({"terms": {"kl": {"free_nats": "much"}}}, ["kl", "free_nats", "much"]),
        ({"terms": {"kl": {"weight": "much"}}}, ["kl", "much"]),
        ({"terms": {"lpips": 1}}, ["lpips", "network"]),
        ({"terms": {"kl": {"free_nats": -1.0}}}, ["kl", "free_nats"]),
        ({"terms": {}}, ["objective.terms"]),
        ({}, ["objective.terms"]),
        ({"terms": {"l1": 1}, "per_dimension": 1}, ["per_dimension"]),
        ({"terms": {"l1": 1}, "scale": 2}, ["scale"]),
    ],
)
def test_an_objective_that_means_nothing_is_refused(objective: dict[str, Any], facts: list[str]) -> None:
    with refuses(BadRecipe, "mine", *facts):
        Recipe("mine", {"objective": objective}).objective()


def test_settings_that_no_table_can_hold_are_given() -> None:
    recipe = Recipe("x", {"objective": {"terms": {"lpips": 1, "l1": 1}}})
    given = {"lpips": {"network": lambda a, b: (a - b).flatten(1).sum(dim=1)}}
    assert set(recipe.objective(given).terms) == {"lpips", "l1"}

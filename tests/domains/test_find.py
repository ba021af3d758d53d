"""Domains by name, and the recipes in their folders."""

import pytest

from vaekit.domains import DOMAINS
from vaekit.domains.domain import Domain
from vaekit.domains.find import ALL, domain_named, domain_of
from vaekit.domains.recipes import names, recipe
from vaekit.errors import BadRecipe, NotFound, UnknownDomain
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_keeps_the_contract(name: str) -> None:
    domain = domain_named(name)
    assert isinstance(domain, Domain) and domain.name == name
    assert [each.name for each in ALL] == list(DOMAINS)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in domain.suffixes)


def test_another_domain_is_refused() -> None:
    with pytest.raises(UnknownDomain):
        domain_named("volcanoes")


@pytest.mark.parametrize("name", names())
def test_every_recipe_names_its_domain_and_a_sound_table(name: str) -> None:
    found = recipe(name)
    table = {key: value for key, value in found.data.items() if key != "domain"}
    domain_named(found.domain).check_table(table)
    with pytest.raises(BadRecipe):
        domain_named(found.domain).check_table({**table, "held_out": -1})
    with pytest.raises(BadRecipe):
        domain_named(found.domain).check_table({**table, "nonsense": 1})


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(NotFound):
        recipe("none")


def test_a_vae_that_names_no_domain_is_of_images(small_kl: KLConfig) -> None:
    domain, schema = domain_of(assemble(family_of("kl"), small_kl))
    assert domain.name == "images"
    assert schema.example().shape == (1, 3, 256, 256)

"""The table of terms: each under the name of its function, and none left out."""

import inspect
from importlib import import_module

import pytest

from vaekit.training.objectives import Term
from vaekit.training.terms.table import TERMS

MODULES = ("audio", "bounds", "codes", "images", "latents", "plain", "tokens")
ITEMS = {"items": 100}
NEEDED = {
    "log_mel": {"sample_rate": 8_000},
    "lpips": {"network": lambda a, b: a - b},
    "mutual_information": ITEMS,
    "total_correlation": ITEMS,
    "dimension_kl": ITEMS,
}
"""Settings without a default."""
OF_LATENTS = {
    *("kl", "mutual_information", "total_correlation", "dimension_kl", "mmd"),
    *("commitment", "codebook", "entropy"),
}
IN_NATS = {"nll", "bag_of_tokens", "kl", "iwae", "mutual_information", "total_correlation", "dimension_kl"}


def test_every_term_of_the_modules_is_in_the_table_under_its_own_name() -> None:
    makers = {
        name: function
        for module in MODULES
        for name, function in vars(import_module(f"vaekit.training.terms.{module}")).items()
        if inspect.isfunction(function)
        and function.__module__.endswith(f".{module}")
        and inspect.signature(function, eval_str=True).return_annotation is Term
    }
    assert makers.pop("aggregate_term")
    assert dict(TERMS) == makers


@pytest.mark.parametrize("name", TERMS)
def test_the_defaults_make_a_term(name: str) -> None:
    term = TERMS[name](**NEEDED.get(name, {}))
    assert isinstance(term, Term)
    assert (term.latents_only, term.nats) == (name in OF_LATENTS, name in IN_NATS)


@pytest.mark.parametrize("name", NEEDED)
def test_what_has_no_default_is_needed(name: str) -> None:
    with pytest.raises(TypeError):
        TERMS[name]()

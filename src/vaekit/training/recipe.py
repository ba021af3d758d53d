"""Training recipes: the VAE, objective, schedule and data preparation, as tables in TOML or JSON.

vaekit's recipes are located in the folders `recipes/` of the domains, one file each; user files work the
same way. `--set` overrides single values by their path in the table: `objective.terms.kl.weight=4`.
"""

import copy
import inspect
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from vaekit.errors import BadRecipe, VaekitError, printable
from vaekit.families import FAMILIES, PARTS, Config, Family, assemble, family_of
from vaekit.identification.metadata import OLD_FIELDS
from vaekit.records import from_dict, parse_value, renamed
from vaekit.training.code_stats import set_codes
from vaekit.training.loop import Schedule
from vaekit.training.objectives import Objective, Term
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight, weight_from
from vaekit.vae import VAE

OLD_TABLES = ("pictures", "images")
"""What the table [data] of images was called in the first edition, and for a time after it."""
UNBUILDABLE = (ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError)
"""The exceptions of torch and the networks for inconsistent values of a table."""


@dataclass(frozen=True)
class Recipe:
    """A table and what it means."""

    name: str
    words: Mapping[str, Any]
    """The table with overrides applied."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The table [data]: the domain, and how its items are prepared.

        Raises:
            BadRecipe: there is none.
        """
        return self._table("data")

    @property
    def domain(self) -> str:
        """The name of the domain.

        Raises:
            BadRecipe: it is not given.
        """
        name = self.data.get("domain")
        if not isinstance(name, str):
            raise self._bad("its [data] has no domain")
        return name

    def with_defaults(self, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe with settings that follow from the data, where its [vae] does not have them.

        Args:
            settings: tables of [vae], such as {"net": {"data_shape": [30]}}.
        """
        if not settings:
            return self
        return Recipe(self.name, {**self.words, "vae": merged(settings, table_of(self.words.get("vae")))})

    def vae(self) -> VAE:
        """The VAE with new random weights, from torch's own generator.

        Raises:
            BadRecipe: the table is invalid.
        """
        config = self.config()
        try:
            vae = assemble(self._family(), config)
        except UNBUILDABLE as error:
            raise self._bad(f"its [vae] cannot be built: {error}") from error
        try:
            if "codes" in self.words:
                set_codes(vae, self._table("codes"), self._samples())
        except ValueError as error:
            raise self._bad(f"in [codes], {error}") from error
        return vae

    def config(self) -> Config:
        """What the VAE is made of.

        Raises:
            BadRecipe: the table is invalid.
        """
        family = self._family()
        words = {name: value for name, value in self._table("vae").items() if name != "family"}
        try:
            config = family.from_metadata(words) if family.from_metadata else from_dict(family.config, words)
            for each in ("latent_channels", "hidden_channels"):
                if getattr(config, each, 1) < 1:
                    raise ValueError(f"{each} is less than 1")
            empty = [each for each in ("encoder_widths", "decoder_widths") if getattr(config, each, None) == ()]
            if empty:
                raise ValueError(f"{' and '.join(empty)} define no level")
        except (ValueError, VaekitError) as error:
            raise self._bad(f"its [vae] cannot be built: {error}") from error
        return config

    def _family(self) -> Family:
        name = self._table("vae").get("family", PARTS.name)
        if name not in [family.name for family in (*FAMILIES, PARTS)]:
            raise self._bad(f"vae.family is {printable(repr(name))}, which is not a VAE family")
        return family_of(name)

    def schedule(self) -> Schedule:
        """How long, how fast.

        Raises:
            BadRecipe: a value is missing, unknown or of another type.
        """
        try:
            return from_dict(Schedule, self._table("schedule"))
        except ValueError as error:
            raise self._bad(f"in [schedule], {error}") from error

    def objective(self, given: Mapping[str, Mapping[str, Any]] | None = None) -> Objective:
        """The objective.

        Args:
            given: settings by term that a table cannot hold, such as the network of a perceptual distance.

        Raises:
            BadRecipe: a term is unknown, or has no such setting.
        """
        told = dict(self._table("objective"))
        terms, weights = {}, {}
        for name, settings in table_of(told.pop("terms", None)).items():
            terms[name], weights[name] = self._term(name, settings, given or {})
        if not terms:
            raise self._bad("it has no [objective.terms]")
        per_dimension = told.pop("per_dimension", False)
        if told or not isinstance(per_dimension, bool):
            raise self._bad(f"[objective] accepts per_dimension = true or false, and terms; not {', '.join(told)}")
        return Objective(terms, weights, per_dimension)

    def kinds_of_terms(self) -> dict[str, str]:
        """Which term each name of the objective stands for."""
        terms = table_of(table_of(self.words.get("objective")).get("terms"))
        return {name: kind_of_term(name, settings) for name, settings in terms.items()}

    def _term(self, name: str, settings: Any, given: Mapping[str, Mapping[str, Any]]) -> tuple[Term, Weight]:
        kind = kind_of_term(name, settings)
        words = dict(settings) if isinstance(settings, Mapping) else {"weight": settings}
        words.pop("term", None)
        if not isinstance(kind, str) or kind not in TERMS:
            raise self._bad(f"unknown term {printable(repr(kind))}; known terms: {', '.join(TERMS)}")
        try:
            weight = weight_from(words.pop("weight", 1.0), words.pop("period", None), self._samples())
            hints, known = get_type_hints(TERMS[kind]), given.get(kind, {})
            told = {
                each: self._setting(each, value, hints.get(each, Any))
                for each, value in words.items()
                if each not in known
            }
            inspect.signature(TERMS[kind]).bind(**told, **known)
            return TERMS[kind](**told, **known), weight
        except (TypeError, ValueError) as error:
            raise self._bad(f"in [objective.terms.{printable(name)}], {error}") from error

    def _setting(self, name: str, value: Any, kind: Any) -> Any:
        """A setting of a term, in the type that it has there."""
        if Weight in get_args(kind):
            return weight_from(value, samples=self._samples())
        return parse_value(name, value, kind)

    def _samples(self) -> int | None:
        """What shares of the whole are shares of."""
        told = table_of(self.words.get("schedule")).get("samples")
        return told if type(told) is int else None

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self.words.get(name)
        if not isinstance(table, Mapping):
            raise self._bad(f"it has no [{name}]")
        return table

    def _bad(self, why: str) -> BadRecipe:
        return BadRecipe(
            f"The recipe {self.name} cannot be used: {why}.", "", "See docs/training.md for valid recipes."
        )


def kind_of_term(name: str, settings: Any) -> Any:
    """A term may have any name if its settings say which it is: `term = "mse"`."""
    return table_of(settings).get("term", name)


def table_of(told: Any) -> Mapping[str, Any]:
    """A table, or an empty one in the place of anything else."""
    return told if isinstance(told, Mapping) else {}


def merged(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """A table, with the entries of another where it has none.

    >>> merged({"net": {"length": 9, "width": 8}}, {"net": {"kind": "sequence", "width": 4}})
    {'net': {'kind': 'sequence', 'width': 4, 'length': 9}}
    """
    both = {name: merged(defaults[name], table[name]) for name in table if is_table_in(defaults, table, name)}
    return {**table, **{name: value for name, value in defaults.items() if name not in table}, **both}


def is_table_in(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """Whether both have a table of this name."""
    return isinstance(one.get(name), Mapping) and isinstance(other.get(name), Mapping)


def upgraded(words: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as it is written today: the first edition had `data` for what is now `dataset`, and a table [pictures]
    in the place of [data].

    >>> upgraded({"data": "Photographs", "pictures": {"size": 32}})
    {'dataset': 'Photographs', 'data': {'domain': 'images', 'size': 32}}
    """
    told = dict(words)
    if isinstance(told.get("data"), str):
        told = {"dataset" if name == "data" else name: value for name, value in told.items()}
    for name in OLD_TABLES:
        if name in told:
            table = told.pop(name)
            told["data"] = (
                {"domain": "images", **table_of(told.get("data")), **table} if isinstance(table, Mapping) else table
            )
    if isinstance(told.get("vae"), Mapping):
        told["vae"] = renamed(told["vae"], OLD_FIELDS)
    data = told.get("data")
    if isinstance(data, Mapping) and data.get("crop") == "centre":
        told["data"] = {**data, "crop": "center"}
    return told


def recipe_of(name: str, words: Mapping[str, Any], changes: Sequence[str] = ()) -> Recipe:
    """A recipe of today's or the first edition's form, with changes such as `schedule.samples=1000`.

    Raises:
        BadRecipe: an override names no key of the recipe.
    """
    return Recipe(name, upgraded(changed(name, upgraded(words), changes)))


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """The recipe in a file of TOML or JSON, with changes.

    Raises:
        BadRecipe: the file is not valid TOML or JSON, or an override names no key of the recipe.
    """
    try:
        text = path.read_text("utf-8")
        words = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, OSError, RecursionError) as error:
        raise BadRecipe(f"{path} cannot be read: {error}.", "Expected a table in TOML or JSON.", "") from error
    if not isinstance(words, dict):
        raise BadRecipe(f"{path} holds no table.", "Expected a table in TOML or JSON.", "")
    return recipe_of(path.stem, words, changes)


def changed(name: str, words: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A table with single values changed.

    >>> changed("x", {"schedule": {"samples": 100}}, ["schedule.samples=50"])
    {'schedule': {'samples': 50}}
    """
    result = copy.deepcopy(dict(words))
    for change in changes:
        place, sign, text = change.partition("=")
        *path, last = place.strip().split(".")
        table: Any = result
        for step in path:
            table = table.setdefault(step, {}) if isinstance(table, dict) else None
        if not sign or not last or not isinstance(table, dict):
            raise BadRecipe(
                f"Invalid override {printable(change)!r}: the recipe {name} has no such key.",
                "Expected an override such as schedule.learning_rate=0.0005.",
                "",
            )
        table[last] = as_value(text.strip())
    return result


def as_value(text: str) -> Any:
    """Parse a TOML value; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

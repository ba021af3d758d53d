"""A recipe: which VAE is trained, towards what, how long, on data prepared how. A frozen table, never a class.

The tables inside vaekit stand in `recipes/`, one file each; a file of one's own works the same. `--set` changes single
values, by their place in the table: `objective.terms.kl.weight=4`.
"""

import copy
import inspect
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_type_hints

from vaekit.errors import BadRecipe, NotFound, VaekitError, printable
from vaekit.families import FAMILIES, PARTS, Config, Family, assemble, family_of
from vaekit.records import from_dict, parse_value
from vaekit.training.code_stats import set_codes
from vaekit.training.loop import Schedule
from vaekit.training.objectives import Objective, Term
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight, weight_from
from vaekit.vae import VAE

FOLDER = "recipes"
UNBUILDABLE = (ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError)
"""What torch and the nets raise where the numbers of a table do not go together."""


@dataclass(frozen=True)
class Recipe:
    """A table and what it means."""

    name: str
    words: Mapping[str, Any]
    """As it was read, with what was set."""

    def vae(self) -> VAE:
        """The VAE with new random weights, from torch's own generator.

        Raises:
            BadRecipe: the table describes none.
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
            BadRecipe: the table describes none.
        """
        family = self._family()
        words = {name: value for name, value in self._table("vae").items() if name != "family"}
        try:
            config = family.from_words(words) if family.from_words else from_dict(family.config, words)
            for each in ("latent_channels", "hidden_channels"):
                if getattr(config, each, 1) < 1:
                    raise ValueError(f"{each} is less than 1")
            empty = [each for each in ("encoder_widths", "decoder_widths") if getattr(config, each, None) == ()]
            if empty:
                raise ValueError(f"{' and '.join(empty)} name no level")
        except (ValueError, VaekitError) as error:
            raise self._bad(f"its [vae] cannot be built: {error}") from error
        return config

    def _family(self) -> Family:
        name = self._table("vae").get("family", PARTS.name)
        if name not in [family.name for family in (*FAMILIES, PARTS)]:
            raise self._bad(f"vae.family is {printable(repr(name))}, which is no family of VAEs")
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
        """What is minimized.

        Args:
            given: for a kind of term, settings that no table can hold, such as the network of a perceptual distance.

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
            raise self._bad(f"[objective] has per_dimension = true or false, and terms; not {', '.join(told)}")
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
            raise self._bad(f"there is no term {printable(repr(kind))}; there are {', '.join(TERMS)}")
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
            f"The recipe {self.name} cannot be used: {why}.", "", "See docs/training.md for what it may say."
        )


def kind_of_term(name: str, settings: Any) -> Any:
    """A term may have any name if its settings say which it is: `term = "mse"`."""
    return table_of(settings).get("term", name)


def table_of(told: Any) -> Mapping[str, Any]:
    """A table, or an empty one in the place of anything else."""
    return told if isinstance(told, Mapping) else {}


def names() -> list[str]:
    """Of the recipes inside vaekit."""
    folder = resources.files("vaekit.training").joinpath(FOLDER)
    return sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml"))


def recipe(name_or_path: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of this name, or in this file, with changes such as `schedule.samples=1000`.

    Raises:
        NotFound: there is none.
        BadRecipe: a file is no TOML or JSON, or a change names nothing.
    """
    if name_or_path in names():
        source = resources.files("vaekit.training").joinpath(FOLDER, f"{name_or_path}.toml")
        return Recipe(name_or_path, changed(name_or_path, tomllib.loads(source.read_text("utf-8")), changes))
    path = Path(name_or_path)
    if not path.is_file():
        raise NotFound(
            f"There is no recipe {printable(name_or_path)}.",
            f"vaekit has {', '.join(names())}.",
            "Name one of them, or a .toml or .json file of your own.",
        )
    try:
        text = path.read_text("utf-8")
        words = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, OSError, RecursionError) as error:
        raise BadRecipe(f"{path} cannot be read: {error}.", "Expected a table in TOML or JSON.", "") from error
    if not isinstance(words, dict):
        raise BadRecipe(f"{path} holds no table.", "Expected a table in TOML or JSON.", "")
    return Recipe(path.stem, changed(path.stem, words, changes))


def changed(name: str, words: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The table with single values changed.

    >>> changed("x", {"schedule": {"samples": 100}}, ["schedule.samples=50"])
    {'schedule': {'samples': 50}}
    """
    result = copy.deepcopy(words)
    for change in changes:
        place, sign, text = change.partition("=")
        *path, last = place.strip().split(".")
        table: Any = result
        for step in path:
            table = table.setdefault(step, {}) if isinstance(table, dict) else None
        if not sign or not last or not isinstance(table, dict):
            raise BadRecipe(
                f"The change {printable(change)!r} names nothing in the recipe {name}.",
                "Expected such as schedule.learning_rate=0.0005.",
                "",
            )
        table[last] = as_value(text.strip())
    return result


def as_value(text: str) -> Any:
    """A value as TOML writes it; what is none is taken for a word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

"""Training recipes: the VAE, objective, schedule and data preparation, as tables in TOML or JSON.

vaekit's recipes are located in the folders `recipes/` of the domains, one file each; user files work the same way.
`--set` overrides single values by their path in the table: `objective.terms.kl.weight=4`.
"""

import copy
import inspect
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, get_args, get_type_hints

from vaekit.errors import BadRecipe, VaekitError, did_you_mean, printable, reason_of
from vaekit.families import FAMILIES, HALVES, PARTS, Config, Family, assemble, blueprint, family_of
from vaekit.identification.metadata import OLD_FIELDS
from vaekit.reading import physical_memory, read_text
from vaekit.records import from_dict, parse_value, renamed
from vaekit.training.code_stats import set_codes
from vaekit.training.objectives import Objective, Term
from vaekit.training.schedule import Schedule
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight, weight_from
from vaekit.vae import VAE

TABLES = ("vae", "data", "objective", "schedule", "codes")
"""Of a recipe."""
OLD_TABLES = ("pictures", "images")
"""Former names of the table [data] for images."""
FIRST_SEQUENCES = "sequence"
"""The kind of the first edition's net of sequences."""
KEYS = (*TABLES, *OLD_TABLES, "start")
"""What an override may add to a recipe."""
LARGEST = 2**20
"""The maximum number of bytes of a recipe file."""
MOST_BLOCKS = 10_000
"""The maximum number of blocks of a network; the largest published ones have some dozens."""
BYTES = 4
"""Of a weight."""
DEEPEST = 16
"""The maximum number of nested lists and tables of a recipe."""
UNBUILDABLE = (ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError)
"""The exceptions of torch and the networks for inconsistent values of a table."""


@dataclass(frozen=True)
class Recipe:
    """A recipe, and the objects that its tables describe."""

    name: str
    table: Mapping[str, Any]
    """All tables, with overrides applied."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The table [data]: the domain, and how its items are prepared.

        Raises:
            BadRecipe: there is none.
        """
        return self._subtable("data")

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

    def with_data(self, entries: Mapping[str, Any]) -> "Recipe":
        """The same recipe with entries of its [data] replaced."""
        return Recipe(self.name, {**self.table, "data": {**self.data, **entries}})

    def with_defaults(self, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe with defaults for [vae] that follow from the data.

        Args:
            settings: entries of [vae], such as {"net": {"data_shape": [30]}}; those of the recipe take precedence.
        """
        if not settings:
            return self
        return Recipe(self.name, {**self.table, "vae": merged(settings, table_or_empty(self.table.get("vae")))})

    def vae(self) -> VAE:
        """The VAE with random weights, drawn from torch's global generator.

        Raises:
            BadRecipe: the table is invalid.
        """
        config, family = self.config(), self._family()
        try:
            check_size(family, config)
            vae = assemble(family, config)
        except UNBUILDABLE as error:
            raise self._bad(f"its [vae] cannot be built: {error}") from error
        try:
            if "codes" in self.table:
                set_codes(vae, self._subtable("codes"), self._samples())
        except ValueError as error:
            raise self._bad(f"in [codes], {error}") from error
        return vae

    def config(self) -> Config:
        """The config of the VAE.

        Raises:
            BadRecipe: the table is invalid.
        """
        family = self._family()
        settings = {name: value for name, value in self._subtable("vae").items() if name != "family"}
        try:
            config = family.from_metadata(settings) if family.from_metadata else from_dict(family.config, settings)
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
        name = self._subtable("vae").get("family", PARTS.name)
        if name not in [family.name for family in (*FAMILIES, PARTS)]:
            raise self._bad(f"vae.family is {printable(repr(name))}, which is not a VAE family")
        return family_of(name)

    def schedule(self) -> Schedule:
        """The training schedule.

        Raises:
            BadRecipe: a value is missing, unknown or of another type.
        """
        try:
            return from_dict(Schedule, self._subtable("schedule"))
        except ValueError as error:
            raise self._bad(f"in [schedule], {error}") from error

    def objective(self, given: Mapping[str, Mapping[str, Any]] | None = None) -> Objective:
        """The training objective.

        Args:
            given: settings by kind of term that a table cannot hold, such as the network of a perceptual distance.

        Raises:
            BadRecipe: a term or one of its settings is unknown or invalid.
        """
        table = dict(self._subtable("objective"))
        terms, weights = {}, {}
        for name, settings in table_or_empty(table.pop("terms", None)).items():
            terms[name], weights[name] = self._term(name, settings, given or {})
        if not terms:
            raise self._bad("it has no [objective.terms]")
        per_dimension = table.pop("per_dimension", False)
        trim = table.pop("trim", 0.0)
        if type(trim) not in (int, float) or not 0 <= trim < 1:
            raise self._bad(f"objective.trim is {printable(repr(trim), 60)}; it is a share, from 0 to below 1")
        if table or not isinstance(per_dimension, bool):
            raise self._bad(
                f"[objective] accepts per_dimension = true or false, trim, and terms; not {', '.join(table)}"
            )
        return Objective(terms, weights, per_dimension, float(trim))

    def kinds_of_terms(self) -> dict[str, str]:
        """The kind of each term of the objective, by name."""
        terms = table_or_empty(table_or_empty(self.table.get("objective")).get("terms"))
        return {name: kind_of_term(name, settings) for name, settings in terms.items()}

    def _term(self, name: str, settings: Any, given: Mapping[str, Mapping[str, Any]]) -> tuple[Term, Weight]:
        kind = kind_of_term(name, settings)
        table = dict(settings) if isinstance(settings, Mapping) else {"weight": settings}
        table.pop("term", None)
        if not isinstance(kind, str) or kind not in TERMS:
            raise self._bad(f"unknown term {printable(repr(kind))}; known terms: {', '.join(TERMS)}")
        try:
            weight = weight_from(table.pop("weight", 1.0), table.pop("period", None), self._samples())
            hints, known = get_type_hints(TERMS[kind]), given.get(kind, {})
            arguments = {
                each: self._setting(each, value, hints.get(each, Any))
                for each, value in table.items()
                if each not in known
            }
            inspect.signature(TERMS[kind]).bind(**arguments, **known)
            return TERMS[kind](**arguments, **known), weight
        except (TypeError, ValueError) as error:
            raise self._bad(f"in [objective.terms.{printable(name)}], {error}") from error

    def _setting(self, name: str, value: Any, kind: Any) -> Any:
        """A setting of a term, converted to the type of its parameter."""
        if Weight in get_args(kind):
            return weight_from(value, samples=self._samples())
        return parse_value(name, value, kind)

    def _samples(self) -> int | None:
        """The number of samples of the whole run; None if the recipe has no valid one."""
        samples = table_or_empty(self.table.get("schedule")).get("samples")
        return samples if type(samples) is int else None

    def _subtable(self, name: str) -> Mapping[str, Any]:
        table = self.table.get(name)
        if not isinstance(table, Mapping):
            raise self._bad(f"it has no [{name}]")
        return table

    def _bad(self, why: str) -> BadRecipe:
        return BadRecipe(
            f"The recipe {self.name} cannot be used: {why.removesuffix('.')}.",
            "",
            "See docs/training.md for valid recipes.",
        )


def kind_of_term(name: str, settings: Any) -> Any:
    """The kind of a term: the setting `term`, by default its name."""
    return table_or_empty(settings).get("term", name)


def table_or_empty(value: Any) -> Mapping[str, Any]:
    """The value if it is a table, otherwise an empty one."""
    return value if isinstance(value, Mapping) else {}


def merged(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """A table with defaults, merged recursively.

    >>> merged({"net": {"length": 9, "width": 8}}, {"net": {"kind": "tokens", "width": 4}})
    {'net': {'kind': 'tokens', 'width': 4, 'length': 9}}
    """
    both = {name: merged(defaults[name], table[name]) for name in table if is_table_in(defaults, table, name)}
    return {**table, **{name: value for name, value in defaults.items() if name not in table}, **both}


def is_table_in(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """Whether both have a table of this name."""
    return isinstance(one.get(name), Mapping) and isinstance(other.get(name), Mapping)


def upgraded(table: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe in the current form: the first edition had `data` for what is now `dataset`, a table [pictures] instead
    of [data], and characters as the default unit of text, whose net was called `sequence`.

    >>> upgraded({"data": "Photographs", "pictures": {"size": 32}})
    {'dataset': 'Photographs', 'data': {'domain': 'images', 'size': 32}}
    >>> upgraded({"data": {"domain": "text"}, "vae": {"net": {"kind": "sequence"}}})["data"]
    {'domain': 'text', 'unit': 'characters'}
    """
    result = dict(table)
    if isinstance(result.get("data"), str):
        result = {"dataset" if name == "data" else name: value for name, value in result.items()}
    for name in OLD_TABLES:
        if name in result:
            old = result.pop(name)
            result["data"] = (
                {"domain": "images", **table_or_empty(result.get("data")), **old} if isinstance(old, Mapping) else old
            )
    if isinstance(result.get("vae"), Mapping):
        result["vae"] = renamed(result["vae"], OLD_FIELDS)
    data = result.get("data")
    if isinstance(data, Mapping) and data.get("crop") == "centre":
        result["data"] = {**data, "crop": "center"}
    net = table_or_empty(table_or_empty(result.get("vae")).get("net"))
    if isinstance(data, Mapping) and data.get("domain") == "text" and net.get("kind") == FIRST_SEQUENCES:
        result["data"] = {**data, "unit": data.get("unit", "characters")}
    return result


def recipe_of(name: str, table: Mapping[str, Any], changes: Sequence[str] = ()) -> Recipe:
    """The recipe of a table in the current or the first edition's form, with overrides such as `schedule.samples=1000`.

    Raises:
        BadRecipe: an override names no key of the recipe, or values are nested too deeply.
    """
    recipe = Recipe(name, upgraded(with_overrides(name, upgraded(table), changes)))
    if too_deep(recipe.table):
        raise BadRecipe(
            f"The recipe {name} has values that are nested too deeply.", f"Expected at most {DEEPEST} levels.", ""
        )
    return recipe


def check_size(family: Family, config: Config) -> None:
    """Check that the weights of a network can be in memory.

    Raises:
        ValueError: they cannot.
    """
    if config.blocks > MOST_BLOCKS:
        raise ValueError(f"the network has {config.blocks:,} blocks, more than {MOST_BLOCKS:,}")
    values = sum(prod(each.shape) for each in blueprint(family.name, config, HALVES).values())
    memory = physical_memory()
    if BYTES * values > memory:
        raise ValueError(f"its {values:,} weights take {BYTES * values:,} bytes, and this machine has {memory:,}")


def too_deep(value: object, levels: int = DEEPEST) -> bool:
    """Whether lists and tables are nested in more than this many levels."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return levels < 0 or any(too_deep(each, levels - 1) for each in inner)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML or JSON file, with overrides.

    Raises:
        BadRecipe: the file is not valid TOML or JSON, or an override names no key of the recipe.
    """
    try:
        text = read_text(path, LARGEST)
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, OSError, RecursionError) as error:
        raise BadRecipe(
            f"{path} cannot be read: {reason_of(error)}.", "Expected a table in TOML or JSON.", ""
        ) from error
    if not isinstance(table, dict):
        raise BadRecipe(f"{path} does not contain a table.", "Expected a table in TOML or JSON.", "")
    return recipe_of(path.stem, table, changes)


def with_overrides(name: str, table: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A copy of a table with overrides of single values.

    >>> with_overrides("x", {"schedule": {"samples": 100}}, ["schedule.samples=50"])
    {'schedule': {'samples': 50}}

    Raises:
        BadRecipe: an override is malformed, or its path leads through a value that is not a table.
    """
    if too_deep(table):
        return dict(table)  # which is refused
    result = copy.deepcopy(dict(table))
    for change in changes:
        key, sign, text = change.partition("=")
        *path, last = key.strip().split(".")
        target: Any = result if [*path, last][0] in {*result, *KEYS} else None
        for step in path:
            target = target.setdefault(step, {}) if isinstance(target, dict) else None
        if not sign or not last or not isinstance(target, dict):
            raise BadRecipe(
                f"Invalid override {printable(change)!r}: the recipe {name} has no such key.",
                f"Expected a key in {', '.join(TABLES)}, such as schedule.learning_rate=0.0005.",
                did_you_mean([*path, last][0], TABLES) if path else "",
            )
        target[last] = as_value(text.strip())
    return result


def as_value(text: str) -> Any:
    """Parse a TOML value; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # also an integer of thousands of digits
        return text

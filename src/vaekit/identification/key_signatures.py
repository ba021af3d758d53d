"""Recognize files that vaekit cannot run: other VAEs, and models that are not VAEs.

Reads the tables `unsupported.toml`, `quantized.toml` and `non_vae.toml`. They identify models by the key names of
published files; file names are ignored. They are consulted only if no runnable family matches a file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from vaekit.catalog.tables import family_facts, table
from vaekit.errors import NotRunnable, UnknownVAE, counted
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.formats.tensor_file import examined

Specs = Mapping[str, TensorSpec]
UNSUPPORTED = ("unsupported.toml", "quantized.toml")
"""The tables of VAEs that are recognized but not run."""


@dataclass(frozen=True)
class KeySignature:
    """The keys that identify a model: all keys of one of the groups, and none of the excluded keys."""

    groups: tuple[tuple[str, ...], ...]
    lacks: tuple[str, ...] = ()

    def prefix_in(self, text: str) -> str | None:
        """The prefix of the first key of a group in newline-separated keys; None if a key is missing."""
        if any(find_key(key, text) for key in self.lacks):
            return None
        for group in self.groups:
            matches = [find_key(key, text) for key in group]
            if all(matches):
                return next(match["prefix"] for match in matches if match)
        return None


@dataclass(frozen=True)
class UnsupportedFamily:
    """A VAE that is recognized by its tensors but cannot be run."""

    name: str
    signature: KeySignature
    why: str
    runs_in: str
    factor: int | None
    steps: int | None
    """Frames of video, or samples of sound, per latent position in time, if known."""
    channels: int | None
    channels_in: tuple[str, ...]
    """Tensors that determine the latent channels, if their number varies between files."""
    axis: int
    media: str
    """What it encodes: "images", "video", "sound", "shapes" or "proteins"."""
    models: tuple[str, ...]
    """The models that use it."""
    classes: Mapping[str, tuple[str, ...]]
    """The names of its classes in config.json, each with the models that the class is for; empty for all of them."""
    normalization: str
    """The normalization of its latents, a phrase; empty if unknown."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shapes that distinguish it from VAEs with the same names; 0 is any size."""
    variant_of: str
    """The name of the VAE whose signature also matches this one; empty if there is none."""

    def prefix_in(self, specs: Specs, text: str) -> str | None:
        """The prefix of its tensors in a file with this listing; None if it is not this VAE."""
        prefix = self.signature.prefix_in(text)
        return prefix if prefix is not None and self.has_shapes(specs, prefix) else None

    def has_shapes(self, specs: Specs, prefix: str) -> bool:
        """Whether the tensors that distinguish it have their shapes."""
        pairs = [(specs[prefix + key].shape, shape) for key, shape in self.shapes.items() if prefix + key in specs]
        return bool(pairs or not self.shapes) and all(like(shape, wanted) for shape, wanted in pairs)

    def channels_of(self, specs: Specs, prefix: str) -> int | None:
        """The latent channels, if the file's tensors determine them."""
        shapes = (specs[prefix + key].shape for key in self.channels_in if prefix + key in specs)
        return next((shape[self.axis] for shape in shapes if len(shape) > self.axis), self.channels)

    def models_of(self, class_name: str) -> tuple[str, ...]:
        """The models that use it, or those of this class in config.json."""
        return self.classes.get(class_name) or self.models

    @property
    def compression(self) -> str:
        """How pixels, frames or samples correspond to latent positions; empty if unknown."""
        unit = {"video": "frames", "sound": "samples"}.get(self.media, "steps")
        sizes = (f"1/{self.factor} size" if self.factor else "", f"1/{self.steps} of the {unit}" if self.steps else "")
        return " and ".join(filter(None, sizes))


def like(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a shape equals another one, where 0 is any size."""
    return len(shape) == len(wanted) and all(size in (0, given) for given, size in zip(shape, wanted, strict=True))


@dataclass(frozen=True)
class NonVAE:
    """A model that is not a VAE."""

    name: str
    signature: KeySignature
    vae: str
    """Where to find the VAE that belongs to it; a sentence."""


def match_unsupported(specs: Specs) -> tuple[UnsupportedFamily, str] | None:
    """The VAE in a file that vaekit recognizes but cannot run, and its prefix; a variant rather than its original."""
    text = listing(specs)
    prefixes = ((known, known.prefix_in(specs, text)) for known in unsupported_families())
    matches = [(known, prefix) for known, prefix in prefixes if prefix is not None]
    originals = {known.variant_of for known, _ in matches}
    return next((match for match in matches if match[0].name not in originals), None)


def match_non_vae(specs: Specs) -> NonVAE | None:
    """The known content of a file without a VAE."""
    text = listing(specs)
    return next((known for known in non_vae_signatures() if known.signature.prefix_in(text) is not None), None)


def not_runnable(file: TensorFile) -> NotRunnable | None:
    """The error for a file that no runnable family matches, if the VAE in it is recognized."""
    recognition = match_unsupported(file.specs)
    return None if recognition is None else refusal(f"The VAE in {file.path}", recognition[0], recognition[0].models)


def refusal(what: str, known: UnsupportedFamily, models: tuple[str, ...]) -> NotRunnable:
    """The error for a VAE that is recognized but cannot be run.

    Args:
        what: the VAE; the start of a sentence.
        known: what it is recognized as.
        models: those that use it.
    """
    users = f", of {', '.join(models)}" if models and models != (known.name,) else ""
    return NotRunnable(
        f"{what} is recognized but cannot be run: {known.name}{users}. {known.why}.",
        "Expected a VAE of a family that vaekit implements.",
        f"Run it in {known.runs_in}.",
    )


def no_vae(file: TensorFile) -> UnknownVAE | None:
    """The error for a file without a VAE, if its content is recognized."""
    model = match_non_vae(file.specs)
    if model is None:
        return None
    verb = "looks" if len(file.specs) == 1 else "look"
    return UnknownVAE(
        f"There is no VAE in {file.path}: its {counted(len(file.specs), 'tensor')} {verb} like {model.name}.",
        "Expected the tensors of an autoencoder in any known layout.",
        model.vae,
    )


def listing(specs: Specs) -> str:
    """The keys, separated by newlines."""
    return "\n".join(key for key in examined(specs) if "\n" not in key)


def find_key(template: str, text: str) -> re.Match[str] | None:
    """The first key of a listing that matches a template, with the shortest prefix."""
    literal, compiled = pattern(template)
    return compiled.search(text) if literal in text else None


@cache
def pattern(template: str) -> tuple[str, re.Pattern[str]]:
    """Compile a key with {n} for a number and * for anything: its longest literal part, and a pattern for one line.

    A prefix is allowed except for keys with a * before their end, which must match whole names: two wildcards
    would make the search quadratic in the length of a name.
    """
    escaped = re.escape(template).replace(r"\{n\}", r"\d{1,4}").replace(r"\*", ".*")
    prefix = "" if "*" in template[:-1] else r"(?:.*?\.)??"
    literal = max(re.split(r"\{n\}|\*", template), key=len)
    return literal, re.compile(rf"^(?P<prefix>{prefix}){escaped}$", re.MULTILINE)


@cache
def unsupported_families() -> tuple[UnsupportedFamily, ...]:
    """Every unsupported VAE in the table, except those that a runnable family supersedes."""
    superseded = {name for facts in family_facts() for name in facts.get("supersedes", ())}
    return tuple(known for known in listed_families() if known.name not in superseded)


@cache
def listed_families() -> tuple[UnsupportedFamily, ...]:
    """Every VAE in the tables of unsupported ones, also those that a runnable family supersedes."""
    return tuple(_recognized(entry) for entry in unsupported_entries())


def unsupported_entries() -> Iterator[dict[str, Any]]:
    """The entries of the tables of unsupported VAEs; specific ones precede general ones."""
    return chain.from_iterable(table(name)["vae"] for name in UNSUPPORTED)


@cache
def non_vae_signatures() -> tuple[NonVAE, ...]:
    """Every model in the table that is not a VAE."""
    return tuple(NonVAE(entry["name"], _signature(entry), entry["vae"]) for entry in table("non_vae.toml")["model"])


def _recognized(entry: dict[str, Any]) -> UnsupportedFamily:
    channels = entry.get("channels")
    where: dict[str, Any] = channels if isinstance(channels, dict) else {"keys": [], "axis": 0}
    return UnsupportedFamily(
        name=entry["name"],
        signature=_signature(entry),
        why=entry["why"],
        runs_in=entry["runs_in"],
        factor=entry.get("factor"),
        steps=entry.get("steps"),
        channels=channels if isinstance(channels, int) else None,
        channels_in=tuple(where["keys"]),
        axis=where["axis"],
        media=entry.get("media", "images"),
        models=tuple(entry["models"]),
        classes={name: tuple(models) for name, models in entry.get("classes", {}).items()},
        normalization=entry.get("normalization", ""),
        shapes={key: tuple(shape) for key, shape in entry.get("shapes", {}).items()},
        variant_of=entry.get("variant_of", ""),
    )


def _signature(entry: dict[str, Any]) -> KeySignature:
    return KeySignature(tuple(map(tuple, entry["keys"])), tuple(entry.get("lacks", ())))

"""The conditions of the items of a data set, as tensors: classes, tokens of captions, or vectors of a text model."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.diffusion.conditions import Captions, Classes, ConditionConfig, NoCondition, Vectors
from vaekit.diffusion.recipe import CLIP, ConditionSettings, unusable
from vaekit.domains.text.schema import TextSchema
from vaekit.domains.text.units import WORDS
from vaekit.domains.text.words import split_words
from vaekit.domains.tokens import padded
from vaekit.errors import NoTrainingData, counted
from vaekit.records import from_dict
from vaekit.tasks.text_vectors import open_text_encoder
from vaekit.training.recipe import Recipe

Texts = Sequence[str | None]
"""The label or caption of each item; None for items without one."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """A kind of conditions, fitted to data."""

    config: ConditionConfig
    captions: Mapping[str, Any] = field(default_factory=dict)
    """The vocabulary of captions, or the text model, as plain values."""
    table: Tensor | None = None
    """If conditions are rows of a table, the table (rows, ...)."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """The number of each class, or the row of each caption."""

    def of(self, texts: Texts) -> Tensor | None:
        """The conditions of labels or captions (b, ...), or their rows in the table. Those that are None or were not
        there when conditions were fitted have the null condition."""
        if isinstance(self.config, Captions):
            return caption_tokens(caption_schema(self.captions), [text or "" for text in texts])
        if isinstance(self.config, NoCondition):
            return None
        none = len(self.rows)
        return torch.tensor([none if text is None else self.rows.get(text, none) for text in texts], dtype=torch.long)


def fit_conditions(
    recipe: Recipe,
    settings: ConditionSettings,
    train: Texts,
    held_out: Texts = (),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Conditions:
    """Fit the conditions of a recipe.

    Args:
        recipe: for messages.
        settings: its conditions.
        train: the labels or captions of the training items.
        held_out: those of held-out items, whose captions a text model reads, too.
        progress: called with the number of captions that were read, and of all.

    Raises:
        NoTrainingData: no item has a label or caption.
        BadRecipe: a setting is invalid.
        NotFound, BadCheckpoint, BadPlan, MissingPackage: see `open_text_encoder` and `TextEncoder`.
    """
    if settings.kind == "none":
        return Conditions(NoCondition())
    present = [text for text in train if text is not None]
    if not present:
        raise NoTrainingData(
            f"None of {counted(len(train), 'item')} has a {'label' if settings.kind == 'classes' else 'caption'}.",
            "Expected some that do.",
            'Train without conditions: --set diffusion.condition.kind="none".',
        )
    try:
        if settings.kind == "classes":
            names = tuple(sorted(set(present), key=natural_order))
            return Conditions(Classes(names), rows={name: number for number, name in enumerate(names)})
        if settings.kind == CLIP:
            return vectors_of(settings, [*present, *(text for text in held_out if text is not None)], progress)
        schema = fit_vocabulary(present, settings.words, settings.length)
        sizes = {"vocabulary": schema.table.size, "length": settings.length}
        return Conditions(from_dict(Captions, {**settings.net, **sizes}), schema.as_plain())
    except ValueError as error:
        raise unusable(recipe, str(error)) from error


def vectors_of(
    settings: ConditionSettings, captions: Sequence[str], progress: Callable[[int, int], None]
) -> Conditions:
    """The vectors of a text model, of each different caption once; the last row is the null condition.

    Raises:
        ValueError: no text model is named.
        NotFound, BadCheckpoint, BadPlan, MissingPackage: see `fit_conditions`.
    """
    if settings.encoder is None:
        raise ValueError("condition.encoder is missing: the folder of a CLIP text model")
    encoder = open_text_encoder(Path(settings.encoder))
    different = list(dict.fromkeys(captions))
    table = encoder([*different, ""], progress)
    rows = {caption: row for row, caption in enumerate(different)}
    return Conditions(Vectors(table.shape[1], table.shape[2]), encoder.facts, table, rows)


def natural_order(name: str) -> tuple[bool, float, str]:
    """A key to sort classes by: numbers by their value, before names.

    >>> sorted(["10", "cat", "9"], key=natural_order)
    ['9', '10', 'cat']
    """
    number = name.isascii() and name.isdecimal()
    return not number, float(name[:300]) if number else 0.0, name


def fit_vocabulary(captions: Sequence[str], words: int, length: int) -> TextSchema:
    """The vocabulary of captions: the most frequent words and punctuation marks, in lower case.

    Raises:
        ValueError: there are none.
    """
    counts = Counter(token for caption in captions for token in split_words(caption.lower()) if "\n" not in token)
    tokens = sorted(counts, key=lambda token: (-counts[token], token))[:words]
    return TextSchema(WORDS, tuple(tokens), length, punctuation=True, lowercase=True)


def caption_schema(plain: Mapping[str, Any]) -> TextSchema:
    """The vocabulary in a model's file.

    Raises:
        ValueError: it is damaged.
    """
    return from_dict(TextSchema, plain)


def caption_tokens(schema: TextSchema, captions: Sequence[str]) -> Tensor:
    """Captions as tokens (b, length); longer ones are cut."""
    return padded([tokens[: schema.length - 1] for tokens in schema.encode(captions)], schema.length)

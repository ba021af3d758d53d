"""The conditions of the items of a data set: classes or captions, as tensors; and prompts, as the same tensors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Dataset
from vaekit.datasets.labels import label_names, read_labels, title_of
from vaekit.diffusion.conditions import Captions, Classes, ConditionConfig, NoCondition
from vaekit.diffusion.files import DiffusionFile
from vaekit.diffusion.recipe import DiffusionSettings, unusable
from vaekit.domains.text.schema import TextSchema
from vaekit.domains.text.units import WORDS
from vaekit.domains.text.words import split_words
from vaekit.domains.tokens import padded
from vaekit.errors import BadPlan, NotFound, NoTrainingData, VaekitError, counted, did_you_mean, printable, shorten
from vaekit.records import from_dict
from vaekit.training.recipe import Recipe

CAPTION_COLUMNS = ("caption", "captions", "text", "prompt", "description", "txt")
"""Usual names of a column of captions, in lower case and in order of precedence."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """A kind of conditions, fitted to data."""

    config: ConditionConfig
    column: str | None = None
    """Of the labels or captions."""
    captions: Mapping[str, Any] | None = None
    """The schema of captions, as plain values."""

    def of(self, texts: Sequence[str | None]) -> Tensor | None:
        """The conditions of labels or captions (b, ...); the null condition for None, and for classes that are not
        among those of training."""
        if isinstance(self.config, Classes):
            numbers = {name: number for number, name in enumerate(self.config.names)}
            null = len(numbers)
            return torch.tensor([null if text is None else numbers.get(text, null) for text in texts], dtype=torch.long)
        if isinstance(self.config, Captions):
            return caption_tokens(caption_schema(self.captions or {}), [text or "" for text in texts])
        return None

    def texts_of(self, dataset: Dataset) -> Sequence[str | None]:
        """The labels or captions of other data, such as a test split; None for all where they have none."""
        if isinstance(self.config, NoCondition):
            return [None] * len(dataset)
        try:
            return read_labels(dataset, self.column)
        except VaekitError:
            return [None] * len(dataset)


def fit_conditions(
    recipe: Recipe, settings: DiffusionSettings, dataset: Dataset
) -> tuple[Conditions, Sequence[str | None]]:
    """The conditions of a recipe, fitted to the training data, and the label or caption of each of its records.

    Raises:
        NotFound, NoTrainingData: the data have no labels or captions.
        BadRecipe: a setting is invalid.
    """
    wanted = settings.condition
    if wanted.kind == "none":
        return Conditions(NoCondition()), [None] * len(dataset)
    column = wanted.column if wanted.column is not None or wanted.kind == "classes" else caption_column(dataset)
    texts = read_labels(dataset, column)
    present = [text for text in texts if text is not None]
    if not present:
        raise NoTrainingData(
            f"None of {counted(len(texts), 'item')} of {title_of(dataset)} has a label or caption.",
            "Expected some that do.",
            'Train without conditions: --set diffusion.condition.kind="none".',
        )
    try:
        if wanted.kind == "classes":
            return Conditions(Classes(tuple(sorted(set(present), key=natural_order))), column), texts
        schema = fit_captions(present, wanted.words, wanted.length)
        encoder = from_dict(Captions, {**wanted.net, "vocabulary": schema.table.size, "length": wanted.length})
    except ValueError as error:
        raise unusable(recipe, str(error)) from error
    return Conditions(encoder, column, schema.as_plain()), texts


def natural_order(name: str) -> tuple[bool, float, str]:
    """A key to sort classes by: numbers by their value, before names.

    >>> sorted(["10", "cat", "9"], key=natural_order)
    ['9', '10', 'cat']
    """
    number = name.isascii() and name.isdecimal()
    return not number, float(name[:300]) if number else 0.0, name


def caption_column(dataset: Dataset) -> str:
    """The column of captions of a data set.

    Raises:
        NotFound: there is none.
    """
    names = label_names(dataset)
    lower = {name.lower(): name for name in reversed(names)}
    found = next((lower[name] for name in CAPTION_COLUMNS if name in lower), None)
    if found is None:
        raise NotFound(
            f"{title_of(dataset)} has no captions.",
            f"Expected a column such as {CAPTION_COLUMNS[0]}; its columns: {shorten(names, 40) or 'none'}.",
            "Give metadata.csv with columns file_name and caption, or name a column: "
            "--set diffusion.condition.column=NAME.",
        )
    return found


def fit_captions(captions: Sequence[str], words: int, length: int) -> TextSchema:
    """The vocabulary of captions: the most frequent words and punctuation marks, in lower case.

    Raises:
        ValueError: there are none.
    """
    counts = Counter(token for caption in captions for token in split_words(caption.lower()))
    tokens = sorted(counts, key=lambda token: (-counts[token], token))[:words]
    return TextSchema(
        WORDS, tuple(token for token in tokens if "\n" not in token), length, punctuation=True, lowercase=True
    )


def caption_schema(plain: Mapping[str, Any]) -> TextSchema:
    """The vocabulary in a model's file.

    Raises:
        ValueError: it is damaged.
    """
    return from_dict(TextSchema, {**plain, "unit": WORDS})


def caption_tokens(schema: TextSchema, captions: Sequence[str]) -> Tensor:
    """Captions as tokens (b, length); longer ones are cut."""
    return padded([tokens[: schema.length - 1] for tokens in schema.encode(captions)], schema.length)


@dataclass(frozen=True, eq=False)
class Prompt:
    """The condition of generated items, and what guidance moves away from."""

    condition: Tensor | None = None
    """(...), or None for a model without conditions."""
    other: Tensor | None = None
    notes: tuple[str, ...] = ()

    def batch(self, count: int) -> tuple[Tensor | None, Tensor | None]:
        """The same for each of several items, (count, ...)."""
        condition, other = (
            None if each is None else each.unsqueeze(0).expand(count, *each.shape)
            for each in (self.condition, self.other)
        )
        return condition, other


def prompt_of(file: DiffusionFile, text: str | None, negative: str | None) -> Prompt:
    """The prompt of a model.

    Args:
        file: the model.
        text: a prompt, or the name of a class; None for none.
        negative: what to move away from; None for no condition.

    Raises:
        BadPlan: the model has no conditions.
        NotFound: it has no such class, or knows no word of the prompt.
    """
    config = file.model.config.condition
    null = config.null()
    if null is None:
        if text is not None or negative is not None:
            raise BadPlan(
                f"A prompt is given ({printable(text or negative or '', 60)}), and the model has no text encoder.",
                "It was trained without conditions.",
                'Leave out the prompt, or train with --set diffusion.condition.kind="classes" or "captions".',
            )
        return Prompt()
    notes: list[str] = []
    if text is None:
        notes.append("No prompt was given, so items of all kinds are generated.")
    condition, other = (null if each is None else condition_of(file, each, notes) for each in (text, negative))
    return Prompt(condition, other, tuple(notes))


def condition_of(file: DiffusionFile, text: str, notes: list[str]) -> Tensor:
    """The condition of a prompt, (...); adds notes.

    Raises:
        NotFound: there is no such class, or no word is known.
    """
    config = file.model.config.condition
    if isinstance(config, Classes):
        return torch.tensor(class_number(config.names, text))
    schema = caption_schema(file.facts.captions)
    words = split_words(text.lower())
    unknown = [word for word in words if word not in schema.table.numbers]
    if len(unknown) == len(words):
        raise NotFound(
            f"The model knows no word of the prompt {printable(text, 60)!r}.",
            f"It knows {shorten(schema.tokens, 20)}.",
            did_you_mean(unknown[0], schema.tokens) if unknown else "Give a prompt.",
        )
    if unknown:
        notes.append(f"The model does not know: {shorten(unknown, 20)}.")
    if len(words) >= schema.length:
        notes.append(f"Only the first {schema.length - 1} words of the prompt count.")
    return caption_tokens(schema, [text])[0]


def class_number(names: Sequence[str], text: str) -> int:
    """The number of a class, by its name; upper and lower case are the same where no other class differs in it.

    Raises:
        NotFound: there is none.
    """
    if text in names:
        return names.index(text)
    folded = [number for number, name in enumerate(names) if name.casefold() == text.strip().casefold()]
    if len(folded) == 1:
        return folded[0]
    raise NotFound(
        f"There is no class {printable(text, 60)!r}.",
        f"The model has {shorten(names, 40)}.",
        did_you_mean(text, names) or "Name one of them.",
    )

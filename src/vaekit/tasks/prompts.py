"""Prompts of a diffusion model as conditions: the name of a class, or a caption."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.diffusion.conditions import Classes, Vectors
from vaekit.diffusion.files import DiffusionFile
from vaekit.domains.text.words import split_words
from vaekit.errors import BadCheckpoint, BadPlan, NotFound, did_you_mean, printable, shorten
from vaekit.tasks.diffusion_conditions import caption_schema, caption_tokens
from vaekit.tasks.text_vectors import reopened_encoder


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
        BadPlan: the model has no conditions, or its text encoder is missing.
        NotFound: it has no such class, or knows no word of the prompt.
        BadCheckpoint: its vocabulary is damaged.
    """
    null = file.model.config.condition.null()
    if null is None:
        if text is not None or negative is not None:
            raise BadPlan(
                f"A prompt is given ({printable(text or negative or '', 60)!r}), and the model has no text encoder.",
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
        NotFound, BadPlan, BadCheckpoint: see `prompt_of`.
    """
    config = file.model.config.condition
    if isinstance(config, Classes):
        return torch.tensor(class_number(config.names, text))
    if isinstance(config, Vectors):
        vectors = reopened_encoder(file.facts.captions)([text])[0, : config.length].float()
        return F.pad(vectors, (0, 0, 0, config.length - len(vectors)))
    try:
        schema = caption_schema(file.facts.captions)
    except ValueError as error:
        raise BadCheckpoint(
            f"The vocabulary of the model is damaged: {error}.", "", "Train the model again."
        ) from error
    words = split_words(text.lower())
    unknown = [word for word in words if word not in schema.table.numbers]
    if len(unknown) == len(words):
        raise NotFound(
            f"The model knows no word of the prompt {printable(text, 60)!r}.",
            f"It knows {shorten(schema.tokens, 20)}.",
            (did_you_mean(unknown[0], schema.tokens) if unknown else "") or "Use words of the captions.",
        )
    if unknown:
        notes.append(f"The model does not know: {shorten(unknown, 20)}.")
    if len(words) >= schema.length:
        notes.append(f"Only the first {schema.length - 1} words and marks of the prompt count.")
    return caption_tokens(schema, [text])[0]


def class_number(names: Sequence[str], text: str) -> int:
    """The number of a class, by its name; upper and lower case are the same where no other class differs in it.

    >>> class_number(["cat", "Dog"], "dog")
    1

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

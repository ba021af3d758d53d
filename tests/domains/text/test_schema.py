"""Sentences as tokens, and back."""

import json

import pytest
import torch
from refusals import refuses

from vaekit.datasets.dataset import Line, Row
from vaekit.domains.find import domain_named
from vaekit.domains.text.measures import matches
from vaekit.domains.text.schema import END, UNKNOWN, TextSchema, fit, schema_from
from vaekit.errors import BadCheckpoint, BadItem, NotFound, NoTrainingData
from vaekit.evaluation.vae_pass import VAEPass

SENTENCES = ["the cat sleeps", "the dog eats", "a cat"]


def lines(*texts: str) -> list[Line]:
    return [Line(f"t.txt:{i + 1}", text) for i, text in enumerate(texts)]


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_sentences_come_back(unit: str) -> None:
    schema = fit(lines(*SENTENCES), unit, 100, 64)
    x = schema.to_tensor(lines(*SENTENCES))
    assert x.shape == (3, schema.length) and x.dtype == torch.long
    assert schema.length == 1 + max(len(text if unit == "characters" else text.split()) for text in SENTENCES)
    assert schema.to_items(x) == SENTENCES
    assert (x[:, -1] == END).all()
    assert schema_from(json.loads(json.dumps(schema.as_plain()))) == schema
    assert schema.vae_settings() == {"net": {"vocabulary": len(schema.tokens) + 2, "length": schema.length}}


def test_rare_and_new_tokens_are_unknown() -> None:
    schema = fit(lines(*SENTENCES), "words", 2, 64)
    assert schema.tokens == ("cat", "the")
    x = schema.to_tensor(lines("the bird"))
    assert x.tolist() == [[3, UNKNOWN, END, END]]
    assert schema.to_items(x) == ["the \ufffd"]


def test_long_sentences_are_refused() -> None:
    schema = fit(lines("a b", "a b c d e"), "words", 100, 3)
    assert schema.length == 3
    with refuses(BadItem, "t.txt:1", "3", "2"):
        schema.to_tensor(lines("a b c"))
    with refuses(NoTrainingData, "5"):
        fit(lines("a b c d e"), "words", 100, 3)
    with pytest.raises(BadItem):
        schema.to_tensor([Row("t.csv:2", {})])


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"unit": "words", "tokens": ["a"], "length": 0},
        {"unit": "bytes", "tokens": ["a"], "length": 3},
        {"unit": "words", "tokens": ["a", "a"], "length": 3},
        {"unit": "words", "tokens": [1], "length": 3},
        {"unit": "words", "tokens": [], "length": 3},
    ],
)
def test_a_damaged_schema_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(BadCheckpoint):
        domain_named("text").schema_from(plain, None)


class Returns:
    """A VAE that gives the same result for all."""

    def __init__(self, result: torch.Tensor) -> None:
        self.result = result

    def encode(self, x: torch.Tensor) -> object:
        raise NotImplementedError

    def decode(self, z: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return self.result

    def likelihood(self, z: torch.Tensor, like: torch.Tensor) -> object:
        raise NotImplementedError


def test_accuracy_counts_tokens_up_to_the_end() -> None:
    schema = TextSchema("words", ("a", "b"), 4)
    x = schema.to_tensor(lines("a b a", "a", "b b"))
    result = torch.tensor([[2, 3, 2, 0], [2, 0, 3, 3], [3, 2, 2, 0]])
    seen = VAEPass(("0", "1", "2"), x, Returns(result), 0, False)  # type: ignore[arg-type]
    seen.__dict__["latents"] = torch.zeros(3, 1)
    found = matches(seen)
    assert found["token_accuracy"].tolist() == pytest.approx([1, 1, 1 / 3])
    assert found["exact_match"].tolist() == [1, 1, 0]


def test_sentences_have_no_property_but_functions() -> None:
    with refuses(NotFound, "length"):
        fit(lines(*SENTENCES), "words", 10, 5).property_named("length")

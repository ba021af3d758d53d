"""Sentences as tokens, and back."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from refusals import refuses

from vaekit.datasets.dataset import Line, Row, TextRow
from vaekit.distributions.sequences import END
from vaekit.domains.find import domain_named
from vaekit.domains.text.fit import fit
from vaekit.domains.text.schema import TextSchema, schema_from
from vaekit.domains.token_measures import token_errors
from vaekit.domains.tokens import UNKNOWN
from vaekit.errors import BadCheckpoint, BadItem, NotFound, NoTrainingData
from vaekit.evaluation.vae_pass import VAEPass

SENTENCES = ["the cat sleeps", "the dog eats", "a cat"]


def lines(*texts: str) -> list[Line]:
    return [Line(f"t.txt:{i + 1}", text) for i, text in enumerate(texts)]


LENGTHS = {"characters": len, "words": lambda text: len(text.split()), "bytes": lambda text: len(text.encode())}


@pytest.mark.parametrize("unit", ["characters", "words", "bytes", "bpe"])
def test_sentences_come_back(unit: str) -> None:
    schema = fit(lines(*SENTENCES), unit, 300, 64)
    x = schema.to_tensor(lines(*SENTENCES))
    assert x.shape == (3, schema.length) and x.dtype == torch.long
    if unit in LENGTHS:
        assert schema.length == 1 + max(map(LENGTHS[unit], SENTENCES))
    assert schema.to_items(x) == SENTENCES
    assert (x[:, -1] == END).all()
    assert schema_from(json.loads(json.dumps(schema.as_plain()))) == schema
    assert schema.vae_settings() == {"net": {"vocabulary": len(schema.tokens) + 2, "length": schema.length}}
    assert (
        domain_named("text").schema_from(schema.as_plain(), Config(Net(len(schema.tokens) + 2, schema.length)))
        == schema
    )


@dataclass(frozen=True)
class Net:
    vocabulary: int
    length: int


@dataclass(frozen=True)
class Config:
    net: Net


@pytest.mark.parametrize("unit", ["characters", "words", "bytes", "bpe"])
@pytest.mark.parametrize(
    "text",
    [
        "it 's full of fresh ingredients , light and tasty .",
        "It's 3.5% (\"approx\")... isn't it?",
        "two  spaces,\ttab \u00e9e\u0301 \u65e5\u672c\u3002",
        "\U0001f600\u2060!",
    ],
)
def test_every_character_comes_back(unit: str, text: str) -> None:
    schema = fit(lines(text, "the end"), unit, 400, 200)
    x = schema.to_tensor(lines(text))
    assert UNKNOWN not in x
    assert schema.to_items(x) == [text]
    lower = fit(lines(text), unit, 400, 200, lowercase=True)
    assert lower.to_items(lower.to_tensor(lines(text))) == [text.lower()]


@pytest.mark.parametrize(("unit", "unseen"), [("bytes", "\u65e5!"), ("bpe", "\u65e5!")])
def test_bytes_know_every_text(unit: str, unseen: str) -> None:
    schema = fit(lines("ab"), unit, 256, 20)
    longer = replace(schema, length=20)
    assert longer.to_items(longer.to_tensor(lines(unseen))) == [unseen]
    assert longer.to_items(torch.tensor([[UNKNOWN, *longer.encode(["a"])[0], 0]])) == [
        "\ufffda" if unit == "bytes" else "\ufffd a"
    ]


def test_words_of_files_without_punctuation_are_what_is_between_spaces() -> None:
    schema = schema_from({"unit": "words", "tokens": ["tasty.", "so"], "length": 4})
    x = schema.to_tensor(lines("so  tasty."))
    assert x.tolist() == [[3, 2, 0, 0]] and schema.to_items(x) == ["so tasty."]
    assert schema.as_plain() == {"unit": "words", "tokens": ["tasty.", "so"], "length": 4}


def test_the_least_count_of_tokens() -> None:
    assert fit(lines("a a b", "a c b"), "words", 100, 64, min_count=2).tokens == ("a", "b")
    with refuses(NoTrainingData, "5", "3"):
        fit(lines("a a b", "a c b"), "words", 100, 64, min_count=5)


def test_columns_of_tables() -> None:
    rows = [
        TextRow("t.csv:2", {"text": "a\nb", "other": "c"}, "text"),
        TextRow("t.csv:3", {"text": " ", "other": "d"}, "text"),
    ]
    usual, named = fit(rows, "words", 9, 9), fit(rows, "words", 9, 9, column="other")
    assert usual.to_items(usual.to_tensor(rows[:1])) == ["a b"]
    assert named.to_items(named.to_tensor(rows)) == ["c", "d"] and named.as_plain()["column"] == "other"
    assert named.to_items(named.to_tensor([TextRow("u.csv:2", {"review": "d"}, "review")])) == ["d"]
    with refuses(BadItem, "t.csv:3"):
        usual.to_tensor(rows)
    with refuses(NoTrainingData, "text", "other", "missing"):
        fit(rows, "words", 9, 9, column="missing")
    with refuses(NoTrainingData, "data.column", "nosuch"):
        fit(lines("a b"), "words", 9, 9, column="nosuch")
    with refuses(NoTrainingData, "title", "review"):
        fit([TextRow("t.csv:2", {"title": "a", "review": "b"}, None)], "words", 9, 9)


def test_a_text_too_long_for_a_sentence_is_not_split() -> None:
    schema = fit(lines(*SENTENCES), "words", 100, 64)
    with refuses(BadItem, "t.txt:2", "200,000"):
        schema.to_tensor(lines("a cat", "a " * 100_000))


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
        {"unit": "bpe", "tokens": ["a"], "length": 3},
        {"unit": "bpe", "tokens": ["a"], "merges": [["a"]], "length": 3},
        {"unit": "words", "tokens": ["a"], "length": 3, "column": 4},
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
    found = token_errors("sentence", "sentences").compute(seen)
    assert found["token_accuracy"].tolist() == pytest.approx([1, 1, 1 / 3])
    assert found["exact_match"].tolist() == [1, 1, 0]


def test_sentences_have_no_property_but_functions() -> None:
    with refuses(NotFound, "length"):
        fit(lines(*SENTENCES), "words", 10, 5).property_named("length")

"""Functions of the user as embeddings."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vaekit.errors import BadItem, BadPlan, NotFound, VaekitError
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.external import load_external

X = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
SOURCE = """
import torch
class Net:
    @staticmethod
    def embed(x):
        return x.mean(dim=(2, 3)).numpy()
def embed(x): return x.flatten(1)[:, :7]
def whole_numbers(x): return torch.zeros(len(x), 4, dtype=torch.long)
def one_vector(x): return torch.ones(4)
def too_few(x): return torch.ones(1, 4)
def empty(x): return torch.ones(len(x), 0)
def text(x): return "no vectors"
def fails(x): raise KeyError("weights")
def leaves(x): raise SystemExit(3)
def changes(x):
    x.zero_()
    return torch.ones(len(x), 2)
def nan(x): return torch.full((len(x), 2), torch.nan)
def longer_and_longer(x): return torch.ones(len(x), len(x))
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Writes a module into the current folder; its name, which no other test uses."""
    monkeypatch.chdir(tmp_path)

    def write(source: str) -> str:
        name = f"functions_{abs(hash((request.node.nodeid, source)))}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def test_a_function_becomes_an_embedding(module: Callable[[str], str]) -> None:
    name = module(SOURCE)
    for function, dimension in (("embed", 7), ("Net.embed", 3)):
        embedding = load_external(f"{name}:{function}", X[:1])
        assert isinstance(embedding, Embedding)
        assert embedding.dimension == dimension
        vectors = embedding(X)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
        torch.testing.assert_close(vectors, torch.cat([embedding(x) for x in X.split(1)]))


def test_the_identity_follows_name_and_source(module: Callable[[str], str]) -> None:
    one, other = module(SOURCE), module(SOURCE + "\n# changed")
    first, second = load_external(f"{one}:embed", X), load_external(f"{other}:embed", X)
    assert first.identity["sha256"] != second.identity["sha256"]
    assert first.identity == load_external(f"{one}:embed", X).identity
    assert first.identity != load_external(f"{one}:Net.embed", X).identity


def test_items_of_the_caller_are_not_changed(module: Callable[[str], str]) -> None:
    x = X.clone()
    load_external(f"{module(SOURCE)}:changes", x)
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("whole_numbers", BadPlan),
        ("one_vector", BadPlan),
        ("too_few", BadPlan),
        ("empty", BadPlan),
        ("text", BadPlan),
        ("fails", BadPlan),
        ("leaves", BadPlan),
        ("number", BadPlan),
        ("embedd", NotFound),
        ("Net.missing", NotFound),
    ],
)
def test_functions_that_do_not_fit_are_refused(
    module: Callable[[str], str], function: str, error: type[VaekitError]
) -> None:
    with pytest.raises(error):
        load_external(f"{module(SOURCE)}:{function}", X)


def test_results_that_change_later_are_refused(module: Callable[[str], str]) -> None:
    name = module(SOURCE)
    with pytest.raises(BadPlan):
        load_external(f"{name}:longer_and_longer", X[:2])(X)
    with pytest.raises(BadItem):
        load_external(f"{name}:nan", X)(X)


@pytest.mark.parametrize("name", ["look_", "a:", ":b", "a:b:c", "a b:c", "../a:b", "a:b c", "os;x:y", ""])
def test_names_of_another_form_are_refused_without_an_import(name: str) -> None:
    with pytest.raises(BadPlan):
        load_external(name, X)


def test_modules_that_cannot_be_imported_are_refused(module: Callable[[str], str]) -> None:
    with pytest.raises(NotFound):
        load_external("no_such_module_anywhere:embed", X)
    with pytest.raises(BadPlan):
        load_external(f"{module('import no_such_module_anywhere')}:embed", X)
    with pytest.raises(BadPlan):
        load_external(f"{module('raise SystemExit')}:embed", X)
    with pytest.raises(BadPlan):
        load_external(f"{module('def broken(:')}:embed", X)


def test_what_a_function_prints_is_not_a_result(
    module: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = module("print('loading')\ndef embed(x):\n    print('embedding')\n    return x.mean(dim=(2, 3))")
    load_external(f"{name}:embed", X[:1])(X)
    said = capsys.readouterr()
    assert not said.out and "loading" in said.err and "embedding" in said.err

"""The rule of three: one loop, one objective, one file format and one `evaluate` train and judge images, a table and
sentences. What differs stands in the recipe and in how data become tensors, and nowhere else."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from slow_cases import nightly
from torch import Generator, Tensor

import vaekit
from vaekit.datasets.dataset import Line, Row
from vaekit.domains.tables.schema import fit as table_schema
from vaekit.domains.text.fit import fit as text_schema
from vaekit.evaluation.evaluate import EvaluationData, Measures, evaluate
from vaekit.evaluation.journal import ITEMS
from vaekit.evaluation.measures import evidence, rate
from vaekit.evaluation.protocol import MODE, Protocol
from vaekit.evaluation.vae_pass import DirectRunner
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import Step, initial_train_state, train
from vaekit.training.recipe import Recipe, merged
from vaekit.training.run import Run, run_training
from vaekit.training.state import newest_checkpoint, save_state
from vaekit.vae import VAE

HELD_OUT = 100
SEEDS = 4
"""Evaluations that the gap between bounds is averaged over."""
ELBO = {"terms": {"nll": {}, "kl": {"weight": [[0, 0.1], [4000, 1.0]]}}}
BOUND = {"terms": {"iwae": {"k": 3}}}


@dataclass(frozen=True)
class Kind:
    """Data of one kind, how a VAE of them is made, and what a model without latents reaches."""

    items: Tensor
    """(n, ...); the last ones are held out."""
    vae: dict[str, Any]
    samples: int
    baseline: Callable[[Tensor, Tensor], Tensor]
    """(trained on, held out) -> log-likelihood of each held-out item, in nats."""

    @property
    def train(self) -> Tensor:
        return self.items[:-HELD_OUT]

    @property
    def held_out(self) -> Tensor:
        return self.items[-HELD_OUT:]

    def recipe(self, objective: dict[str, Any], samples: int) -> Recipe:
        schedule = {"samples": samples, "batch_size": 50, "learning_rate": 4e-3, "averages": [0.99]}
        return Recipe("law", {"vae": self.vae, "objective": objective, "schedule": schedule})


def images() -> Kind:
    """Digits of 8x8, in black and white, beside independent pixels."""
    items = (torch.tensor(load_digits().images).unsqueeze(1) > 7).float() * 2 - 1
    net = {"kind": "mlp", "data_shape": [1, 8, 8], "latent_channels": 6, "hidden": [64], "activation": "relu"}
    vae = {"net": net, "posterior": {"kind": "gaussian"}, "likelihood": {"kind": "bernoulli"}}
    return Kind(items, vae, 10_000, lambda train, x: coins((train + 1) / 2, (x + 1) / 2))


def table() -> Kind:
    """Breast cancer: 30 measured columns, the last five as above or below their median; beside independent columns."""
    values = torch.tensor(load_breast_cancer().data, dtype=torch.float32)
    values = values[torch.randperm(len(values), generator=Generator().manual_seed(0))]
    above = values[:, 25:] > values[:-HELD_OUT, 25:].median(dim=0).values
    rows = [
        Row(str(i), {str(j): str(value) for j, value in enumerate([*row[:25], *map(int, flags)])})
        for i, (row, flags) in enumerate(zip(values.tolist(), above.tolist(), strict=True))
    ]
    schema = table_schema(rows[:-HELD_OUT])
    net = {"kind": "mlp", "latent_channels": 4, "hidden": [32], "activation": "silu"}
    vae = {
        "net": net,
        "posterior": {"kind": "gaussian"},
        "likelihood": {"kind": "columns"},
        "prior": {"kind": "mixture"},
    }

    def independent(train: Tensor, x: Tensor) -> Tensor:
        mean, spread = train[:, :25].mean(dim=0), train[:, :25].std(dim=0)
        gaussian = torch.distributions.Normal(mean, spread).log_prob(x[:, :25]).sum(dim=1)
        return gaussian + coins(train[:, 25:], x[:, 25:])

    return Kind(schema.to_tensor(rows), merged(schema.vae_settings(), vae), 10_000, independent)


def sentences() -> Kind:
    """Words of a Markov chain that keeps to one of two dialects, beside words drawn one by one."""
    generator = Generator().manual_seed(0)
    dialects = torch.randn(2, 6, 6, generator=generator).mul(2).softmax(dim=2)
    which = torch.randint(2, (1500,), generator=generator)
    words = [torch.randint(6, (1500,), generator=generator)]
    for _ in range(9):
        words.append(torch.multinomial(dialects[which, words[-1]], 1, generator=generator).squeeze(1))
    lines = [Line(str(i), " ".join(map(str, row))) for i, row in enumerate(torch.stack(words, dim=1).tolist())]
    schema = text_schema(lines[:-HELD_OUT], "words", 100, 10)
    net = {"kind": "tokens", "latent_channels": 3, "width": 24, "embedding": 8}
    likelihood = {"kind": "tokens", "word_dropout": 0.2}
    vae = {
        "net": net,
        "posterior": {"kind": "gaussian"},
        "likelihood": likelihood,
        "prior": {"kind": "flow", "hidden": 8},
    }

    def one_by_one(train: Tensor, x: Tensor) -> Tensor:
        """The end, which is always in one place, costs nothing."""
        chances = torch.bincount(train[:, :-1].flatten(), minlength=8).div(train[:, :-1].numel()).log()
        return chances[x[:, :-1]].sum(dim=1)

    return Kind(schema.to_tensor(lines), merged(schema.vae_settings(), vae), 8_000, one_by_one)


def coins(train: Tensor, x: Tensor) -> Tensor:
    """Log-likelihood of values in {0, 1} that are independent, (n,)."""
    chance = (train.sum(dim=0) + 0.5) / (len(train) + 1)
    return torch.where(x > 0, chance, 1 - chance).log().flatten(1).sum(dim=1)


KINDS = {"images": images, "table": table, "sentences": sentences}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]()


def evidence_of(vae: VAE, kind: Kind, out: Path | None = None, seed: int = 0) -> dict[str, float]:
    """ELBO and NLL, as `evaluate` measures them."""
    names = [f"{i:03}" for i in range(HELD_OUT)]
    data = EvaluationData(names, lambda name: kind.held_out[int(name)])
    assert vae.prior is not None
    measures = Measures((evidence(vae.prior, 20), rate(vae.prior)))
    protocol = Protocol("", "", HELD_OUT, "", {}, MODE, seed, {}, 25, measures.settings())
    found = evaluate(DirectRunner(vae.eval()), data, measures, protocol, out)
    return {result.quantity.name: result.value for result in found.results}


def evidence_gaps(vae: VAE, kind: Kind, folder: Path) -> Tensor:
    """How much the importance-weighted bound of each item exceeds its ELBO, (n,): means over several seeds."""
    gaps = torch.zeros(HELD_OUT, dtype=torch.float64)
    for seed in range(SEEDS):
        evidence_of(vae, kind, folder / str(seed), seed)
        lines = (folder / str(seed) / ITEMS).read_text("utf-8").splitlines()
        values = [item["values"] for line in lines for item in json.loads(line)["items"]]
        gaps += torch.tensor([-each["nll"] - each["elbo"] for each in values], dtype=torch.float64) / SEEDS
    return gaps


@pytest.mark.parametrize("kind", ["images", "table", *nightly("sentences")], indirect=True)
@pytest.mark.parametrize(
    "objective", [pytest.param(ELBO, id="elbo"), pytest.param(BOUND, id="iwae", marks=pytest.mark.nightly)]
)
def test_it_learns_what_items_have_in_common(kind: Kind, objective: dict[str, Any], tmp_path: Path) -> None:
    recipe = kind.recipe(objective, kind.samples)
    torch.manual_seed(0)
    before = evidence_of(recipe.vae(), kind)["elbo"]
    stream = Stream(Tensors(kind.train), seed=0)
    trained = run_training(
        Run(recipe, tmp_path, stream, {}, recipe.objective(), recipe.schedule(), kind.held_out, validate_every=100)
    )
    found = evidence_of(trained, kind)
    baseline = kind.baseline(kind.train, kind.held_out)
    error = baseline.std().item() / math.sqrt(HELD_OUT)
    assert found["elbo"] > before + 1
    assert found["elbo"] > baseline.mean().item() + 2 * error
    gaps = evidence_gaps(trained, kind, tmp_path / "evaluations")
    # Non-negative in expectation, but not for every item: the KL in the ELBO is estimated from other samples.
    assert gaps.mean().item() > -3 * gaps.std().item() / math.sqrt(HELD_OUT)


def test_a_file_keeps_every_likelihood(kind: Kind, tmp_path: Path) -> None:
    recipe = kind.recipe(ELBO, 500)
    run = Run(recipe, tmp_path, Stream(Tensors(kind.train), seed=0), {}, recipe.objective(), recipe.schedule())
    trained = run_training(run)
    again = vaekit.load(tmp_path / "vae.safetensors")
    assert again.config == trained.config and again.normalization == trained.normalization
    assert again.state_dict().keys() == trained.state_dict().keys()
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in again.state_dict().items())
    x, z = kind.held_out, again.encode(kind.held_out).sample(Generator().manual_seed(0))
    # A matrix product may round another way where weights stand in memory that is aligned another way.
    torch.testing.assert_close(z, trained.encode(x).sample(Generator().manual_seed(0)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(again.likelihood(z).log_prob(x), trained.likelihood(z).log_prob(x), rtol=1e-5, atol=0)
    assert evidence_of(again, kind) == pytest.approx(evidence_of(trained, kind), rel=1e-5)


def test_it_goes_on_exactly_after_a_stop(kind: Kind, tmp_path: Path) -> None:
    recipe = kind.recipe(BOUND, 1000)
    stream = Stream(Tensors(kind.train), seed=0)

    def keeping(step: Step) -> None:
        if step.state.samples == 400:
            save_state(step.state, tmp_path)

    torch.manual_seed(0)
    whole = initial_train_state(recipe.vae(), recipe.schedule())
    train(whole, stream, recipe.objective(), recipe.schedule(), after=keeping)
    torch.manual_seed(1)
    resumed = initial_train_state(recipe.vae(), recipe.schedule())
    found = newest_checkpoint(tmp_path, pytest.fail)
    assert found is not None
    resumed.restore(*found)
    assert resumed.samples == 400
    train(resumed, stream, recipe.objective(), recipe.schedule())
    first, second = whole.tensors(), resumed.tensors()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)

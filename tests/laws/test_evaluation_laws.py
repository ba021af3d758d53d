"""One `evaluate` for images, a table, codes, choices and sentences: nothing in it asks what the data are."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from refusals import refuses
from torch import Generator, Tensor, nn

from vaekit.distributions import (
    AutoregressiveCategorical,
    Bernoulli,
    DiagonalGaussian,
    GaussianAndCategoricals,
    Laplace,
    Normal,
    NormalAndUniform,
    Prior,
    SignedBernoulli,
    StandardNormal,
    UniformCodes,
)
from vaekit.errors import BadItem, NothingEvaluated, ProtocolChanged
from vaekit.evaluation.evaluate import Evaluation, EvaluationData, Measures, evaluate
from vaekit.evaluation.journal import ITEMS, RESULT, ROWS
from vaekit.evaluation.measures import (
    ItemMeasure,
    PooledMeasure,
    PooledResult,
    Result,
    evidence,
    rate,
)
from vaekit.evaluation.protocol import MODE, SAMPLE, Protocol
from vaekit.evaluation.vae_pass import DirectRunner, VAEPass
from vaekit.families.joint import net as joint
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.metrics.frechet import RunningGaussian
from vaekit.metrics.measure import Measure
from vaekit.vae import VAE

COUNT = 7
SAME = Measure("same", "equal values", "", "higher", "The share of numbers that came back as they were.")
SPREAD = Measure("spread", "spread", "", None, "The total variance of the latents over the items.")


@dataclass(frozen=True)
class Member:
    """A VAE, data for it, and the prior over its latents."""

    vae: VAE
    x: Tensor
    prior: Prior


class Cut(Exception):
    """Stands for a kill."""


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def images(config: KLConfig) -> Member:
    encoder, decoder = kl.build(config)
    x = torch.rand(COUNT, 3, 8, 12, generator=seeded()) * 2 - 1
    return Member(VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace), x, StandardNormal())


def table() -> Member:
    """Ten columns of numbers, a latent of three."""
    encoder = nn.Sequential(nn.Linear(10, 16), nn.SiLU(), nn.Linear(16, 6))
    decoder = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 10))
    x = torch.randn(COUNT, 10, generator=seeded())
    return Member(VAE(encoder, DiagonalGaussian.from_moments, decoder, Normal), x, StandardNormal())


def codes(quantizer: nn.Module) -> Member:
    encoder, decoder = nn.Conv2d(1, 4, 4, stride=4), nn.ConvTranspose2d(4, 1, 4, stride=4)
    x = torch.rand(COUNT, 1, 8, 12, generator=seeded()).round()
    return Member(VAE(encoder, quantizer, decoder, Bernoulli), x, UniformCodes(5))


def choices() -> Member:
    config = joint.JointConfig(image_channels=1, image_size=32, width=4, hidden=8, continuous=2, categories=(3, 2))
    encoder, decoder = joint.build(config)
    head = partial(GaussianAndCategoricals.from_moments, categories=config.categories)
    x = torch.rand(COUNT, 1, 32, 32, generator=seeded()) * 2 - 1
    return Member(VAE(encoder, head, decoder, SignedBernoulli), x, NormalAndUniform(config.categories))


def sentences(next_token: nn.Module) -> Member:
    """Five tokens of a vocabulary of three; the decoder is an autoregressive network."""
    encoder = nn.Sequential(nn.Embedding(3, 8), nn.Flatten(), nn.Linear(40, 4))
    head = partial(AutoregressiveCategorical, next_token, length=5)
    x = torch.randint(3, (COUNT, 5), generator=seeded())
    return Member(VAE(encoder, DiagonalGaussian.from_moments, nn.Linear(2, 6), head), x, StandardNormal())


@pytest.fixture(params=["images", "table", "codes", "choices", "sentences"])
def member(request: pytest.FixtureRequest, small_kl: KLConfig, quantizer: nn.Module, next_token: nn.Module) -> Member:
    torch.manual_seed(0)
    members: dict[str, Callable[[], Member]] = {
        "images": lambda: images(small_kl),
        "table": table,
        "codes": lambda: codes(quantizer),
        "choices": choices,
        "sentences": lambda: sentences(next_token),
    }
    made = members[request.param]()
    made.vae.eval()
    return made


class Variance:
    """A pool: the total variance of the rows."""

    def __init__(self, width: int) -> None:
        self.running = RunningGaussian(width)

    def add(self, rows: Tensor) -> None:
        self.running.add(rows)

    def result(self) -> PooledResult:
        variance = float(self.running.gaussian().covariance.diagonal().sum())
        return PooledResult((Result(SPREAD, variance, count=self.running.count),))


def measures_of(member: Member, samples: int = 3) -> Measures:
    def same(seen: VAEPass) -> dict[str, Tensor]:
        return {"same": (seen.x == seen.result).flatten(1).double().mean(dim=1)}

    width = member.vae.encode(member.x[:1]).mode.numel()
    spread = PooledMeasure("spread", lambda seen: seen.latents.flatten(1), lambda: Variance(width))
    singles = ItemMeasure((SAME,), same), rate(member.prior), evidence(member.prior, samples)
    return Measures(singles, (spread,))


def protocol_for(measures: Measures, **changed: object) -> Protocol:
    told: dict[str, object] = {
        "vae": "v", "data": "d", "items": COUNT, "chosen": "all", "preparation": {}, "latents": MODE,
        "seed": 0, "run": {}, "batch": 3, "measures": measures.settings(),
    }  # fmt: skip
    return Protocol(**(told | changed))  # type: ignore[arg-type]


def data_of(x: Tensor, broken: tuple[int, ...] = (), cut: int | None = None) -> EvaluationData:
    """Items by number; some cannot be read, and at one of them everything ends."""

    def read(name: str) -> Tensor:
        item = int(name)
        if item == cut:
            raise Cut
        if item in broken:
            raise BadItem(f"{name} is damaged.", "", "")
        return x[item]

    return EvaluationData([str(i) for i in range(len(x))], read)


def run(
    member: Member, out: Path | None = None, *, broken: tuple[int, ...] = (), cut: int | None = None, **changed: object
) -> Evaluation:
    measures = measures_of(member)
    return evaluate(
        DirectRunner(member.vae), data_of(member.x, broken, cut), measures, protocol_for(measures, **changed), out
    )


def values(found: Evaluation) -> dict[str, float]:
    return {result.quantity.name: result.value for result in found.results}


@pytest.mark.parametrize("latents", [MODE, SAMPLE])
def test_all_data_are_measured_by_the_same_lines(member: Member, latents: str) -> None:
    found = values(run(member, latents=latents))
    assert set(found) == {
        "same", "spread", "elbo", "elbo_bits_per_dimension", "nll", "nll_bits_per_dimension",
        "kl", "kl_bits_per_latent", "kl_bits_per_dimension",
    }  # fmt: skip
    assert all(map(math.isfinite, found.values()))
    with torch.no_grad():
        kl_directly = member.vae.encode(member.x).kl(member.prior).mean().item()
    assert found["kl"] == pytest.approx(kl_directly, rel=1e-4)
    dimensions = member.x[0].numel()
    assert found["kl_bits_per_dimension"] == pytest.approx(found["kl"] / math.log(2) / dimensions)
    assert found["nll_bits_per_dimension"] == pytest.approx(found["nll"] / math.log(2) / dimensions)
    assert found["elbo_bits_per_dimension"] == pytest.approx(-found["elbo"] / math.log(2) / dimensions)


def test_items_do_not_depend_on_their_batch(member: Member) -> None:
    one, many = (values(run(member, batch=batch, latents=SAMPLE)) for batch in (1, 4))
    assert one == pytest.approx(many, rel=1e-4)


@pytest.mark.parametrize("broken", [(), (0, 2, 3), (6,)])
def test_a_run_that_was_cut_off_anywhere_ends_in_the_same_bits(
    member: Member, tmp_path: Path, broken: tuple[int, ...]
) -> None:
    run(member, tmp_path / "whole", broken=broken, latents=SAMPLE)
    wanted = (tmp_path / "whole" / RESULT).read_bytes()
    for cut in sorted(set(range(COUNT)) - set(broken)):
        folder = tmp_path / f"cut{cut}"
        with pytest.raises(Cut):
            run(member, folder, broken=broken, cut=cut, latents=SAMPLE)
        assert not (folder / RESULT).exists()
        run(member, folder, broken=broken, latents=SAMPLE)
        assert (folder / RESULT).read_bytes() == wanted
    assert run(member, broken=broken, latents=SAMPLE).as_json() == json.loads(wanted)


def test_what_a_crash_leaves_of_a_batch_is_cut_off(member: Member, tmp_path: Path) -> None:
    run(member, tmp_path / "whole")
    lines, rows = ((tmp_path / "whole" / name).read_bytes() for name in (ITEMS, ROWS))
    first = lines.index(b"\n") + 1
    torn = [
        (lines[: first + 20], rows),
        (lines, rows[:-1]),
        (lines[:-1], rows),
        (lines[:first], rows + b"abc"),
        (b"", rows),
        (lines[:first] + b"[]\n", rows),
        (lines[:first] + b"\xff\n", rows),
    ]
    for number, (left, kept) in enumerate(torn):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("protocol.json",):
            (folder / name).write_bytes((tmp_path / "whole" / name).read_bytes())
        (folder / ITEMS).write_bytes(left)
        (folder / ROWS).write_bytes(kept)
        run(member, folder)
        for name in (ITEMS, ROWS, RESULT):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (number, name)


def test_a_finished_evaluation_is_told_again_without_running_anything(member: Member, tmp_path: Path) -> None:
    first = run(member, tmp_path)
    assert run(member, tmp_path, cut=0).as_json() == first.as_json()


def test_another_protocol_is_refused_and_its_difference_told(member: Member, tmp_path: Path) -> None:
    run(member, tmp_path)
    before = (tmp_path / ITEMS).read_bytes()
    with refuses(ProtocolChanged, "data", "d", "other", "seed", "0", "1"):
        run(member, tmp_path, data="other", seed=1)
    assert (tmp_path / ITEMS).read_bytes() == before


def test_items_that_cannot_be_read_are_listed_and_the_others_measured(member: Member) -> None:
    found = run(member, broken=(1, 2))
    assert found.measured == COUNT - 2
    assert [(item.name, item.error) for item in found.skipped] == [("1", "1 is damaged."), ("2", "2 is damaged.")]
    assert all(result.count == COUNT - 2 for result in found.results)


def test_items_that_fail_in_a_batch_do_not_take_the_others_with_them(member: Member) -> None:
    measures = measures_of(member)
    bad = member.x[4]

    def choosy(seen: VAEPass) -> dict[str, Tensor]:
        if any(torch.equal(x, bad) for x in seen.x):
            raise BadItem("not this one.", "", "")
        return {"choosy": torch.zeros(len(seen.x))}

    extended = Measures((*measures.items, ItemMeasure((Measure("choosy", "", "", None, ""),), choosy)), measures.pooled)
    found = evaluate(DirectRunner(member.vae), data_of(member.x), extended, protocol_for(extended))
    assert [item.name for item in found.skipped] == ["4"]
    assert found.measured == COUNT - 1


def test_nothing_to_measure_is_an_error(member: Member) -> None:
    with refuses(NothingEvaluated, "7", "0"):
        run(member, broken=tuple(range(COUNT)))


def test_more_samples_bring_the_bound_to_the_evidence() -> None:
    """z ~ N(0, 1), x ~ N(2z, 1), so x ~ N(0, 5); the posterior N(x, 1) is far from the true one."""
    decoder = nn.Linear(1, 1, bias=False)
    nn.init.constant_(decoder.weight, 2.0)
    vae = VAE(nn.Identity(), lambda x: DiagonalGaussian(x, torch.zeros_like(x)), decoder, Normal)
    x = torch.tensor([[1.5], [-0.3], [0.7]])
    evidence_of = -Normal(torch.zeros(3, 1), math.sqrt(5)).log_prob(x).mean().item()
    nlls = []
    for samples in (1, 5000):
        measures = Measures((evidence(StandardNormal(), samples),))
        found = evaluate(DirectRunner(vae), data_of(x), measures, protocol_for(measures))
        nlls.append(values(found)["nll"])
        assert -values(found)["elbo"] > evidence_of
    assert nlls[0] > evidence_of
    assert nlls[1] == pytest.approx(evidence_of, abs=0.03)


def test_exactly_so_many_samples_are_drawn() -> None:
    """The reference is written out: one loop over the samples of the same generator."""
    torch.manual_seed(0)
    member = table()
    for samples in (1, 64, 70):
        measures = Measures((evidence(member.prior, samples),))
        drawn: list[int] = []

        class Counting(DirectRunner):
            def likelihood(self, z: Tensor, like: Tensor) -> Normal:
                drawn.append(len(z))  # noqa: B023
                return super().likelihood(z, like)  # type: ignore[return-value]

        evaluate(Counting(member.vae), data_of(member.x[:2]), measures, protocol_for(measures))
        assert sum(drawn) == 2 * samples

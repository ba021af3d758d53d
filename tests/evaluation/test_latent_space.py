"""Latent spaces whose measures are known: identities, planted faults, Gaussians."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import DiagonalGaussian, Point
from vaekit.errors import BadItem, NothingEvaluated
from vaekit.evaluation.evaluate import EvaluationData
from vaekit.evaluation.latent_space import LatentSpace, measure_latent_space
from vaekit.evaluation.perception import Features, Perception, PerceptualDistance
from vaekit.evaluation.protocol import MODE, Protocol
from vaekit.evaluation.vae_pass import DirectRunner
from vaekit.geometry import Geometry
from vaekit.metrics.measure import Measure
from vaekit.nets.vector_quantizer import VectorQuantizer
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

Function = Callable[[Tensor], Tensor]
IMAGES = Geometry(3, 3, (1, 1))
ROWS = Geometry(4, 4)
COUNT = 48


@dataclass(frozen=True)
class Config:
    geometry: Geometry


class Applied(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def same(x: Tensor) -> Tensor:
    return x


def autoencoder(encode: Function = same, decode: Function = same, geometry: Geometry = IMAGES, **more: Any) -> VAE:
    head = more.pop("head", Point)
    return VAE(Applied(encode), head, Applied(decode), Point, config=Config(geometry), **more)  # type: ignore[arg-type]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def data_of(x: Tensor) -> EvaluationData:
    return EvaluationData([f"{i:04}" for i in range(len(x))], lambda name: x[int(name)])


def pooled(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x.mean(dim=1, keepdim=True), 2).flatten(1)


def measure(name: str) -> Measure:
    return Measure(name, name, "", "lower", "")


SEEN = Perception(
    Features(pooled, 4, {"features": "means of quarters"}, measure("rfd"), measure("ifd"), measure("sfd")),
    PerceptualDistance(lambda x, y: (x - y).square().mean(dim=(1, 2, 3)), {"network": "none"}),
)
BLIND = Perception(missing={"features": "no features", "distance": "no distance"})


def space(
    vae: VAE, data: Tensor | EvaluationData, perception: Perception = SEEN, out: Path | None = None, **more: Any
) -> LatentSpace:
    given = data if isinstance(data, EvaluationData) else data_of(data)
    run = {"dtype": more.pop("dtype", "fp32")}
    protocol = Protocol("vae", "data", len(given.names), "all", {}, MODE, 0, run, 8, {})
    return measure_latent_space(vae, more.pop("runner", DirectRunner(vae)), given, perception, protocol, out, **more)


def values(found: LatentSpace) -> dict[str, float]:
    return {result.quantity.name: result.value for result in found.results}


def test_an_identity_is_equivariant_straight_and_reconstructs() -> None:
    x = noise(COUNT, 3, 16, 16)
    found = values(space(autoencoder(), x))
    errors = [name for name in found if name.startswith("equivariance")]
    assert len(errors) == 6
    assert [found[name] for name in errors] == [0] * 6
    assert found["reconstruction_error"] == 0
    assert found["rfd"] == pytest.approx(0, abs=1e-9)
    assert found["path_ratio"] == pytest.approx(1, abs=1e-6)
    assert found["path_turn"] == pytest.approx(0, abs=0.1)
    assert found["path_jump"] == pytest.approx(1, abs=1e-5)
    assert found["ghost_index"] == pytest.approx(0, abs=1e-6)
    assert found["ppl"] == pytest.approx(2, rel=0.05), "the mean square of the difference of two standard normals"
    assert found["spectral_slope"] == pytest.approx(0, abs=0.1)
    assert found["spectral_excess"] == pytest.approx(1)


def test_a_code_that_depends_on_the_position_is_not_equivariant() -> None:
    ramp = torch.linspace(0.2, 2, 16) * torch.linspace(1, 3, 16)[:, None]
    found = values(
        space(
            autoencoder(lambda x: x * ramp[: x.shape[2], : x.shape[3]], lambda z: z / ramp[: z.shape[2], : z.shape[3]]),
            noise(8, 3, 16, 16),
        )
    )
    assert found["reconstruction_error"] < 1e-6
    assert all(value > 0.2 for name, value in found.items() if name.startswith("equivariance"))


def test_holes_between_latents_raise_the_distance_of_interpolations_only() -> None:
    x = noise(COUNT, 3, 4, 4).sign()
    plain = values(space(autoencoder(), x))
    holes = values(space(autoencoder(decode=lambda z: torch.where(z.abs() < 0.5, 5.0, z)), x))
    assert plain["rfd"] == holes["rfd"] == pytest.approx(0, abs=1e-9)
    assert holes["ifd"] > 2 * plain["ifd"]
    assert holes["path_ratio"] > plain["path_ratio"] and holes["ghost_index"] > 1


def test_a_blurred_latent_falls_more_steeply_than_its_image() -> None:
    found = values(space(autoencoder(lambda x: F.avg_pool2d(x, 5, 1, 2)), noise(8, 3, 32, 32)))
    assert found["spectral_slope"] < found["spectral_slope_data"] - 1
    assert found["spectral_excess"] < 0.3


@dataclass(frozen=True)
class Shrunk:
    """E(x) = N(x sqrt(3) / 2, 1 / 4): the aggregate of standard normal data is N(0, I)."""

    def __call__(self, x: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(x * 0.75**0.5, torch.full_like(x, 0.25).log())


def test_an_aggregate_posterior_equal_to_the_prior_has_distance_0() -> None:
    x = noise(1500, 4)
    with_variance = values(space(autoencoder(head=Shrunk(), geometry=ROWS), x, BLIND))
    points = values(space(autoencoder(lambda x: x * 0.75**0.5, geometry=ROWS), x, BLIND))
    assert with_variance["aggregate_kl"] < 0.005
    assert points["aggregate_kl"] == pytest.approx((0.75 - 1 - torch.tensor(0.75).log().item()) / 2, abs=0.01)
    assert with_variance["effective_dimension"] == pytest.approx(4, abs=0.1)
    assert with_variance["components_95"] == 4


@pytest.mark.parametrize("patch", [1, 2])
def test_normalized_latents_are_measured_beside_raw_ones(patch: int) -> None:
    normalization = LatentNormalization((2.0,), (0.2,), patch)
    vae = autoencoder(lambda x: 5 * x + 2, lambda z: (z - 2) / 5, normalization=normalization)
    found = values(space(vae, noise(32, 3, 16, 16)))
    assert found["aggregate_kl_normalized"] < 0.01
    assert found["aggregate_kl"] == pytest.approx((25 + 4 - 1 - torch.tensor(25.0).log().item()) / 2, rel=0.05)
    assert found["latent_offset"] == pytest.approx(0.4, abs=0.05)
    assert found["sfd"] < 0.3, "samples of N(0, I) are denormalized before they are decoded"
    unknown = values(space(autoencoder(lambda x: 5 * x + 2, lambda z: (z - 2) / 5), noise(32, 3, 16, 16)))
    assert unknown["sfd"] > 0.3


@pytest.mark.parametrize(
    ("x", "names", "reason"),
    [
        (torch.zeros(6, 3, 8, 8), ("aggregate_kl", "latent_skewness", "effective_dimension"), "do not vary"),
        (torch.zeros(6, 3, 8, 8), ("spectral_slope", "spectral_excess"), "do not vary"),
        (noise(1, 3, 8, 8), ("ifd", "ppl", "path_ratio"), "no partner"),
        (noise(4, 3, 2, 2), ("spectral_slope",), "fewer than 4 positions"),
        (noise(4, 3, 2, 2), ("equivariance_encoder_flip",), "too small"),
    ],
)
def test_reasons_stand_beside_what_is_not_measured(x: Tensor, names: tuple[str, ...], reason: str) -> None:
    found = space(autoencoder(), x)
    assert all(reason in found.not_measured[name] for name in names)
    assert not set(names) & values(found).keys()


def test_items_of_several_sizes_have_statistics_and_no_interpolations() -> None:
    items = [noise(3, 8, 12, seed=i) if i % 2 else noise(3, 16, 8, seed=i) for i in range(6)]
    data = EvaluationData([str(i) for i in range(6)], lambda name: items[int(name)])
    found = space(autoencoder(), data)
    assert {"aggregate_kl", "spectral_slope", "equivariance_decoder_turn"} <= values(found).keys()
    assert all("different shapes" in found.not_measured[name] for name in ("ifd", "ppl", "ghost_index"))


def test_a_latent_that_is_not_finite_is_left_out_and_one_bad_decoding_too() -> None:
    x = noise(10, 3, 8, 8)
    x[3, 0, 0, 0] = torch.nan
    found = space(autoencoder(), x)
    assert [item.name for item in found.skipped] == ["0003"]
    assert found.measured == 9
    assert {"ifd", "ppl", "aggregate_kl"} <= values(found).keys()
    broken = space(autoencoder(decode=lambda z: z / 0), noise(4, 3, 8, 8))
    assert "aggregate_kl" in values(broken)
    assert "non-finite" in broken.not_measured["ifd"]
    with pytest.raises(NothingEvaluated):
        space(autoencoder(lambda x: x / 0 * 0), x[:2])


def test_codes_are_not_interpolated() -> None:
    found = space(autoencoder(head=VectorQuantizer(8, 3)), noise(6, 3, 8, 8))
    assert all("quantizer" in found.not_measured[name] for name in ("ifd", "ppl", "path_ratio"))
    assert "effective_dimension" in values(found)


def test_path_lengths_need_single_precision() -> None:
    found = space(autoencoder(), noise(6, 3, 8, 8), dtype="bf16")
    assert "fp32" in found.not_measured["ppl"]
    assert {"path_ratio", "ifd"} <= values(found).keys()


def test_rows_have_no_axes_and_no_features() -> None:
    found = space(autoencoder(geometry=ROWS), noise(30, 4), BLIND)
    assert {"aggregate_kl", "path_ratio", "path_turn"} <= values(found).keys()
    assert found.not_measured["ppl"] == "no distance"
    assert {"spectral_slope", "equivariance"} <= found.not_measured.keys()


@dataclass(eq=False)
class Failing:
    """A runner that stops after some decodings."""

    vae: VAE
    left: int
    runs: int = field(default=0, init=False)

    def encode(self, x: Tensor) -> Any:
        return self.vae.encode(x)

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        self.runs += 1
        if self.runs > self.left:
            raise KeyboardInterrupt
        return self.vae.decode(z)

    def likelihood(self, z: Tensor, like: Tensor) -> Any:
        return self.vae.likelihood(z)


@pytest.mark.parametrize("left", [3, 20])
def test_an_interrupted_measurement_resumes_with_the_same_results(left: int, tmp_path: Path) -> None:
    vae, x = autoencoder(decode=lambda z: z.tanh()), noise(20, 3, 8, 8)
    whole = space(vae, x)
    with pytest.raises(KeyboardInterrupt):
        space(vae, x, out=tmp_path, runner=Failing(vae, left))
    reads: list[str] = []

    def read(name: str) -> Tensor:
        reads.append(name)
        return x[int(name)]

    again = space(vae, EvaluationData(data_of(x).names, read), out=tmp_path)
    assert values(again) == values(whole)
    assert len(reads) < 4 * len(x)
    written = json.loads((tmp_path / "latent_space.json").read_text())
    assert written["results"].keys() == values(whole).keys()
    assert len(written["curves"]["spectrum"]["latents"]) == len(written["curves"]["spectrum"]["frequency"])
    assert len(written["curves"]["channels"]["kurtosis"]) == 3


def test_the_order_of_batches_does_not_matter(tmp_path: Path) -> None:
    x = noise(20, 3, 8, 8)
    unreadable = {"0004"}

    def read(name: str) -> Tensor:
        if name in unreadable:
            raise BadItem("broken", "", "")
        return x[int(name)]

    found = space(autoencoder(), EvaluationData(data_of(x).names, read))
    assert [item.name for item in found.skipped] == ["0004"]
    kept = torch.cat([x[:4], x[5:]])
    assert values(found)["aggregate_kl"] == pytest.approx(values(space(autoencoder(), kept))["aggregate_kl"])

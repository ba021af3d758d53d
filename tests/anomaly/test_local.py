import torch

from vaekit.anomaly.local import local_map, local_score
from vaekit.anomaly.scores import Scorer
from vaekit.distributions import Always, DiagonalGaussian, Normal, StandardNormal
from vaekit.evaluation.vae_pass import DirectRunner
from vaekit.vae import VAE


def test_a_small_defect_counts_more_than_grain() -> None:
    torch.manual_seed(0)
    grain = 0.2 * torch.rand(2, 1, 64, 64)
    grain[1, 0, 30:34, 40:44] += 3
    grain[0] += grain[1].mean() - grain[0].mean()
    normal, defect = local_score(grain).tolist()
    assert defect < 5 * normal < 0


def test_maps_are_sums_over_channels_and_means_over_neighbors() -> None:
    assert torch.allclose(local_map(torch.ones(2, 3, 16, 40)), torch.full((2, 16, 40), 3.0))


def test_images_have_the_score_and_rows_do_not() -> None:
    def moments(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x[:, :1]).repeat(1, 2, *[1] * (x.dim() - 2))

    vae = VAE(
        torch.nn.Identity(),
        lambda x: DiagonalGaussian.from_moments(moments(x)),
        torch.nn.Identity(),
        lambda z: Normal(torch.zeros_like(z), 1.0),
        to_prior=Always(StandardNormal()),
    )
    scorer = Scorer(DirectRunner(vae), vae.prior, 2)
    x = torch.randn(3, 1, 8, 8)
    found = scorer.evidence(x, factors=True)
    assert found.factors is not None
    torch.testing.assert_close(found.scores["local"], local_score(found.factors))
    assert scorer.evidence(x).factors is None
    assert "local" not in scorer.evidence(torch.randn(3, 1)).scores

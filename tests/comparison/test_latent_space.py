"""Latent spaces in a report: beside reconstructions, without a change of the ranking."""

from vaekit.comparison.latent_space import GROUP, with_latent_spaces
from vaekit.comparison.measure_table import measures_in
from vaekit.comparison.records import Estimate, MeasuredCandidate, Report
from vaekit.evaluation.latent_space import LatentSpace
from vaekit.evaluation.measures import Result
from vaekit.evaluation.protocol import MODE, Protocol
from vaekit.metrics.measure import Measure

PPL = Measure("ppl", "PPL", "", "lower", "", key=True)
NETWORK = {"network": "alex", "weights": ["f" * 64]}
SPACE = LatentSpace(
    (Result(PPL, 3.0, 0.5, 2.0, 4.0, 9),),
    {"ifid": "no features"},
    ("few images",),
    9,
    (),
    {"spectrum": {"frequency": [0.1], "latents": [1.0], "data": [1.0]}, "channels": {}},
    {"paths": Protocol("vae", "data", 9, "all", {"crop": "64"}, MODE, 0, {}, 8, {"ppl": NETWORK, "ghost": {}})},
)


def report() -> Report:
    candidates = tuple(
        MeasuredCandidate(name, rank, "", (), (), {"psnr": Estimate(20.0)}, ()) for rank, name in enumerate("ab", 1)
    )
    return Report(candidates, (), measures_in({"psnr"}), (), {"seed": 0})


def test_measures_and_spectra_are_added_to_the_candidate_that_has_them() -> None:
    found = with_latent_spaces(report(), {"b": SPACE})
    assert [one.rank for one in found.candidates] == [1, 2]
    assert found.candidates[0] == report().candidates[0]
    assert found.candidates[1].measures == {"psnr": Estimate(20.0), "ppl": Estimate(3.0, 2.0, 4.0)}
    assert found.candidates[1].spectrum["latents"] == [1.0]
    assert found.candidates[1].about["latent_space"]["not_measured"] == {"ifid": "no features"}
    (ppl,) = [measure for measure in found.measures if measure.name == "ppl"]
    assert (ppl.group, ppl.key) == (GROUP, False), "never a part of the ranking"
    assert found.protocol["latent_space"]["networks"] == {"ppl": NETWORK}
    assert found.protocol["seed"] == 0


def test_without_latent_spaces_a_report_stays_as_it_is() -> None:
    assert with_latent_spaces(report(), {}) == report()

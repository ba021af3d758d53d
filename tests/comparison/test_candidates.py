"""A VAE and the same with its colors corrected, side by side; what cannot be fitted to."""

import pytest
import torch
from refusals import refuses

from vaekit.comparison.candidates import CorrectedCandidate, Reconstruction, VAECandidate
from vaekit.comparison.fit_correction import CorrectionFit
from vaekit.domains.images.correction import Correction
from vaekit.domains.images.correction_files import SavedCorrection
from vaekit.domains.images.read import LoadedImage
from vaekit.errors import NothingEvaluated
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.metrics.image.color import color_shift
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan

REDDER = SavedCorrection(Correction(offset=(0.1, 0.0, 0.0)), "offset", "a" * 64, 8, 0, 2.0, 1.0, (1.0, 0.9, 1.1), 0.01)


def candidate(channels: int = 3) -> VAECandidate:
    torch.manual_seed(0)
    config = KLConfig(channels, 4, 4, (8, 8, 16), (8, 8, 16), 1, 2, (), (), True, True, True, 4)
    return VAECandidate("small", Engine(assemble(family_of("kl"), config).eval(), Plan()))


def test_the_vae_runs_once_for_both_and_the_second_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    real = VAECandidate.reconstruct

    def counted(self: VAECandidate, name: str, image: LoadedImage) -> Reconstruction:
        runs.append(self.name)
        return real(self, name, image)

    monkeypatch.setattr(VAECandidate, "reconstruct", counted)
    plain = candidate()
    corrected = CorrectedCandidate(plain, REDDER)
    for _ in range(2):
        image = LoadedImage(torch.rand(1, 3, 32, 40) * 2 - 1)
        first, second = plain.reconstruct("a", image), corrected.reconstruct("a", image)
        torch.testing.assert_close(second.pixels, REDDER.correction.apply(first.pixels))
        assert color_shift(first.pixels, second.pixels)[0, 0] > 1
    assert runs == ["small", "small"]
    corrected.reconstruct("b", LoadedImage(torch.zeros(1, 3, 32, 32)))
    assert len(runs) == 3
    assert corrected.name == "small, corrected" and "corrected" in corrected.about()["correction"]
    torch.testing.assert_close(
        corrected.round_trip(image.pixels), REDDER.correction.apply(plain.round_trip(image.pixels))
    )


def test_a_vae_of_gray_images_has_no_colors_to_correct() -> None:
    with pytest.raises(NothingEvaluated):
        CorrectionFit(candidate(1), "small", 0)


def test_a_fit_that_has_ended_learns_no_more() -> None:
    vae = candidate()
    fitting = CorrectionFit(vae, "small", 0)
    with refuses(NothingEvaluated, "8"):
        fitting.finish({})
    assert not vae.listeners

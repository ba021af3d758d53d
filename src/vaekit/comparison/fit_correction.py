"""Fitting color corrections to VAEs from the reconstructions that a report makes anyway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.comparison.candidates import Reconstruction, VAECandidate
from vaekit.domains.images.correction_files import SavedCorrection, save_correction
from vaekit.domains.images.correction_fit import FEWEST, Fitted, Samples, fit
from vaekit.domains.images.read import LoadedImage
from vaekit.errors import NothingEvaluated, VaekitError, printable
from vaekit.identification.fingerprint import fingerprint


@dataclass(frozen=True)
class FittedFor:
    """What came of the fit to one VAE."""

    name: str
    """Of its set."""
    fitted: Fitted
    path: Path | None
    """The file that was written; None where no correction helps."""

    @property
    def words(self) -> str:
        """For a person."""
        found, gained = self.fitted, self.fitted.gained
        numbers = (
            f"dE2000 {found.before:.2f} -> {found.after:.2f} on held-out images (gained "
            f"{gained.difference.mean:+.2f}, 95 % {gained.difference.low:+.2f} to {gained.difference.high:+.2f}, "
            f"p = {gained.p:.2g}, {found.images} images)"
        )
        if self.path is None:
            return f"{self.name}: no correction of colors helps; the best one: {numbers}. Nothing was written."
        return f"{self.name}: {found.kind}, {numbers}. Written to {self.path}; --correct applies it."

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        found, gained = self.fitted, self.fitted.gained
        return {
            "name": self.name,
            "helps": found.helps,
            "kind": found.kind,
            "matrix": [list(row) for row in found.correction.matrix],
            "offset": list(found.correction.offset),
            "images": found.images,
            "held_out_delta_e": {"before": found.before, "after": found.after, "gained": vars(gained.difference)},
            "p": gained.p,
            "written": None if self.path is None else str(self.path),
        }


class Fitting:
    """A fit to one VAE, which learns from what the VAE makes while this is under way.

    Args:
        candidate: the VAE.
        called: its name on the command line, or its path: the correction is written beside it.
        seed: of the choice of pixels, and of what is held out together.

    Raises:
        NothingEvaluated: it is a VAE of gray images, which has no colors to correct.
    """

    def __init__(self, candidate: VAECandidate, called: str, seed: int) -> None:
        if candidate.encoder.geometry.channels != 3:
            raise NothingEvaluated(
                f"{printable(called)} is a VAE of gray images.", "It has no colors to correct.", "Leave it out."
            )
        self._candidate, self._called, self._seed = candidate, called, seed
        self._samples = Samples(seed)
        candidate.listeners.append(self._learn)

    def _learn(self, name: str, image: LoadedImage, made: Reconstruction) -> None:
        self._samples.add(name, image.pixels, made.pixels)

    def finish(self, versions: Mapping[str, str], models: Sequence[Path] | None = None) -> FittedFor:
        """Fit, and write what helps; learn no more.

        Args:
            versions: of the libraries that compute, for the file.
            models: the models folders, where it cannot be written beside the VAE.

        Raises:
            NothingEvaluated: fewer than `FEWEST` images came through.
            CannotWrite: it helps, and can be written nowhere.
        """
        self._candidate.listeners.remove(self._learn)
        if len(self._samples) < FEWEST:
            raise too_few(len(self._samples))
        found, path = fit(self._samples.in_order), None
        if found.helps:
            interval = found.gained.difference
            saved = SavedCorrection(
                found.correction,
                found.kind,
                fingerprint(self._candidate.encoder.vae),
                found.images,
                self._seed,
                found.before,
                found.after,
                (interval.mean, interval.low, interval.high),
                found.gained.p,
                versions,
            )
            path = save_correction(saved, self._called, models)
        return FittedFor(self._candidate.name, found, path)


def too_few(count: int) -> VaekitError:
    """The error for fewer images than a fit needs."""
    return NothingEvaluated(
        f"A correction of colors cannot be fitted to {count} images.",
        f"It needs {FEWEST} or more: each is held out once, and what helps must be told from chance.",
        "Give more images.",
    )

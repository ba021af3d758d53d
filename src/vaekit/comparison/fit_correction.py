"""Fit color corrections to VAEs, from the reconstructions of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.comparison.candidates import Reconstruction, VAECandidate
from vaekit.domains.images.correction_files import SavedCorrection, save_correction
from vaekit.domains.images.correction_fit import FEWEST, Fitted, Samples, fit
from vaekit.domains.images.read import LoadedImage
from vaekit.errors import NothingEvaluated, VaekitError, counted, printable
from vaekit.identification.fingerprint import fingerprint


@dataclass(frozen=True)
class CorrectionResult:
    """The result of the fit for one VAE."""

    name: str
    """The name of the candidate."""
    fitted: Fitted
    path: Path | None
    """The file that was written; None if no correction helps."""

    @property
    def summary(self) -> str:
        """A sentence for the user."""
        fitted, gained = self.fitted, self.fitted.gained
        result = (
            f"dE2000 {fitted.before:.2f} -> {fitted.after:.2f} on held-out images (gained "
            f"{gained.difference.mean:+.2f}, 95 % {gained.difference.low:+.2f} to {gained.difference.high:+.2f}, "
            f"p = {gained.p:.2g}, {counted(fitted.images, 'image')})"
        )
        if self.path is None:
            return f"{self.name}: no color correction helps; the best one: {result}. Nothing was written."
        return f"{self.name}: {fitted.kind}, {result}. Written to {self.path}; --correct applies it."

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        fitted, gained = self.fitted, self.fitted.gained
        return {
            "name": self.name,
            "helps": fitted.helps,
            "kind": fitted.kind,
            "matrix": [list(row) for row in fitted.correction.matrix],
            "offset": list(fitted.correction.offset),
            "images": fitted.images,
            "held_out_delta_e": {"before": fitted.before, "after": fitted.after, "gained": vars(gained.difference)},
            "p": gained.p,
            "written": None if self.path is None else str(self.path),
        }


class CorrectionFit:
    """Collects the reconstructions of one VAE, and fits a correction to them.

    Args:
        candidate: the VAE.
        vae_name: its name or path on the command line: the correction is written beside it.
        seed: of the choice of pixels and of the held-out groups.

    Raises:
        NothingEvaluated: it is a VAE for grayscale images.
    """

    def __init__(self, candidate: VAECandidate, vae_name: str, seed: int) -> None:
        if candidate.encoder.geometry.channels != 3:
            raise NothingEvaluated(
                f"{printable(vae_name)} is a VAE for grayscale images.", "It has no colors to correct.", "Omit it."
            )
        self._candidate, self._vae_name, self._seed = candidate, vae_name, seed
        self._samples = Samples(seed)
        candidate.listeners.append(self._collect)

    def _collect(self, name: str, image: LoadedImage, reconstruction: Reconstruction) -> None:
        self._samples.add(name, image.pixels, reconstruction.pixels)

    def finish(self, versions: Mapping[str, str], models: Sequence[Path] | None = None) -> CorrectionResult:
        """Fit the correction, and write it if it helps.

        Args:
            versions: of libraries, for the file.
            models: the models folders, used if it cannot be written beside the VAE.

        Raises:
            NothingEvaluated: fewer than `FEWEST` images were reconstructed.
            CannotWrite: no folder is writable.
        """
        self._candidate.listeners.remove(self._collect)
        if len(self._samples) < FEWEST:
            raise too_few(len(self._samples))
        fitted, path = fit(self._samples.in_order), None
        if fitted.helps:
            interval = fitted.gained.difference
            saved = SavedCorrection(
                fitted.correction,
                fitted.kind,
                fingerprint(self._candidate.encoder.vae),
                fitted.images,
                self._seed,
                fitted.before,
                fitted.after,
                (interval.mean, interval.low, interval.high),
                fitted.gained.p,
                versions,
            )
            path = save_correction(saved, self._vae_name, models)
        return CorrectionResult(self._candidate.name, fitted, path)


def too_few(count: int) -> VaekitError:
    """The error for fewer images than a fit needs."""
    return NothingEvaluated(
        f"A color correction cannot be fitted to {counted(count, 'image')}.",
        f"Expected at least {FEWEST}: each is held out once, and the improvement must be significant.",
        "Give more images.",
    )

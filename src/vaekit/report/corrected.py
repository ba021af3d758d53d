"""A VAE with its colour correction, as a set of its own beside the VAE as it is."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vaekit.domains.images.channels import as_rgb
from vaekit.domains.images.correction_files import SavedCorrection
from vaekit.domains.images.reading import Picture
from vaekit.report.contenders import Made, VaeContender
from vaekit.shapes import Images, Latents


class CorrectedContender(VaeContender):
    """What a VAE makes, with its colours corrected. Its name says so.

    Args:
        plain: the VAE as it is. Asked for the same pictures before this one, it runs once for both.
        saved: its correction.
    """

    def __init__(self, plain: VaeContender, saved: SavedCorrection) -> None:
        super().__init__(f"{plain.name}, corrected", plain.encoder, plain.decoder)
        self._plain, self._saved = plain, saved
        self._last: tuple[Picture, Made] | None = None
        plain.listeners.append(self._keep)

    def _keep(self, _: str, picture: Picture, made: Made) -> None:
        self._last = picture, made

    def make(self, name: str, picture: Picture) -> Made:
        last = self._last
        made = last[1] if last is not None and last[0] is picture else self._plain.make(name, picture)
        self._last = None
        return replace(made, pixels=self._saved.correction.apply(made.pixels))

    def decode(self, raw: Latents, size: tuple[int, int]) -> Images:
        return self._saved.correction.apply(as_rgb(super().decode(raw, size)))

    def about(self) -> Mapping[str, Any]:
        return {**self._plain.about(), "correction": self._saved.about}

    def overall(self) -> Mapping[str, float]:
        return self._plain.overall()

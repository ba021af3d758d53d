"""The record of a measure: name, title, unit, better direction and format. Evaluations and comparisons share it."""

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "zero", "one"]
"""Where a measure is best: as high or as low as possible, or close to 0 or 1 from both sides."""


@dataclass(frozen=True)
class Measure:
    """The description of a measured quantity."""

    name: str
    """The name in JSON, such as `psnr`."""
    title: str
    """The title in tables, such as `PSNR`."""
    unit: str
    """`dB`, `bits per latent`, `%`; empty for a plain ratio."""
    better: Better | None
    """The better direction; None if there is none."""
    about: str
    """A description in one sentence, with the source."""
    group: str = ""
    """The heading in tables: fidelity, color, tone, detail, artefacts, latents, cost."""
    key: bool = False
    """Whether it is part of the ranked table."""
    format: str = ".4g"
    """The format specification of a value without an interval."""

    def text(self, value: float) -> str:
        """A value with its unit, for tables.

        >>> Measure("psnr", "PSNR", "dB", "higher", "", format=".2f").text(28.704)
        '28.70 dB'
        """
        return f"{value:{self.format}} {self.unit}".rstrip()

    def badness(self, value: float) -> float:
        """Distance of a value from the best value: smaller is better.

        >>> Measure("slope", "Slope", "", "one", "").badness(0.75)
        0.25
        """
        match self.better:
            case "higher":
                return -value
            case "zero":
                return abs(value)
            case "one":
                return abs(value - 1)
            case _:
                return value

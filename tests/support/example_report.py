"""A small report, as `compare` would make it, without any VAE."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vaekit.comparison.records import (
    Comparison,
    Defect,
    Estimate,
    Measure,
    MeasuredCandidate,
    MeasuredImage,
    Report,
    ShownImage,
    SkippedImage,
)

MEASURES = (
    Measure("psnr", "PSNR", "dB", "higher", "fidelity", "The peak signal-to-noise ratio.", key=True),
    Measure("lpips", "LPIPS", "", "lower", "fidelity", "A learned distance.", key=True),
    Measure("chroma", "Chroma bias", "%", "zero", "colour", "Below zero is duller."),
    Measure("colours", "Colours", "", None, "artefacts", "How many there are."),
)
HOSTILE = "</script><script>document.title='taken'</script>\"'><img src=x onerror=alert(1)>&amp;"


def report(names: Sequence[str] = ("first", "second"), pictures: Sequence[str] = ("a.png", "b.png")) -> Report:
    sets = tuple(
        MeasuredCandidate(
            name=name,
            rank=i + 1,
            reason=f"It is number {i + 1} by PSNR.",
            verdict=(f"Keeps {30 - i} dB.", "Nothing else."),
            defects=(Defect("grid", 1.3, "levels", f"Seen in {pictures[0]}."),) if i else (),
            measures={
                "psnr": Estimate(30.0 - i, 29.0 - i, 31.0 - i),
                "lpips": Estimate(0.1 + 0.1 * i, 0.09 + 0.1 * i, 0.11 + 0.1 * i),
                "chroma": Estimate(-2.0 + 5 * i),
                "colours": Estimate(1000.0 + i),
            },
            pictures=tuple(MeasuredImage(picture, {"psnr": 30.0 - i, "lpips": 0.1}) for picture in pictures),
            about={"family": "tiny", "factor": 8},
        )
        for i, name in enumerate(names)
    )
    comparisons = tuple(
        Comparison("psnr", one, other, float(j - i), j - i - 0.5, j - i + 0.5, 0.001)
        for i, one in enumerate(names)
        for j, other in enumerate(names)
        if i < j
    )
    protocol = {"version": "1", "seed": 0, "torch": "2"}
    return Report(sets, comparisons, MEASURES, (SkippedImage("torn.png", "It ends too soon."),), protocol)


def picture(height: int = 96, width: int = 128, seed: int = 0) -> Tensor:
    """A ramp with some noise, at the values of 8-bit files: (1, 3, height, width)."""
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    ramp = torch.linspace(20, 220, width).expand(1, 3, height, width)
    return (ramp + 10 * noise).round().clamp(0, 255) / 127.5 - 1


def shown(of: Report, height: int = 96, width: int = 128) -> Iterator[ShownImage]:
    """One for each picture of the report; later sets are noisier."""
    for seed, judged in enumerate(of.sets[0].pictures):
        original = picture(height, width, seed)
        made = {
            one.name: (original + (1 + i) * (picture(height, width, 50 + i) - picture(height, width, 60)) / 8)
            for i, one in enumerate(of.sets)
        }
        levels = {name: ((pixels + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1 for name, pixels in made.items()}
        yield ShownImage(judged.name, original, levels, "the worst by PSNR")

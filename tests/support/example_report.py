"""A small report, as `compare` would make it, without any VAE."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vaekit.comparison.records import (
    Comparison,
    Defect,
    Estimate,
    MeasuredCandidate,
    MeasuredImage,
    Report,
    ShownImage,
    SkippedImage,
)
from vaekit.metrics.measure import Measure

MEASURES = (
    Measure("psnr", "PSNR", "dB", "higher", "The peak signal-to-noise ratio.", "fidelity", key=True),
    Measure("lpips", "LPIPS", "", "lower", "A learned distance.", "fidelity", key=True),
    Measure("chroma", "Chroma bias", "%", "zero", "Below zero is duller.", "color"),
    Measure("colors", "Colors", "", None, "How many there are.", "artefacts"),
)
HOSTILE = "</script><script>document.title='taken'</script>\"'><img src=x onerror=alert(1)>&amp;"


def report(names: Sequence[str] = ("first", "second"), images: Sequence[str] = ("a.png", "b.png")) -> Report:
    sets = tuple(
        MeasuredCandidate(
            name=name,
            rank=i + 1,
            reason=f"It is number {i + 1} by PSNR.",
            verdict=(f"Keeps {30 - i} dB.", "Nothing else."),
            defects=(Defect("grid", 1.3, "levels", f"Seen in {images[0]}."),) if i else (),
            measures={
                "psnr": Estimate(30.0 - i, 29.0 - i, 31.0 - i),
                "lpips": Estimate(0.1 + 0.1 * i, 0.09 + 0.1 * i, 0.11 + 0.1 * i),
                "chroma": Estimate(-2.0 + 5 * i),
                "colors": Estimate(1000.0 + i),
            },
            images=tuple(MeasuredImage(image, {"psnr": 30.0 - i, "lpips": 0.1}) for image in images),
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


def image(height: int = 96, width: int = 128, seed: int = 0) -> Tensor:
    """A ramp with some noise, at the values of 8-bit files: (1, 3, height, width)."""
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    ramp = torch.linspace(20, 220, width).expand(1, 3, height, width)
    return (ramp + 10 * noise).round().clamp(0, 255) / 127.5 - 1


def shown(of: Report, height: int = 96, width: int = 128) -> Iterator[ShownImage]:
    """One for each image of the report; later sets are noisier."""
    for seed, judged in enumerate(of.candidates[0].images):
        original = image(height, width, seed)
        made = {
            one.name: (original + (1 + i) * (image(height, width, 50 + i) - image(height, width, 60)) / 8)
            for i, one in enumerate(of.candidates)
        }
        levels = {name: ((pixels + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1 for name, pixels in made.items()}
        yield ShownImage(judged.name, original, levels, "worst PSNR")

"""Measures of waveforms and their reconstructions."""

from collections.abc import Mapping

from torch import Tensor

from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.audio.clipping import clipped_share
from vaekit.metrics.audio.loudness import loudness
from vaekit.metrics.audio.mel import BANDS, WINDOW, log_mel_l1
from vaekit.metrics.audio.si_sdr import si_sdr
from vaekit.metrics.audio.spectra import RESOLUTIONS, mr_stft
from vaekit.metrics.measure import Measure
from vaekit.shapes import Waveforms

QUANTITIES = (
    Measure(
        *("log_mel_l1", "log-mel L1", "", "lower"),
        f"Mean absolute difference of the logarithms of {BANDS} mel bands, in windows of about {1000 * WINDOW:.0f} ms.",
        group="fidelity",
        format=".3f",
    ),
    Measure(
        *("mr_stft", "MR-STFT", "", "lower"),
        f"Spectral convergence and log-magnitude distance, the mean over windows of {', '.join(map(str, RESOLUTIONS))} "
        "samples (arXiv 1910.11480).",
        group="fidelity",
        format=".3f",
    ),
    Measure(
        *("si_sdr", "SI-SDR", "dB", "higher"),
        "Scale-invariant signal-to-distortion ratio of the waveform (arXiv 1811.02508).",
        group="fidelity",
        format=".2f",
    ),
    Measure(
        *("loudness_change", "loudness change", "LU", "zero"),
        "Loudness of the reconstruction minus that of the original (ITU-R BS.1770-4).",
        group="fidelity",
        format="+.2f",
    ),
    Measure(
        *("clipped", "clipped", "%", "lower"),
        "Share of the samples of the reconstruction at full scale.",
        group="artefacts",
        format=".3f",
    ),
)


def waveform_values(x: Waveforms, y: Waveforms, sample_rate: int) -> dict[str, Tensor]:
    """The values of `QUANTITIES` for originals and reconstructions, (b,) each, by name."""
    return {
        "log_mel_l1": log_mel_l1(x, y, sample_rate),
        "mr_stft": mr_stft(x, y),
        "si_sdr": si_sdr(x, y),
        "loudness_change": loudness(y, sample_rate) - loudness(x, sample_rate),
        "clipped": 100 * clipped_share(y),
    }


def waveform_measures(sample_rate: int) -> ItemMeasure:
    """Measures of waveforms at a sample rate."""

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        return waveform_values(vae_pass.x.cpu(), vae_pass.result.float().cpu(), sample_rate)

    return ItemMeasure(QUANTITIES, compute, {"sample_rate": sample_rate})


def finite_mean(values: Tensor) -> float:
    """The mean of the finite values; NaN if there are none.

    >>> import torch
    >>> finite_mean(torch.tensor([1.0, 3.0, float("inf")]))
    2.0
    """
    return values[values.isfinite()].double().mean().item()

"""What a small VAE of speech keeps of spoken digits, beside two ways to store as many values per second.

    python bench/audio_small.py RECORDINGS --out FOLDER [--set KEY=VALUE ...] [--test 300]

RECORDINGS is a folder of files such as FSDD's, 7_jackson_3.wav: digit, speaker, number. Numbers 0 to 4 are held out.
The recipe `audio-small` is trained on the others into FOLDER/run (or resumes; a finished run is not trained again),
with settings of --set. Prints, for held-out files: log-mel L1, MR-STFT and SI-SDR of reconstructions by the VAE, by the
principal components of log-mel spectrograms and Griffin-Lim (the better one of two windows for each measure), and by
resampling to a lower rate and back, all with the same number of values per second; the accuracy of a digit classifier,
trained on originals, on originals and on reconstructions; and where the interpolation of two digits is. The bars are
those of docs/audio.md: 30 % below both, and 95 % of the accuracy.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.audio_format import AudioFormat
from vaekit.checkpoints.load import load
from vaekit.domains.audio.reading import reader_of
from vaekit.domains.audio.resampling import Resampler
from vaekit.domains.audio.schema import in_length, put_middle
from vaekit.metrics.audio.mel import log_mel, log_mel_l1
from vaekit.metrics.audio.si_sdr import si_sdr
from vaekit.metrics.audio.spectra import mr_stft
from vaekit.nets.mel import MelFormat, griffin_lim
from vaekit.nets.mel import log_mel as slaney_mel

HELD_OUT = 5
"""Files of each digit and speaker that are held out: FSDD's own split."""
BELOW, KEPT = 0.7, 0.95
WINDOWS, BINS, ITERATIONS = (256, 512), 80, 60
"""Of the spectrograms of the first comparison, and of Griffin-Lim."""
FITTED = 600
"""Files that principal components are fitted to."""
LENGTH = 6_000
"""Samples that the classifier looks at."""
EPOCHS, BATCH, SHIFT = 12, 32, 400
"""Of the training of the classifier: its sounds are shifted by SHIFT samples at most."""
NAMES = ("log-mel L1", "MR-STFT", "SI-SDR")


def vaekit(*arguments: object) -> None:
    """Run a verb."""
    subprocess.run([sys.executable, "-m", "vaekit", *map(str, arguments)], check=True, env=os.environ)


def split(recordings: Path, out: Path, test: int) -> tuple[list[Path], list[Path]]:
    """Links to the files to train on, and to those that are held out."""
    parts: dict[str, list[Path]] = {"train": [], "test": []}
    for path in sorted(recordings.glob("*_*_*.wav")):
        name = "test" if int(path.stem.rpartition("_")[2]) < HELD_OUT else "train"
        link = out / name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.resolve())
        parts[name].append(link)
    return parts["train"], parts["test"][:: max(1, len(parts["test"]) // test)]


def waveform(path: Path, rate: int) -> Tensor:
    """A file as (1, t)."""
    with reader_of(path, AudioFormat(rate, 1)) as reader:
        return reader.all()


def scores(originals: Sequence[Tensor], results: Sequence[Tensor], rate: int) -> list[float]:
    """The mean of each measure."""
    values = [
        [log_mel_l1(x[None], y[None], rate).item(), mr_stft(x[None], y[None]).item(), si_sdr(x[None], y[None]).item()]
        for x, y in zip(originals, results, strict=True)
    ]
    return torch.tensor(values).nanmean(dim=0).tolist()


def show(name: str, values: Sequence[float]) -> None:
    """Print measures."""
    print(
        f"{name}: " + ", ".join(f"{title} {value:.3f}" for title, value in zip(NAMES, values, strict=True)), flush=True
    )


def resampled(originals: Sequence[Tensor], rate: int, lower: int) -> list[Tensor]:
    """Waveforms at a lower rate and back."""
    down, up = Resampler(rate, lower), Resampler(lower, rate)
    return [in_length(up(down(x)), x.shape[1]) for x in originals]


def by_components(
    fitted: Sequence[Tensor], originals: Sequence[Tensor], mel: MelFormat, components: int
) -> list[Tensor]:
    """Waveforms of log-mel spectrograms by their principal components, whose phases are found by Griffin-Lim."""

    def spectrogram(x: Tensor) -> Tensor:
        return slaney_mel(in_length(x, max(x.shape[1], mel.window))[None], mel)[0, 0]

    frames = torch.cat([spectrogram(x) for x in fitted], dim=1)
    mean = frames.mean(dim=1, keepdim=True)
    centered = (frames - mean).double()
    basis = torch.linalg.eigh(centered @ centered.T).eigenvectors[:, -components:].float()
    results = []
    for x in originals:
        kept = mean + basis @ (basis.T @ (spectrogram(x) - mean))
        results.append(in_length(griffin_lim(kept[None, None], mel, ITERATIONS)[0], x.shape[1]))
    return results


def digit_of(path: Path) -> int:
    """The label in the name of a file."""
    return int(path.stem.split("_")[0])


def features(waveforms: Sequence[Tensor], rate: int) -> Tensor:
    """Log-mel spectrograms of the middle of waveforms, (n, 1, bands, frames)."""
    x = torch.zeros(len(waveforms), 1, LENGTH)
    for out, each in zip(x, waveforms, strict=True):
        put_middle(out, each.shape[1], lambda start, stop, each=each: each[:, start:stop])
    return log_mel(x, rate, bands=40)


def classifier(waveforms: Sequence[Tensor], labels: Tensor, rate: int) -> Callable[[Sequence[Tensor]], Tensor]:
    """A small convolutional classifier of digits; waveforms -> digits."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32)),
        *(nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d((5, 4))),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 20, 10)),
    )
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        order = torch.randperm(len(waveforms), generator=generator).tolist()
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            shifts = torch.randint(SHIFT, (BATCH,), generator=generator).tolist()
            x = features([F.pad(waveforms[i], (shift, 0)) for i, shift in zip(chosen, shifts, strict=True)], rate)
            loss = F.cross_entropy(net((x + 6) / 3), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()

    @torch.no_grad()
    def classify(given: Sequence[Tensor]) -> Tensor:
        return net((features(given, rate) + 6) / 3).argmax(dim=1)

    return classify


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--test", type=int, default=300, help="held-out files that are measured")
    asked = parser.parse_args()
    out: Path = asked.out
    train, test = split(asked.recordings, out, asked.test)
    started = time.monotonic()
    vaekit(
        "train", "audio-small", "--data", out / "train", "--out", out / "run", *(f"--set={each}" for each in asked.set)
    )
    print(f"training: {(time.monotonic() - started) / 60:.1f} min with this call", flush=True)
    vae = load(out / "run" / "vae.safetensors")
    schema: dict[str, Any] = dict(vae.origin.schema) if vae.origin else {}
    rate, geometry = int(schema["sample_rate"]), vae.geometry
    values = rate * geometry.latent_channels // geometry.factors[0]
    print(f"{len(train)} files to train on, {len(test)} held out; {values} values per second")
    vaekit("reconstruct", *test, "--vae", out / "run", "--out", out / "reconstructed")
    originals = [waveform(path, rate) for path in test]
    results = [waveform(out / "reconstructed" / path.name, rate) for path in test]
    assert [x.shape for x in originals] == [y.shape for y in results], "lengths differ"
    ours = scores(originals, results, rate)
    show("VAE", ours)
    lower = scores(originals, resampled(originals, rate, values), rate)
    show(f"resampled to {values} Hz", lower)
    known = [waveform(path, rate) for path in train]
    found = []
    for window in WINDOWS:
        mel = MelFormat(rate, window, geometry.factors[0], BINS, 0.0, rate / 2)
        found.append(
            scores(
                originals,
                by_components(known[:: max(1, len(known) // FITTED)], originals, mel, geometry.latent_channels),
                rate,
            )
        )
        show(f"principal components of log-mel, window {window}", found[-1])
    for place, name in enumerate(NAMES[:2]):
        best = min(each[place] for each in (lower, *found))
        state = "reached" if ours[place] <= BELOW * best else "missed"
        print(f"{name}: {100 * (1 - ours[place] / best):.0f} % below the better comparison; the bar of 30 % is {state}")
    classify = classifier(known, torch.tensor([digit_of(path) for path in train]), rate)
    digits = torch.tensor([digit_of(path) for path in test])
    before, after = ((classify(each) == digits).float().mean().item() for each in (originals, results))
    state = "reached" if after >= KEPT * before else "missed"
    print(f"digits: {before:.3f} of originals, {after:.3f} of reconstructions; the bar of 95 % is {state}")
    ends = [out / "test" / name for name in ("0_jackson_0.wav", "7_jackson_0.wav")]
    ends = ends if all(end.exists() for end in ends) else test[:2]
    vaekit("interpolate", *ends, "--vae", out / "run", "--steps", 5, "--out", out / "interpolation")
    record = {
        "values_per_second": values,
        "vae": ours,
        "resampled": lower,
        "components": found,
        "digits": [before, after],
    }
    (out / "results.json").write_text(json.dumps(record, indent=2), "utf-8")


if __name__ == "__main__":
    main()

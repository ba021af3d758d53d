"""Drive every verb of the command line on one VAE file."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from soft_images import write_soft

from vaekit.cli import main

DONE, DIFFERENT, ERROR = 0, 1, 2
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Bench:
    """A VAE file, and what the verbs need beside it."""

    vae: Path
    images: Path
    """A folder."""
    lpips: Path
    work: Path
    """An empty folder."""

    @property
    def image(self) -> Path:
        return min(self.images.iterdir())

    @property
    def latents(self) -> Path:
        return self.work / "encoded"


Arguments = tuple[object, ...]
QUICK: dict[str, Callable[[Bench], Arguments]] = {
    "inspect": lambda at: ("inspect", at.vae),
    "inspect --json": lambda at: ("inspect", at.vae, "--json", "--no-measure"),
    "list": lambda at: ("list", "--models", at.vae.parent),
    "reconstruct": lambda at: ("reconstruct", at.image, "--vae", at.vae, "--out", at.work / "fp32"),
    "reconstruct fp16": lambda at: (
        *("reconstruct", at.image, "--vae", at.vae, "--dtype", "fp16", "--out", at.work / "fp16"),
    ),
    "reconstruct bf16": lambda at: (
        *("reconstruct", at.image, "--vae", at.vae, "--dtype", "bf16", "--out", at.work / "bf16"),
    ),
    "encode": lambda at: ("encode", at.image, "--vae", at.vae, "--out", at.latents),
    "decode": lambda at: ("decode", at.latents, "--vae", at.vae, "--out", at.work / "decoded", "--dtype", "bf16"),
    "cache": lambda at: ("cache", at.images, at.work / "cached", "--vae", at.vae, "--size", "32", "--buckets", "0"),
    "index": lambda at: ("index", at.images, "--vae", at.vae, "--out", at.work / "filed"),
    "search": lambda at: ("search", at.image, "--index", at.work / "filed", "--out", at.work / "found"),
    "convert": lambda at: ("convert", at.vae, at.work / "same.safetensors"),
    "convert fp16": lambda at: ("convert", at.vae, at.work / "half.pt", "--layout", "native", "--dtype", "fp16"),
    "convert diffusers": lambda at: ("convert", at.vae, at.work / "diffusers", "--layout", "diffusers"),
    "convert ldm": lambda at: ("convert", at.vae, at.work / "ldm.bin", "--layout", "ldm"),
    "convert tiny": lambda at: ("convert", at.vae, at.work / "tiny", "--layout", "tiny"),
    "convert original": lambda at: ("convert", at.vae, at.work / "original.safetensors", "--layout", "original"),
    "extract": lambda at: ("extract", at.vae, at.work / "extracted.safetensors"),
    "bake": lambda at: (
        *("bake", at.vae, at.work / "same.safetensors", at.work / "baked.safetensors"),
        "--assume-same-normalization",
    ),
    "diff": lambda at: ("diff", at.vae, at.work / "same.safetensors", "--images", at.image),
}
"""The verbs that take a moment, in an order in which each finds what it needs."""
LONG: dict[str, Callable[[Bench], Arguments]] = {
    "doctor": lambda at: ("doctor", "--vae", at.vae),
    "compare": lambda at: (
        *("compare", at.image, "--vae", at.vae, "--vae", at.work / "same.safetensors", "--show", "1"),
        *("--lpips", at.lpips, "--out", at.work / "page.html"),
    ),
    "evaluate": lambda at: ("evaluate", "--vae", at.vae, "--data", at.images, "--limit", "2", "--size", "32"),
    "finetune": lambda at: (
        *("finetune", "--vae", at.vae, "--data", at.images, "--out", at.work / "run", "--lpips", at.lpips),
        *("--samples", "2", "--set", "schedule.batch_size=2", "--set", "schedule.warmup_samples=2"),
        *("--set", "images.size=32", "--padding", "zeros"),
    ),
}
"""The others; `compare` is meant to be called without the built-in test cards, which take a minute."""
VERBS = QUICK | LONG


def status(*arguments: object) -> int:
    """The exit status of the command line in this process; any exception but ours passes through."""
    before, sys.argv = sys.argv, ["vaekit", *map(str, arguments)]
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    finally:
        sys.argv = before
    return DONE


def outcomes(bench: Bench, verbs: dict[str, Callable[[Bench], Arguments]] = VERBS) -> Iterator[tuple[str, int]]:
    """The exit status of each verb."""
    for name, arguments in verbs.items():
        try:
            yield name, status(*arguments(bench))
        except Exception as error:
            pytest.fail(f"`vaekit {name}` ended in {type(error).__name__}: {error}")


def fill(folder: Path, channels: int, count: int = 20, side: int = 32) -> Path:
    """A folder of soft images with these channels; RGB for numbers that no image file has."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:02}.png"
        write_soft(path, (side, side), random)
        with Image.open(path) as image:
            image.convert(MODES.get(channels, "RGB")).save(path)
    return folder


def no_test_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the built-in test cards out of comparisons."""
    monkeypatch.setattr("vaekit.comparison.compare.card_measures", lambda _: {})

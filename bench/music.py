"""VAEs of music: reconstructions, interpolations and bounds on the likelihood, with the bars of docs/music.md.

    python bench/music.py NOTTINGHAM CHORALES --out FOLDER [--recipes music music-sample music-16 music-jsb] [--essen]
        [--pairs 100] [--limit 2000] [--nll 50] [--watched 40] [--set [NAME:]KEY=VALUE ...]

NOTTINGHAM is a folder of tunes in ABC notation, and CHORALES is jsb-chorales-quarter.json. --essen adds the Essen folk
songs of the library music21, where it is installed. One tune in ten is held out, and so is every other tune with the
same notes. Trains the recipes into FOLDER/NAME (or resumes; what is finished is not trained again).

Of recipes for melodies, on the first --limit held-out excerpts of either collection: the share of steps that come back
if the true steps before are known ("teacher-forced"), if all are drawn from p(x|z), once, for a latent that is drawn
from q(z|x) ("sampled"), and by greedy search from the mean of q(z|x); KL and a bound on the NLL. For --pairs pairs of
Nottingham's: whether consecutive points of seven on a straight line differ, and whether the distance of the pitch
histogram to that of the first end (total variation) never falls, at even distances and by `--ordered`.

Of the recipe for chorales: the NLL in nats per time step, an upper bound by importance weighting (IWAE) with --nll
samples for each piece. A piece of T steps is T sets of pitches of 88 keys, written as 4 T tokens and an end; the
probability of the tokens is at most that of the sets. The split is as published: the VAE is trained on `train` alone,
`valid` is not used, and all of `test` is measured, which is held out: the training prints its likelihood, and room for
its longest piece and its pitches is all else that it takes from it.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from text import decoded, measured, not_falling, trained
from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import before_padding
from vaekit.domains.music.excerpts import HOLD, REST, Excerpt
from vaekit.domains.music.schema import MusicSchema, pitch_name
from vaekit.domains.music.similarity import common_pitches
from vaekit.latents.paths import linear
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.ordered_path import DENSITY, ordered_points

RECIPES = ("music", "music-sample", "music-16", "music-jsb")
CHORALES = "music-jsb"
HELD_OUT = 10
"""One tune in this number is held out."""
POINTS = 7
SHOWN = 2
"""Interpolations that are printed: the first."""
BATCH = 250


def tunes(files: Sequence[Path]) -> list[str]:
    """The tunes of files in ABC notation."""
    texts = (file.read_text("utf-8", "replace") for file in sorted(files))
    return [part.strip() for text in texts for part in re.split(r"(?m)^(?=X:)", text) if part.startswith("X:")]


def notes_of(tune: str) -> str:
    """The body of a tune, without its key, title and white space."""
    lines = (line.split("%")[0] for line in tune.splitlines())
    return "".join("".join(line.split()) for line in lines if not re.match(r"[A-Za-z]:", line))


def divided(found: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tunes to train on, and held-out ones."""
    order = random.Random(0).sample(found, len(found))
    apart = order[: len(order) // HELD_OUT]
    known = {notes_of(tune) for tune in apart}
    return [tune for tune in order if notes_of(tune) not in known], apart


def write_tunes(path: Path, found: Sequence[str]) -> Path:
    """A file of tunes, with blank lines between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{tune}\n\n\n" for tune in found), "utf-8")
    return path


def essen() -> list[Path]:
    """The Essen folk songs that are part of music21."""
    import music21

    return list((Path(music21.__file__).parent / "corpus" / "essenFolksong").glob("*.abc"))


def melodies(asked: argparse.Namespace) -> tuple[Path, dict[str, Path]]:
    """The folder to train on, and held-out files by the name of their collection."""
    folder: Path = asked.out / "melodies"
    collections = {"Nottingham": list(asked.nottingham.rglob("*.abc")), "Essen": essen() if asked.essen else []}
    tests = {}
    for name, files in collections.items():
        if files:
            train, test = divided(tunes(files))
            write_tunes(folder / "train" / f"{name}.abc", train)
            tests[name] = write_tunes(folder / "test" / f"{name}.abc", test)
            print(f"{name}: {len(train):,} tunes to train on, {len(test):,} held out", flush=True)
    return folder / "train", tests


def opened(run: Path) -> tuple[OpenModel, MusicSchema]:
    """The VAE of a run, and its schema."""
    model = open_model(ModelOptions(str(run)), EngineOptions())
    assert isinstance(model.schema, MusicSchema)
    return model, model.schema


@torch.no_grad()
def reconstruction(model: OpenModel, schema: MusicSchema, x: torch.Tensor) -> dict[str, float]:
    """Shares of steps that come back, and KL and ELBO in nats for each excerpt."""
    vae, generator = model.engine.vae, torch.Generator().manual_seed(0)
    sums, steps = dict.fromkeys(("teacher-forced", "sampled", "greedy", "exact", "KL", "-ELBO"), 0.0), 0
    for part in x.split(BATCH):
        inside = before_padding(part)
        counted = inside & (part != 0)
        counted[:, : schema.lead] = False
        posterior = vae.encode(part)
        z = posterior.sample(generator)
        p, best = vae.likelihood(z), vae.likelihood(posterior.mean).mode
        assert isinstance(p, AutoregressiveCategorical) and vae.prior is not None
        next_tokens = p.model.logits(p.model.hidden(p.context, part[:, :-1])).argmax(dim=-1)
        kl = posterior.kl(vae.prior, generator)
        sums["teacher-forced"] += int((next_tokens == part)[counted].sum())
        sums["sampled"] += int((p.sample(generator) == part)[counted].sum())
        sums["greedy"] += int((best == part)[counted].sum())
        sums["exact"] += int(((best == part) | ~inside).all(dim=1).sum())
        sums["KL"] += float(kl.sum())
        sums["-ELBO"] += float((kl - p.log_prob(part)).sum())
        steps += int(counted.sum())
    per_item = ("exact", "KL", "-ELBO")
    return {name: value / (len(x) if name in per_item else steps) for name, value in sums.items()}


def melody(excerpt: Excerpt) -> str:
    """An excerpt as a line of text."""
    marks = {HOLD: "-", REST: "."}
    return " ".join(marks.get(value) or pitch_name(value) for (value,) in excerpt.steps)


def interpolations(model: OpenModel, x: torch.Tensor, pairs: int) -> None:
    """Print what lies between pairs of excerpts: at even distances, and by `--ordered`."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: 2 * pairs]
    z = model.engine.encode(x[order]).mean
    paths: dict[str, list[list[Excerpt]]] = {"even": [], "ordered": []}
    for one, other in zip(z[::2], z[1::2], strict=False):
        dense = decoded(model, linear(one, other, torch.linspace(0, 1, DENSITY * (POINTS - 1) + 1)))
        alike = common_pitches([dense[0]] * len(dense), dense)
        paths["even"].append(dense[::DENSITY])
        paths["ordered"].append([dense[index] for index in ordered_points(alike, dense, POINTS)])
    for name, found in paths.items():
        differ = [all(a.steps != b.steps for a, b in pairwise(path)) for path in found]
        distances = [[1 - alike for alike in common_pitches([path[0]] * len(path), path)] for path in found]
        rises = not_falling([[round(each, 9) for each in row] for row in distances])
        print(
            f"interpolation, {name}: {np.mean(differ):.0%} of {len(found)} pairs without equal neighbors among "
            f"{POINTS}; the distance of pitch histograms to the first end never falls in "
            f"{rises.all(axis=1).mean():.0%}, and in {rises.mean():.1%} of the steps",
            flush=True,
        )
        for path in found[:SHOWN]:
            print("\n".join(f"    {melody(each)}" for each in path), end="\n\n", flush=True)


def measure_melodies(name: str, run: Path, tests: dict[str, Path], asked: argparse.Namespace) -> None:
    """Print the measures of a recipe for melodies."""
    model, schema = opened(run)
    for collection, path in tests.items():
        x = model.domain.read(path, schema).x
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: asked.limit]]
        found = reconstruction(model, schema, x)
        values = ", ".join(f"{each} {value:.4g}" for each, value in found.items())
        print(f"{name} on {len(x):,} excerpts of {collection}: {values}", flush=True)
        if collection == "Nottingham" and name == "music":
            interpolations(model, x, asked.pairs)


def chorales(source: Path, out: Path) -> tuple[Path, int, int]:
    """A file of the splits to train on and to test, and the numbers of pieces and steps of the latter."""
    splits: dict[str, Any] = json.loads(source.read_text("utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    path = out / "chorales-quarter.json"  # the name states the length of steps
    path.write_text(json.dumps({name: splits[name] for name in ("train", "test")}), "utf-8")
    return path, len(splits["test"]), sum(map(len, splits["test"]))


def measure_chorales(asked: argparse.Namespace, settings: Sequence[str]) -> None:
    """Print the bound for chorales."""
    data, pieces, steps = chorales(asked.chorales, asked.out / "chorales")
    run = trained(CHORALES, data, asked.out / CHORALES, settings)
    results = measured(run, data, asked.nll, asked.out / f"{CHORALES}-evaluation")
    if results["nll"]["count"] != pieces:
        raise SystemExit(f"{results['nll']['count']} of {pieces} pieces were measured")
    bound, elbo, kl = (results[name]["value"] * pieces / steps for name in ("nll", "elbo", "kl"))
    print(
        f"{CHORALES}: NLL <= {bound:.3f} nats per time step (IWAE, {asked.nll} samples; {pieces} pieces of the test "
        f"split, {steps:,} steps); -ELBO {abs(elbo):.3f}, KL {kl:.3f} per step, {results['kl']['value']:.1f} per piece",
        flush=True,
    )


def settings_of(recipe: str, asked: argparse.Namespace) -> list[str]:
    """The settings of --set for a recipe: those for all, and those that begin with its name and a colon."""
    pairs = [each.split(":", 1) if each.split(":", 1)[0] in RECIPES else (recipe, each) for each in asked.set]
    return [setting for name, setting in pairs if name == recipe]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nottingham", type=Path)
    parser.add_argument("chorales", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES)
    parser.add_argument("--essen", action="store_true")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--watched", type=int, default=40, help="more tunes that are held out, to watch a training")
    parser.add_argument("--nll", type=int, default=50)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    torch.manual_seed(0)
    data: tuple[Path, dict[str, Path]] | None = None
    for name in asked.recipes:
        settings = settings_of(name, asked)
        if name == CHORALES:
            measure_chorales(asked, settings)
        else:
            data = data or melodies(asked)
            run = trained(name, data[0], asked.out / name, [f"data.held_out={asked.watched}", *settings])
            measure_melodies(name, run, data[1], asked)


if __name__ == "__main__":
    main()

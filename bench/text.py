"""A VAE of sentences beside a language model of the same size, trained as long by the same command; and uses of its
latents, with the bars of docs/text.md.

    python bench/text.py TRAIN TEST --out FOLDER [--nll 100] [--limit 1000] [--set KEY=VALUE ...] [--pairs 100]
        [--sentiment NEGATIVE POSITIVE]

TRAIN and TEST are files with a sentence per line, gzipped or not. Trains the recipe `text` twice into FOLDER/vae and
FOLDER/lm (or resumes; what is finished is not trained again): the language model has no encoder, a latent without noise
and the likelihood as its only term. Prints the measures of `evaluate --nll` on the first --limit sentences of TEST, and
for --pairs of them (2n and 2n + 1) the number of different sentences among seven on a straight line, and whether the
edit distance to the first end, in words, never falls.

--sentiment names two more files: a direction is learned from their first halves, a classifier (logistic regression on
words and pairs of words) is trained on their second halves but for 2,000 sentences that test it and are edited, with
strengths chosen on others: the share whose label flips, and of words kept.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit.datasets.text_blocks import TextBlocks
from vaekit.domains.text.similarity import edit_distance
from vaekit.latents.paths import linear
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

LANGUAGE_MODEL = (
    "vae.net.encoder=none",
    'vae.posterior={kind="point"}',
    "objective.terms={nll={weight=1}}",
)
POINTS = 7
EDITED = 500
"""Sentences of each sentiment that are edited."""
STRENGTHS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def lines(path: Path) -> list[str]:
    """The sentences of a file."""
    with TextBlocks(path, print, "a text file") as file:
        found = [line.strip() for block in file.read() for line in block.splitlines()]
    return [line for line in found if line]


def written(path: Path, sentences: Sequence[str]) -> Path:
    """A file of sentences."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{each}\n" for each in sentences), "utf-8")
    return path


def vaekit(*arguments: object) -> None:
    """Run a verb."""
    subprocess.run([sys.executable, "-m", "vaekit", *map(str, arguments)], check=True, env=os.environ)


def trained(data: Path, out: Path, settings: Sequence[str]) -> Path:
    """The folder of a finished run."""
    started = time.monotonic()
    options = [part for each in settings for part in ("--set", each)]
    vaekit("train", "text", "--data", data, "--out", out, *options)
    print(f"{out.name}: trained for {(time.monotonic() - started) / 60:.1f} min by this call", flush=True)
    return out


def measured(run: Path, test: Path, samples: int, out: Path) -> dict[str, Any]:
    """The results of `evaluate` by name."""
    vaekit("evaluate", "--vae", run, "--data", test, "--nll", samples, "--out", out)
    found = json.loads((out / "evaluation.json").read_text("utf-8"))
    return {each["name"]: each for each in found["results"]}


def latents(model: OpenModel, folder: Path, sentences: Sequence[str]) -> tuple[torch.Tensor, list[str]]:
    """The means of sentences that the VAE takes (n, z), and these."""
    loaded = model.domain.read(written(folder / "encoded.txt", sentences), model.schema)
    return model.engine.encode(loaded.x).mean, list(loaded.originals)


def decoded(model: OpenModel, z: torch.Tensor) -> list[str]:
    """The sentences of latents, by greedy search."""
    return list(model.schema.to_items(model.engine.decode(z)))


def interpolations(model: OpenModel, folder: Path, sentences: Sequence[str], pairs: int) -> None:
    """Print what lies between pairs of sentences."""
    z, kept = latents(model, folder, sentences)
    distinct, monotonic, steps, shown = [], [], [], []
    for number in range(min(pairs, len(kept) // 2)):
        line = decoded(model, linear(z[2 * number], z[2 * number + 1], torch.linspace(0, 1, POINTS)))
        distinct.append(len(set(line)))
        away = [edit_distance(line[0].split(), each.split()) for each in line]
        rises = [b >= a for a, b in pairwise(away)]
        monotonic.append(all(rises))
        steps += rises
        if number < 3:
            shown.append(line)
    print(
        f"interpolation: {np.mean(np.array(distinct) >= 4):.0%} of {len(distinct)} pairs have 4 or more of {POINTS} "
        f"sentences (mean {np.mean(distinct):.1f}); the edit distance to the first end never falls in "
        f"{np.mean(monotonic):.0%}, and in {np.mean(steps):.1%} of the steps"
    )
    for line in shown:
        print("\n".join(f"    {each}" for each in line), end="\n\n", flush=True)


def sentiment(model: OpenModel, folder: Path, negative: Path, positive: Path) -> None:
    """Print how often an edit flips the label of an independent classifier."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    halves = [np.random.default_rng(0).permutation(lines(path)).tolist() for path in (negative, positive)]
    count = min(map(len, halves))
    learned = [half[: count // 2] for half in halves]
    judged = [half[count // 2 : count] for half in halves]
    judge = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2, token_pattern=r"\S+"), LogisticRegression(C=10))
    trained_on = [half[: -4 * EDITED] for half in judged]
    judge.fit([each for half in trained_on for each in half], [label for label in (0, 1) for _ in trained_on[label]])
    tested = [half[-2 * EDITED :] for half in judged]
    right = np.mean([judge.predict(half) == label for label, half in enumerate(tested)])
    means = [latents(model, folder, half)[0].mean(dim=0) for half in learned]
    direction = means[1] - means[0]
    print(f"classifier: {right:.1%} of {4 * EDITED:,} held-out sentences")
    for name, part in (("chosen on", slice(-4 * EDITED, -3 * EDITED)), ("tested on", slice(-EDITED, None))):
        for strength in STRENGTHS:
            flips, words, shown = [], [], []
            for label, half in enumerate(judged):
                z, kept = latents(model, folder, half[part])
                edited = decoded(model, z + (strength if label == 0 else -strength) * direction)
                before, after = judge.predict(kept), judge.predict(edited)
                counted = before == label
                flips += (after[counted] != label).tolist()
                words += [
                    1 - edit_distance(one.split(), other.split()) / max(len(one.split()), len(other.split()), 1)
                    for one, other, each in zip(kept, edited, counted, strict=True)
                    if each
                ]
                shown += list(zip(kept, edited, strict=True))[:3]
            flipped, same = np.mean(flips), np.mean(words)
            print(f"{name} {len(flips)}, strength {strength:g}: {flipped:.1%} flip, {same:.1%} of words kept")
            if name == "tested on":
                print("\n".join(f"    {one}  ->  {other}" for one, other in shown), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nll", type=int, default=100)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--sentiment", type=Path, nargs=2)
    asked = parser.parse_args()
    out: Path = asked.out
    sentences = lines(asked.test)
    test = written(out / "test.txt", sentences[: asked.limit])
    results = {}
    for name, settings in (("vae", ()), ("lm", LANGUAGE_MODEL)):
        run = trained(asked.train, out / name, [*asked.set, *settings])
        results[name] = measured(run, test, asked.nll, out / f"{name}-evaluation")
    for name in dict.fromkeys([*results["vae"], *results["lm"]]):
        values = [results[each].get(name, {}).get("value") for each in ("vae", "lm")]
        print(f"{name:28} vae {values[0]}  lm {values[1]}")
    nll = [results[each]["nll"]["value"] for each in ("vae", "lm")]
    print(f"NLL of the VAE against the language model: {100 * (nll[0] / nll[1] - 1):+.2f} %", flush=True)
    model = open_model(ModelOptions(str(out / "vae")), EngineOptions())
    interpolations(model, out, sentences, asked.pairs)
    if asked.sentiment:
        sentiment(model, out, *asked.sentiment)


if __name__ == "__main__":
    main()

"""A VAE of sentences beside a language model of the same size, trained as long by the same command; and uses of its
latents, with the bars of docs/text.md.

    python bench/text.py TRAIN TEST --out FOLDER [--nll 100] [--limit 1000] [--set KEY=VALUE ...] [--pairs 100]
        [--sentiment NEGATIVE POSITIVE] [--set-edit KEY=VALUE ...]

TRAIN and TEST are files with a sentence per line, gzipped or not. Trains the recipe `text` twice into FOLDER/vae and
FOLDER/lm (or resumes; what is finished is not trained again): the language model has no encoder, a latent without noise
and the likelihood as its only term. Prints the measures of `evaluate --nll` on the first --limit sentences of TEST, and
for --pairs of them (2n and 2n + 1) the number of different sentences among seven on a straight line, and whether the
edit distance to the first end, in words, never falls.

--sentiment names two more files, and a VAE for edits is trained into FOLDER/edit (recipe `text-edit`): a direction is
learned from their first halves, a classifier (logistic regression on words and pairs of words) is trained on their
second halves but for 2,000 sentences of each file. Half of these test the classifier and choose the strength of edits,
and of the others 500 of each file are edited: the share whose label flips, and of words kept.

No VAE is trained on sentences of TEST, or on those 2,000 of a file.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaekit.datasets.text_blocks import TextBlocks
from vaekit.domains.text.similarity import WORDS_KEPT, edit_distance
from vaekit.latents.paths import linear
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.ordered_path import DENSITY, ordered_points

LANGUAGE_MODEL = (
    "vae.net.encoder=none",
    'vae.posterior={kind="point"}',
    "objective.terms={nll={weight=1}}",
)
POINTS = 7
SHOWN = 3
"""Interpolations that are printed: the first."""
EDITED = 500
"""Sentences of each sentiment that are edited."""
STRENGTHS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
FLIPPED, KEPT = 0.6, 0.5
"""The bars, between which the strength of edits is balanced."""


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


def trained(recipe: str, data: Path, out: Path, settings: Sequence[str]) -> Path:
    """The folder of a finished run."""
    started = time.monotonic()
    options = [part for each in settings for part in ("--set", each)]
    vaekit("train", recipe, "--data", data, "--out", out, *options)
    print(f"{out.name}: trained for {(time.monotonic() - started) / 60:.1f} min by this call", flush=True)
    return out


def measured(run: Path, test: Path, samples: int, out: Path) -> dict[str, Any]:
    """The results of `evaluate` by name."""
    vaekit("evaluate", "--vae", run, "--data", test, "--nll", samples, "--out", out)
    return dict(json.loads((out / "evaluation.json").read_text("utf-8"))["results"])


def latents(model: OpenModel, folder: Path, sentences: Sequence[str]) -> tuple[torch.Tensor, list[str]]:
    """The means of sentences that the VAE takes (n, z), and these."""
    loaded = model.domain.read(written(folder / "encoded.txt", sentences), model.schema)
    return model.engine.encode(loaded.x).mean, list(loaded.originals)


def decoded(model: OpenModel, z: torch.Tensor) -> list[str]:
    """The sentences of latents, by greedy search."""
    return list(model.schema.to_items(model.engine.decode(z)))


def not_falling(values: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
    """Of each row, whether a value is not below the one before."""
    return np.array([[b >= a for a, b in pairwise(row)] for row in values])


def interpolations(model: OpenModel, folder: Path, sentences: Sequence[str], pairs: int) -> None:
    """Print what lies between pairs of sentences: at even distances, and by `--ordered`."""
    z, kept = latents(model, folder, sentences)
    lines_between: dict[str, list[list[str]]] = {"even": [], "ordered": []}
    for number in range(min(pairs, len(kept) // 2)):
        ends = z[2 * number], z[2 * number + 1]
        dense = decoded(model, linear(*ends, torch.linspace(0, 1, DENSITY * (POINTS - 1) + 1)))
        similarity = WORDS_KEPT.between([dense[0]] * len(dense), dense)
        lines_between["even"].append(dense[::DENSITY])
        lines_between["ordered"].append([dense[index] for index in ordered_points(similarity, dense, POINTS)])
    for name, found in lines_between.items():
        distinct = np.array([len(set(line)) for line in found])
        rises = not_falling([[edit_distance(line[0].split(), each.split()) for each in line] for line in found])
        relative = not_falling(
            [[-alike for alike in WORDS_KEPT.between([line[0]] * len(line), line)] for line in found]
        )
        print(
            f"interpolation, {name}: {np.mean(distinct >= 4):.0%} of {len(found)} pairs have 4 or more of {POINTS} "
            f"sentences (mean {np.mean(distinct):.1f}); the edit distance to the first end never falls in "
            f"{rises.all(axis=1).mean():.0%}, and in {rises.mean():.1%} of the steps; divided by the length of the "
            f"longer sentence, in {relative.all(axis=1).mean():.0%} and {relative.mean():.1%}"
        )
        for line in found[:SHOWN]:
            print("\n".join(f"    {each}" for each in line), end="\n\n", flush=True)


@dataclass(frozen=True)
class Opinions:
    """Sentences of two sentiments, negative and positive, in parts without common sentences."""

    learned: list[list[str]]
    """For the direction."""
    judged: list[list[str]]
    """For the classifier."""
    tuned: list[list[str]]
    """For the accuracy of the classifier, and, the first of them, for the strength of edits."""
    edited: list[list[str]]

    @classmethod
    def of(cls, files: Sequence[Path]) -> "Opinions":
        """From a file for each sentiment. Sentences that are in both are left out."""
        both = [dict.fromkeys(lines(path)) for path in files]
        own = [[line for line in each if line not in other] for each, other in (both, reversed(both))]
        orders = [np.random.default_rng(0).permutation(each).tolist()[: min(map(len, own))] for each in own]
        half, held = len(orders[0]) // 2, 4 * EDITED
        return cls(
            [each[:half] for each in orders],
            [each[half:-held] for each in orders],
            [each[-held : -held // 2] for each in orders],
            [each[-held // 2 :][:EDITED] for each in orders],
        )

    def held_out(self) -> set[str]:
        """What no VAE is trained on."""
        return {line for part in (*self.tuned, *self.edited) for line in part}


def kept_words(before: str, after: str) -> float:
    """The share of the words of a sentence that another has, too, in the same order."""
    one, other = before.split(), after.split()
    best = [0] * (len(other) + 1)
    for word in one:
        previous = 0
        for place, its in enumerate(other, 1):
            previous, best[place] = best[place], previous + 1 if word == its else max(best[place], best[place - 1])
    return best[-1] / max(len(one), 1)


def sentiment(model: OpenModel, folder: Path, opinions: Opinions) -> None:
    """Print how often an edit flips the label of an independent classifier."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    judge = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2, token_pattern=r"\S+"), LogisticRegression(C=10))
    labels = [label for label in (0, 1) for _ in opinions.judged[label]]
    judge.fit([each for part in opinions.judged for each in part], labels)
    right = np.mean([judge.predict(part) == label for label, part in enumerate(opinions.tuned)])
    print(f"classifier: {right:.1%} of {sum(map(len, opinions.tuned)):,} held-out sentences")
    means = [latents(model, folder, part)[0].mean(dim=0) for part in opinions.learned]
    direction = means[1] - means[0]

    def edits(parts: Sequence[Sequence[str]], strength: float) -> tuple[float, float, list[tuple[str, str]]]:
        """The share of labels that flip, of words kept, and the sentences."""
        flips, words, shown = [], [], []
        for label, part in enumerate(parts):
            z, kept = latents(model, folder, part)
            edited = decoded(model, z + (strength if label == 0 else -strength) * direction)
            counted = judge.predict(kept) == label
            flips += (judge.predict(edited)[counted] != label).tolist()
            both = [pair for pair, each in zip(zip(kept, edited, strict=True), counted, strict=True) if each]
            words += [kept_words(*pair) for pair in both]
            shown += both[:5]
        return float(np.mean(flips)), float(np.mean(words)), shown

    tuned = {}
    for strength in STRENGTHS:
        flipped, same, _ = edits([part[:EDITED] for part in opinions.tuned], strength)
        tuned[strength] = min(flipped / FLIPPED, same / KEPT)
        print(f"tuning, strength {strength:g}: {flipped:.1%} flip, {same:.1%} of words kept", flush=True)
    best = max(tuned, key=lambda each: tuned[each])
    flipped, same, shown = edits(opinions.edited, best)
    print(f"edited {2 * EDITED:,}, strength {best:g}: {flipped:.1%} flip, {same:.1%} of words kept")
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
    parser.add_argument("--set-edit", action="append", default=[])
    asked = parser.parse_args()
    out: Path = asked.out
    sentences = lines(asked.test)
    test = written(out / "test.txt", sentences[: asked.limit])
    opinions = Opinions.of(asked.sentiment) if asked.sentiment else None
    excluded = {*sentences, *(opinions.held_out() if opinions else ())}
    train = written(out / "train.txt", [line for line in lines(asked.train) if line not in excluded])
    results = {}
    for name, settings in (("vae", ()), ("lm", LANGUAGE_MODEL)):
        run = trained("text", train, out / name, [*asked.set, *settings])
        results[name] = measured(run, test, asked.nll, out / f"{name}-evaluation")
    for name in dict.fromkeys([*results["vae"], *results["lm"]]):
        values = [results[each].get(name, {}).get("value") for each in ("vae", "lm")]
        print(f"{name:28} vae {values[0]}  lm {values[1]}")
    nll = [results[each]["nll"]["value"] for each in ("vae", "lm")]
    print(f"NLL of the VAE against the language model: {100 * (nll[0] / nll[1] - 1):+.2f} %", flush=True)
    interpolations(open_model(ModelOptions(str(out / "vae")), EngineOptions()), out, sentences, asked.pairs)
    if opinions:
        run = trained("text-edit", train, out / "edit", asked.set_edit)
        sentiment(open_model(ModelOptions(str(run)), EngineOptions()), out, opinions)


if __name__ == "__main__":
    main()

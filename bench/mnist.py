"""The likelihood of MNIST's test digits under trained VAEs, with the protocol in each line.

    python bench/mnist.py --mnist DIR RUN [RUN ...] [--samples 5000] [--limit N]

NLL is estimated by importance sampling with exactly SAMPLES posterior samples for each of the 10,000 test digits (Burda
et al. 2016, arXiv 1509.00519, eq. 8). "dynamic": the training digits were binarized each time they were seen, and the
test digits are binarized once, with seed 0; "static": both were binarized once. The two are not comparable. RUN is a
folder written by `vaekit train`. A unit is active if the variance of its posterior mean over the test digits exceeds
0.01 (ibid., section 5).
"""

import argparse
import json
import time
from pathlib import Path

import torch

import vaekit
from vaekit.datasets.array_files import read_idx
from vaekit.domains.images.preparation import binarized, shades
from vaekit.evaluation.evaluate import EvaluationData, Measures, evaluate
from vaekit.evaluation.measures import evidence, rate
from vaekit.evaluation.protocol import MODE, Protocol
from vaekit.evaluation.vae_pass import DirectRunner
from vaekit.training.health import ACTIVE
from vaekit.training.log import LOG
from vaekit.training.run import RECIPE

COLUMNS = "run                    protocol   samples      NLL    +-    -ELBO     KL  active  minutes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--mnist", type=Path, required=True, help="a folder with MNIST's idx files")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--limit", type=int, default=10_000, help="the first so many test digits")
    options = parser.parse_args()
    images = shades(torch.from_numpy(read_idx(next(options.mnist.glob("t10k-images*")))).unsqueeze(1))
    test = binarized(images, torch.Generator().manual_seed(0))[: options.limit]
    print(f"{len(test):,} test digits, torch {torch.__version__}\n{COLUMNS}", flush=True)
    for run in options.runs:
        print(line(run, test, options.samples), flush=True)


@torch.no_grad()
def line(run: Path, test: torch.Tensor, samples: int) -> str:
    """One row of the table."""
    vae = vaekit.load(run)
    told = json.loads((run / RECIPE).read_text())
    protocol = told["recipe"]["data"].get("binary") or "shades"
    names = [f"t10k-{i:05}" for i in range(len(test))]
    prior = vae.prior
    assert prior is not None
    measures = Measures((evidence(prior, samples, "image"), rate(prior, "image")))
    how = Protocol("", "", len(names), "all", {}, MODE, 0, {}, 100, measures.settings())
    found = evaluate(DirectRunner(vae), EvaluationData(names, lambda name: test[int(name[5:])]), measures, how)
    values = {result.quantity.name: result for result in found.results}
    active = int((vae.encode(test).mean.flatten(1).var(dim=0) > ACTIVE).sum())
    nll, elbo, kl = (values[name] for name in ("nll", "elbo", "kl"))
    units = f"{active}/{vae.geometry.latent_channels}"
    return (
        f"{run.name:<22} {protocol:<9} {samples:>8,} {nll.value:>8.2f} {nll.standard_error or 0:>5.2f} "
        f"{-elbo.value:>8.2f} {kl.value:>6.2f} {units:>7} {minutes(run):>8.0f}"
    )


def minutes(run: Path) -> float:
    """How long the training took: the seconds of the calls that the log tells of, added up."""
    total = last = 0.0
    for text in (run / LOG).read_text().splitlines():
        seconds = json.loads(text)["seconds"]
        total += seconds - last if seconds >= last else seconds
        last = seconds
    return total / 60


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s")

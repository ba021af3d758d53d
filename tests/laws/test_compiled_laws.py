"""A compiler can take every family whole, in one piece, and what it makes is the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from family_examples import IMAGES

SUPPORT = Path(__file__).parents[1] / "support"
# In a process of its own: no compiler follows the checks of annotations that tests put around the nets' functions.
SCRIPT = """
import torch
from family_examples import IMAGES
from vaekit.families import assemble, family_of
from vaekit.runtime.compiled import CompiledNetwork
from vaekit.runtime.streaming.tracing import trace
from vaekit.runtime.upsampling import with_enlarged_convs

for name, config in IMAGES.items():
    vae, geometry = assemble(family_of(name), config).eval(), config.geometry
    if geometry.size is not None:
        continue
    sides = (("encoder", geometry.channels, geometry.factors[0]), ("decoder", geometry.latent_channels, 1))
    for half, channels, scale in sides:
        network = getattr(vae, half)
        if network is None:
            continue
        torch.manual_seed(0)
        names = {id(weight): name.rpartition(".")[0] for name, weight in network.named_parameters()}
        watched = trace(network, lambda h, w: torch.randn(1, channels, scale * h, scale * w))
        rewritten = with_enlarged_convs(network, watched, names)
        given = torch.randn(2, channels, 3 * scale, 4 * scale)
        with torch.no_grad():
            running = CompiledNetwork(network, rewritten, backend="eager", uncompiled_runs=0)
            expected, made = network(given), running.run(given)
        error = (made - expected).abs().max() / expected.abs().max().clamp(min=1)
        print(name, half, float(error), rewritten is not network, running.notes[0], sep="|")
"""


@pytest.mark.nightly
def test_every_family_is_compiled_in_one_piece_and_says_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "PYTHONPATH": paths()}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines()]
    families = {name for name, config in IMAGES.items() if config.geometry.size is None}
    assert {name for name, *_ in rows} == families
    for name, half, error, _, note in rows:
        assert note.startswith("compiled for 2 at once of "), (name, half, note)
        assert float(error) <= 1e-5, (name, half)
    enlarging = {name for name, half, _, rewritten, _ in rows if rewritten == "True" and half == "decoder"}
    assert {"kl", "vq", "tiny", "dcae"} <= enlarging


def paths() -> str:
    """Where the process finds what this one found: the packages, and the examples."""
    return os.pathsep.join([*sys.path, str(SUPPORT)])

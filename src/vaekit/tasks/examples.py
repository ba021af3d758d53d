"""Examples of what a VAE does, at the end of its training: samples, and held-out items beside their reconstructions."""

from pathlib import Path

from torch import Tensor

from vaekit.domains.domain import Domain, Schema
from vaekit.domains.finite_results import check_finite, check_weights
from vaekit.run_folder import EXAMPLES
from vaekit.runtime.engine import Engine
from vaekit.tasks.prior_samples import prior_samples

COUNT = 20
"""Samples, and held-out items."""
SAMPLES, RECONSTRUCTIONS = "samples", "reconstructions"
"""The names of files, without ending."""


def write_examples(engine: Engine, domain: Domain, schema: Schema, held_out: Tensor | None, run: Path) -> list[Path]:
    """Write a few samples and reconstructions into the folder of a run, as people of the domain read them.

    Args:
        engine: the VAE.
        domain, schema: of its items.
        held_out: items (b, ...) that it was not trained on; None for none.
        run: the folder.

    Returns:
        The files: of a VAE without a prior that can be sampled, only reconstructions.

    Raises:
        BadItem: weights or results are not finite.
        CannotWrite: for example, the disk is full.
    """
    check_weights(engine)
    folder, files = run / EXAMPLES, list[Path]()
    drawn = prior_samples(engine, domain, schema, COUNT)
    if drawn is not None:
        check_finite(drawn, engine)
        files.append(folder / f"{SAMPLES}{domain.ending}")
        domain.write(schema.to_items(drawn), files[-1], schema)
    if held_out is not None:
        x = held_out[:COUNT]
        results = engine.reconstruct(x).cpu()
        check_finite(results, engine)
        files.append(folder / f"{RECONSTRUCTIONS}{domain.ending}")
        domain.write_pairs(schema.to_items(x.cpu()), schema.to_items(results), files[-1], schema)
    return files

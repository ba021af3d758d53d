"""Draw samples from the prior of a VAE, as `vaekit sample` does with the same seed."""

import torch
from torch import Tensor

from vaekit.distributions import SampledPrior
from vaekit.domains.domain import Domain, Schema
from vaekit.runtime.engine import Engine
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.sample import CHUNK
from vaekit.training.seeds import generator_for


def prior_samples(
    engine: Engine, domain: Domain, schema: Schema, count: int, seed: int = 0, progress: Progress = no_progress
) -> Tensor | None:
    """Samples (count, ...) as the VAE returns them; None if there is no prior to sample.

    Args:
        engine: the VAE.
        domain, schema: of its items.
        count: of the samples.
        seed: of latents and values.
        progress: called with the number of samples that were drawn, and of all.
    """
    prior = engine.vae.prior
    if not isinstance(prior, SampledPrior):
        return None
    size = engine.geometry.size or tuple(schema.example().shape[2:])
    shape = (CHUNK, engine.geometry.latent_channels, *engine.latent_size(*size))
    parts: list[Tensor] = []
    for start in range(0, count, CHUNK):
        z = prior.sample(torch.empty(shape), generator_for(seed, "sample", start))
        if domain.samples_vary:
            parts.append(engine.likelihood(z, size).sample(generator_for(seed, "values", start)).cpu())
        else:
            parts.append(engine.decode(z, size).cpu())
        progress(min(start + CHUNK, count), count)
    return torch.cat(parts)[:count]

"""Cache the latents of large data in the folder of a run, so that an interruption does not lose them."""

from math import prod
from pathlib import Path

from vaekit.datasets.skip_log import SkipLog
from vaekit.diffusion.conditions import CAPTIONS
from vaekit.diffusion.recipe import CLIP, ConditionSettings
from vaekit.domains.fitting import FitOptions
from vaekit.domains.item_batches import open_items
from vaekit.latent_cache.open import LatentCache, open_cache
from vaekit.tasks.cache import CacheCallbacks, CacheOptions, cache
from vaekit.tasks.latent_data import Reporting, data_settings
from vaekit.tasks.latent_space import EncodedSpace
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe

FOLDER = "cache"
"""In the folder of a run."""
LARGE = 2**28
"""Values of items, such as pixels times channels, above which encoding is too slow to be repeated: 1,400 images of
256x256 in color, or 340,000 digits of MNIST."""
IMAGE_AXES = 2


def is_large(space: EncodedSpace, data: Path) -> bool:
    """Whether a data set is cached in the folder of its run."""
    items = len(open_items(space.domain, data, SkipLog(), space.schema).train)
    return items * prod(space.schema.example().shape[1:]) > LARGE


def cached_in_run(
    recipe: Recipe,
    settings: ConditionSettings,
    space: EncodedSpace,
    data: Path,
    folder: Path,
    processes: ProcessGroup,
    log: SkipLog,
    reporting: Reporting,
) -> LatentCache:
    """Cache the latents of a data set in the folder of a run, or go on with it.

    Raises:
        NotFound, NoTrainingData, BadItem, LatentMismatch, CacheMismatch, BadCache, CannotWrite, BadPlan: see `cache`.
        BadRecipe: a setting is invalid.
        TrainingStopped: the user ended it. Finished shards are kept.
    """
    flips, _ = data_settings(recipe)
    example, plain = space.schema.example(), space.schema.as_plain()
    fit = FitOptions()
    if space.model.engine.geometry.axes == IMAGE_AXES:
        fit = FitOptions(example.shape[-1], 0, "whole" if plain.get("crop") == "whole" else None)
    is_text = settings.kind in (CAPTIONS, CLIP)
    label, caption = (None, settings.column) if is_text else (settings.column, None)
    out = folder / FOLDER
    if not out.exists():
        log.say(f"Latents are cached in {out}.")

    def encoded(done: int, total: int) -> None:
        reporting.encoding(done, total)
        reporting.check()

    options = CacheOptions(fit, flips=flips, label=label, caption=caption)
    share = (processes.rank, processes.count) if processes.count > 1 else None
    cache(space.model, data, out, options, CacheCallbacks(encoded=encoded), share=share)
    processes.wait()
    return open_cache(out)

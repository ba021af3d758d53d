"""The recipes of music fit their data."""

from dataclasses import replace

import pytest
import torch
from small_music import random_excerpt

from vaekit.datasets.dataset import Parsed
from vaekit.distributions import AutoregressiveCategorical
from vaekit.domains.music.domain import MUSIC
from vaekit.domains.music.fit import fit
from vaekit.domains.recipes import recipe

NAMES = ("music", "music-sample", "music-16", "music-jsb", "music-drums")
BARS = {"music-jsb": 8, "music-16": 16}


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_excerpts_of_its_kind(name: str) -> None:
    chosen = recipe(name)
    assert {"about", "dataset", "takes", "data"} <= chosen.table.keys()
    table = {key: value for key, value in chosen.data.items() if key != "domain"}
    MUSIC.check_table(table)
    settings = MUSIC.settings_from(table)
    excerpts = [
        random_excerpt(settings.kind, seed, settings.line_voices, meter, BARS.get(name, 2))
        for seed in range(10)
        for meter in ("4/4", "6/8")
    ]
    if settings.steps != 4:
        excerpts = [replace(each, per_quarter=settings.steps) for each in excerpts]
    schema = fit(settings, excerpts)
    vae = chosen.with_defaults(schema.vae_settings()).vae().eval()
    x = schema.to_tensor([Parsed(f"{number}", each) for number, each in enumerate(excerpts[:2])])
    p = vae.likelihood(vae.encode(x).mean)
    assert isinstance(p, AutoregressiveCategorical)
    assert p.context.shape[:2] == x.shape
    assert p.log_prob(x).isfinite().all()
    assert len(schema.to_items(p.mode)) == 2


def test_every_recipe_of_music_has_an_objective_and_a_schedule() -> None:
    for name in NAMES:
        chosen = recipe(name)
        assert {"nll", "kl"} <= chosen.objective().terms.keys()
        assert chosen.schedule().samples > 0

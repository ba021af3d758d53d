"""Random VAEs with random items, for round trips of lossless compression; see `codec_fuzz.py`."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaekit.codec.bits_back import Coding
from vaekit.codec.latents import latent_grid
from vaekit.datasets.dataset import Line, Row
from vaekit.domains.images.lossless import BLACK_AND_WHITE, GRAY, LosslessImages
from vaekit.domains.lossless import LosslessItems
from vaekit.domains.lossless_lines import LosslessLines
from vaekit.domains.tables.columns import STUDENT
from vaekit.domains.tables.lossless import LosslessRows, coded_columns
from vaekit.domains.tables.schema import fit as fit_rows
from vaekit.domains.text.fit import fit as fit_lines
from vaekit.domains.text.schema import sentence_of
from vaekit.families import PARTS, assemble
from vaekit.families.parts.files import config_from_fields
from vaekit.vae import VAE

DTYPES = (torch.float32, torch.float32, torch.bfloat16, torch.float16, torch.float64)
WORDS = ("a", "dog", "cat", "runs", "sleeps", "slowly", "late", "two", "is", "it")
Part = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A round trip."""

    label: str
    coding: Coding
    x: Tensor
    batch: int
    """Items that are coded at once."""


def case(seed: int) -> Case:
    """The round trip of a seed: another kind of VAE, size, and number of items each time."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    return draw.choice((images, images, images, rows, lines))(draw)


def images(draw: random.Random) -> Case:
    """Images of random pixels, with any likelihood, posterior and prior."""
    side, channels, latent = draw.choice((4, 8)), draw.choice((1, 1, 3)), draw.randrange(2, 6)
    likelihood = draw.choice(likelihoods(draw))
    posterior, prior = draw.choice(latents(draw, latent))
    net = {"kind": "residual", "image_channels": channels, "image_size": side, "latent_channels": latent}
    widths = [draw.choice((2, 4, 6))] * draw.choice((1, 2))
    vae = vae_of(
        {
            "net": {**net, "widths": widths, "blocks": draw.randrange(2)},
            "likelihood": likelihood,
            "posterior": posterior,
            "prior": prior,
        },
        draw,
    )
    levels = BLACK_AND_WHITE if likelihood["kind"] == "bernoulli" else GRAY
    cells = torch.randint(levels.count, (draw.randrange(1, 9), channels, side, side)).numpy()
    x = levels.values(cells.flatten()).view(cells.shape)
    label = f"images {likelihood['kind']} {posterior['kind']} {prior['kind']}"
    return made(label, vae, LosslessImages(side, channels, levels), x, draw)


def likelihoods(draw: random.Random) -> list[Part]:
    """One of each kind."""
    variance, scale = draw.choice(("fixed", "global", "channel", "each")), draw.choice((0.01, 0.1, 1.0))
    scaled: list[Part] = [
        {"kind": kind, "variance": variance, "scale": scale} for kind in ("normal", "laplace", "logistic")
    ]
    mixed = {"components": draw.randrange(1, 4), "scale": scale}
    subscale = {"kind": "subscale", "features": 2, "width": 3, "blocks": draw.randrange(2), **mixed}
    return [*scaled, {"kind": "logistic-mixture", **mixed}, subscale, {"kind": "bernoulli"}]


def latents(draw: random.Random, channels: int) -> list[tuple[Part, Part]]:
    """A posterior and a prior of each kind."""
    gaussian, customary, components = {"kind": "gaussian"}, {"kind": "customary"}, draw.randrange(1, 9)
    priors: list[Part] = [
        customary,
        {"kind": "mixture", "components": components},
        {"kind": "vamp", "components": components},
        {"kind": "flow", "layers": draw.randrange(1, 4), "hidden": 4},
    ]
    codes: list[Part] = [
        {"kind": "vq", "codes": draw.randrange(1, 300)},
        {"kind": "cosine-vq", "codes": draw.randrange(2, 30)},
        {"kind": "residual-vq", "codes": draw.randrange(2, 30), "stages": draw.randrange(1, 4)},
        {"kind": "fsq", "levels": [draw.randrange(3, 9) for _ in range(channels)]},
        {"kind": "lfq", "bits": channels},
        {"kind": "gumbel", "codes": channels},
    ]
    return [(gaussian, prior) for prior in priors for _ in range(2)] + [(code, customary) for code in codes]


def rows(draw: random.Random) -> Case:
    """Rows with columns of all kinds, and missing cells."""
    columns: dict[str, Callable[[], str]] = {
        "ill": lambda: draw.choice(("yes", "no")),
        "size": lambda: f"{draw.gauss(3, 2):.2f}",
        "income": lambda: f"{draw.lognormvariate(7, 2):.2f}",
        "color": lambda: draw.choice(("red", "green", "blue", "")),
        "links": lambda: str(int(draw.lognormvariate(3, 2))),
        "day": lambda: f"2024-0{draw.randrange(1, 9)}-{draw.randrange(10, 28)}",
        "year": lambda: "2024",
    }
    records = [Row(f"{i}", {name: cell() for name, cell in columns.items()}) for i in range(30)]
    schema = fit_rows(records, {}, STUDENT)
    likelihood = {"kind": "columns", **schema.vae_settings()["likelihood"]}
    likelihood |= {"variance": draw.choice(("channel", "each")), "floor": 0.1}
    net = {"kind": "rows", "data_shape": [schema.width], "latent_channels": draw.randrange(1, 5), "hidden": [6]}
    vae = vae_of({"net": net, "likelihood": likelihood, "posterior": {"kind": "gaussian"}}, draw)
    x = schema.to_tensor(records[: draw.randrange(1, 12)])
    return made("rows", vae, LosslessRows(schema, coded_columns(schema)), x, draw)


def lines(draw: random.Random) -> Case:
    """Sentences, with any decoder."""
    texts = [" ".join(draw.choices(WORDS, k=draw.randrange(1, 9))) for _ in range(12)]
    records = [Line(f"{i}", text) for i, text in enumerate(texts)]
    schema = fit_lines(records, draw.choice(("words", "bytes")), 300, 64)
    decoder = draw.choice(("gru", "lstm", "transformer"))
    net = {"kind": "tokens", "vocabulary": schema.table.size, "length": schema.length, "latent_channels": 2}
    net |= {"width": 8, "embedding": 4, "heads": 2, "decoder": decoder}
    vae = vae_of({"net": net, "likelihood": {"kind": "tokens"}, "posterior": {"kind": "gaussian"}}, draw)
    x = schema.to_tensor(records[: draw.randrange(1, 6)])
    lossless = LosslessLines(schema.length, schema.table.size, partial(sentence_of, column=None))
    return made(f"lines {decoder}", vae, lossless, x, draw)


def vae_of(fields: Mapping[str, Any], draw: random.Random) -> VAE:
    """With random weights of some dtype, in double precision as compression has it."""
    vae = assemble(PARTS, config_from_fields(fields)).eval()
    spread = draw.choice((0.0, 0.1, 0.3))
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(torch.randn_like(weight) * spread)
    return vae.to(draw.choice(DTYPES)).double()


def made(label: str, vae: VAE, lossless: LosslessItems, x: Tensor, draw: random.Random) -> Case:
    """A case of items (b, ...)."""
    x = lossless.canonical(x)
    return Case(label, lossless.coding(vae, latent_grid(vae, x)), x, draw.randrange(1, 4))

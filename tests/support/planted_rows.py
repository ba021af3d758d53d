"""A VAE of table rows with a linear decoder, whose optima are known exactly."""

from pathlib import Path

import torch

from vaekit.checkpoints.save import save
from vaekit.domains.tables.columns import Column
from vaekit.domains.tables.schema import TableSchema
from vaekit.families import assemble, family_with
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.part_protocols import PriorPart
from vaekit.vae import Origin

DECODER = torch.tensor([[0.6, 0.8], [0.8, -0.6], [2.0, 1.0]])
"""Two numbers, which determine the latents, and the logit of "yes". The first two rows have the length 1."""
SCHEMA = TableSchema(
    (
        Column("height", "real", "normal", center=10.0, scale=2.0),
        Column("width", "real", "normal", center=0.0, scale=0.5),
        Column("ripe", "binary", "bernoulli", values=("no", "yes")),
    )
)


def save_planted(path: Path, *prior: PriorPart) -> Path:
    """Write the VAE: its encoder inverts the decoder, and its prior in two dimensions is N(0, I) or the given one."""
    torch.manual_seed(0)
    config = PartsConfig(MLPConfig((3,), 2, ()), GaussianPart(), ColumnsPart(("normal:2", "bernoulli:1")), *prior)
    family = family_with(config)
    assert family is not None
    vae = assemble(family, config).eval()
    assert vae.encoder is not None and vae.decoder is not None
    with torch.no_grad():
        for half in (vae.encoder, vae.decoder):
            for weight in half.parameters():
                weight.zero_()
        vae.encoder.out.weight[:2, :2] = torch.linalg.inv(DECODER[:2])
        vae.decoder.out.weight.copy_(DECODER)
    vae.origin = Origin("", lambda _: "", "tables", SCHEMA.as_plain())
    save(vae, path)
    return path

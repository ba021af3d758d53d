"""A few sentences, and an untrained VAE of them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from vaekit.checkpoints.save import save
from vaekit.datasets.dataset import Line
from vaekit.domains.text.fit import fit
from vaekit.domains.text.schema import TextSchema
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.identification.metadata import domain_notes
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.part_protocols import PosteriorPart
from vaekit.nets.sequence import SequenceConfig
from vaekit.vae import VAE

GAUSSIAN = GaussianPart()
SENTENCES = ("A dog runs.", "A cat sleeps.", "Two dogs run, slowly.", "It is late, is it?")


def lines_of(texts: Sequence[str]) -> list[Line]:
    """Sentences as records."""
    return [Line(f"t.txt:{number}", text) for number, text in enumerate(texts, 1)]


def text_vae(
    unit: str = "words", texts: Sequence[str] = SENTENCES, posterior: PosteriorPart = GAUSSIAN, encoder: str = "gru"
) -> tuple[VAE, TextSchema]:
    """An untrained VAE of sentences, and their schema."""
    schema = fit(lines_of(texts), unit, 300, 64)
    torch.manual_seed(0)
    net = SequenceConfig(schema.table.size, schema.length, 2, width=8, embedding=4, encoder=encoder)
    return assemble(PARTS, PartsConfig(net, posterior, TokensPart())).eval(), schema


def save_text_vae(path: Path, unit: str = "words") -> TextSchema:
    """Write an untrained VAE of sentences; returns their schema."""
    vae, schema = text_vae(unit)
    save(vae, path, notes=domain_notes("text", schema.as_plain()))
    return schema

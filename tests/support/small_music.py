"""A few tunes, excerpts made at random, and an untrained VAE of melodies."""

from pathlib import Path

import numpy as np
import torch

from vaekit.checkpoints.save import save
from vaekit.domains.music.abc_files import read_abc
from vaekit.domains.music.excerpts import COMBINATIONS, DRUMS, HOLD, MELODY, REST, ROLL, Excerpt
from vaekit.domains.music.fit import fit
from vaekit.domains.music.pieces import Note, Part, Piece, meter_of
from vaekit.domains.music.schema import MusicSchema
from vaekit.domains.music.settings import MusicSettings
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.identification.metadata import domain_notes
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.sequence import SequenceConfig

TUNES = """X: 1
T:One
M:4/4
L:1/8
Q:1/4=90
K:D
A2|d2fd A2fd|e2ge c2A2|d4 f4|a4 d2:|

X: 2
T:Two
M:6/8
K:G
GAB c2d|efg d3|cBA G2F|G3 G3||
"""


def piece(abc: str) -> Piece:
    """The only tune of a text."""
    (found,) = read_abc(abc, "t.abc")
    assert isinstance(found, Piece), found
    return found


def random_piece(seed: int, parts: int = 3, resolution: int = 480) -> Piece:
    """A piece of voices, in ticks of the 16th grid."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(parts):
        drums, notes, tick = number == parts - 1 and parts > 1, list[Note](), 0
        while tick < 16 * resolution:
            length = int(rng.integers(1, 9)) * resolution // 4
            if rng.random() < 0.8:
                notes.append(Note(tick, tick + length, 36 if drums else int(rng.integers(40, 90))))
            tick += length
        lines.append(Part(f"part {number + 1}", tuple(notes), drums))
    meters = ((0, meter_of("4/4")), (8 * resolution, meter_of("3/4")), (11 * resolution, meter_of("6/8")))
    return Piece("random", resolution, tuple(lines), meters, ((0, 120.0), (4 * resolution, 75.0)))


def random_excerpt(kind: str, seed: int, voices: int = 3, meter: str = "4/4", bars: int = 2) -> Excerpt:
    """An excerpt of random steps that make sense."""
    rng = np.random.default_rng(seed)
    beats, unit = meter_of(meter)
    steps, before = [], [REST] * (1 if kind == MELODY else voices)
    for _ in range(bars * beats * 16 // unit):
        if kind == DRUMS:
            steps.append((int(rng.integers(COMBINATIONS)) if rng.random() < 0.5 else 0,))
            continue
        if kind == ROLL:
            pitches = sorted(set(rng.integers(40, 80, int(rng.integers(voices + 1))).tolist()), reverse=True)
            steps.append((*pitches, *[REST] * (voices - len(pitches))))
            continue
        values = [int(rng.choice([HOLD, REST, 40 + int(rng.integers(40))], p=[0.5, 0.1, 0.4])) for _ in before]
        before = [REST if value == HOLD and old == REST else value for value, old in zip(values, before, strict=True)]
        steps.append(tuple(before))
    return Excerpt(kind, meter, 100.0, tuple(steps))


def music_schema(kind: str = MELODY, bars: int = 2, voices: int = 3) -> MusicSchema:
    """The schema of random excerpts in two meters."""
    excerpts = [random_excerpt(kind, seed, voices, meter, bars) for seed in range(40) for meter in ("4/4", "6/8")]
    return fit(MusicSettings(kind, bars, voices=voices), excerpts)


def save_music_vae(path: Path, schema: MusicSchema) -> None:
    """Write an untrained VAE of excerpts."""
    torch.manual_seed(0)
    net = SequenceConfig(schema.table.size, schema.length, 2, width=8, embedding=4)
    vae = assemble(PARTS, PartsConfig(net, GaussianPart(), TokensPart())).eval()
    save(vae, path, notes=domain_notes("music", schema.as_plain()))

"""Excerpts of music come back from a compressed file."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_music import TUNES, music_schema, random_excerpt, save_music_vae

from vaekit.codec.archive import read_archive
from vaekit.datasets.dataset import Parsed
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.lossless import Restored
from vaekit.domains.music.excerpts import KINDS, MELODY
from vaekit.domains.music.lossless import LosslessExcerpts, excerpt_from
from vaekit.domains.music.sources import open_music
from vaekit.domains.music.windows import windows
from vaekit.tasks.compress import compress
from vaekit.tasks.decompress import decompress
from vaekit.tasks.model import open_model
from vaekit.tasks.options import ModelOptions


@pytest.mark.parametrize("kind", KINDS)
def test_an_excerpt_is_kept_whole_where_the_vae_does_not_write_it(kind: str) -> None:
    items = LosslessExcerpts(100, 100, 120.0)
    excerpt, other = random_excerpt(kind, 0), random_excerpt(kind, 1)
    for coded in (None, other, replace(excerpt, meter="3/4")):
        remainder = items.remainder(Parsed("a.mid:1", excerpt), coded)
        assert excerpt_from(Restored("a.mid:1", coded, remainder)) == excerpt
    assert items.remainder(Parsed("a.mid:1", excerpt), excerpt) == b""
    slower = replace(excerpt, tempo=77.5)
    remainder = items.remainder(Parsed("a.mid:1", slower), excerpt)
    assert len(remainder) < 20
    assert excerpt_from(Restored("a.mid:1", excerpt, remainder)) == slower


@pytest.mark.parametrize(
    "remainder",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"tempo": 0}',
        b'{"kind": "melody", "meter": "4/4", "tempo": 90, "steps": [[999]], "per_quarter": 4}',
        b'{"kind": "melody", "meter": "4/4", "tempo": 90, "steps": [[1], []], "per_quarter": 4}',
        b'{"kind": "melody", "meter": "4/0", "tempo": 90, "steps": [[60]], "per_quarter": 4}',
        b'{"kind": "melody", "meter": "4/4", "tempo": "x", "steps": [[60]], "per_quarter": 4}',
    ],
)
def test_damaged_remainders_are_refused(remainder: bytes) -> None:
    with pytest.raises(ValueError):
        excerpt_from(Restored("a.mid:1", None, remainder))


def test_tunes_come_back_as_midi(tmp_path: Path) -> None:
    pytest.importorskip("constriction")
    (tmp_path / "tunes.abc").write_text(TUNES)
    schema = music_schema(MELODY)
    save_music_vae(tmp_path / "vae.safetensors", schema)
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")))
    result = compress(model, tmp_path / "tunes.abc", tmp_path / "tunes.vk", SkipLog(), verify=True)
    before = excerpts_of(tmp_path / "tunes.abc", model.schema.cut)  # type: ignore[attr-defined]
    assert result.items == len(before)
    assert result.coded > 0
    assert sum(len(group.entries) for group in read_archive(tmp_path / "tunes.vk")[1]) == result.items
    written = decompress(model, tmp_path / "tunes.vk", tmp_path / "out")
    assert [path.name for path in written] == ["tunes.mid"]
    after = excerpts_of(written[0], model.schema.cut)  # type: ignore[attr-defined]
    assert [each.steps for each in after] == [each.steps for each in before]
    assert [each.meter for each in after] == [each.meter for each in before]


def excerpts_of(path: Path, cut: object) -> list:  # type: ignore[type-arg]
    pieces = open_music(path, SkipLog()).train
    return windows(pieces, range(len(pieces)), cut, SkipLog()).excerpts()  # type: ignore[arg-type]

"""Plans are written once, and divide new items into shards of one size."""

from pathlib import Path

import pytest
from made_cache import key

from vaekit.errors import BadCache
from vaekit.latent_cache.plans import create_plan, plan_path, planned, read_plans


def test_shards_have_one_size_and_the_order_of_the_data() -> None:
    sizes = [(8, 8), (8, 16), (8, 8), (8, 8), (8, 16)]
    keys = [key(str(i)) for i in range(5)]
    plan = planned(3, list(zip(keys, sizes, strict=True)), lambda size: size[1], 2)
    assert [(shard.name, shard.bucket, shard.batch, shard.keys) for shard in plan.shards] == [
        ("003-00000", (8, 8), 8, [keys[0], keys[2]]),
        ("003-00001", (8, 8), 8, [keys[3]]),
        ("003-00002", (8, 16), 16, [keys[1], keys[4]]),
    ]


def test_a_plan_is_created_once(tmp_path: Path) -> None:
    one, other = (planned(0, [(key(name), ())], lambda _: 1, 8) for name in ("a", "b"))
    assert create_plan(tmp_path, 0, one)
    assert not create_plan(tmp_path, 0, other)
    assert read_plans(tmp_path) == [one]
    assert [path.name for path in (tmp_path / "plans").iterdir()] == ["000.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "shards": [{"keys": [1]}]}'])
def test_damaged_plans_are_refused(tmp_path: Path, text: str) -> None:
    create_plan(tmp_path, 0, planned(0, [(key("a"), ())], lambda _: 1, 8))
    plan_path(tmp_path, 0).write_text(text)
    with pytest.raises(BadCache):
        read_plans(tmp_path)

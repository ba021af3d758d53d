"""Layouts as reversible tables: each placeholder by a small table of its own."""

import pytest

from vaekit.families.layout import Layout, Levels, Rules, leaves, product, same_names


def layout(*rules: tuple[str, str], **fields: object) -> Layout:
    return Layout("toy", "toy", rules, **fields)  # type: ignore[arg-type]


def renamed(table: Layout, native: list[str]) -> list[str | None]:
    """The foreign names; they are checked to lead back to the native ones."""
    names = [table.from_native(key, table.native_levels(native)) for key in native]
    levels = table.levels([name for name in names if name is not None])
    assert [table.to_native(name, levels) for name in names if name is not None] == native
    return names


def test_a_level_counted_from_the_other_end() -> None:
    table = layout(("up.{i}.block.{j}.{p}", "up_blocks.{~i}.resnets.{j}.{p}"))
    native = [f"up.{i}.block.0.weight" for i in range(3)]
    assert renamed(table, native) == [f"up_blocks.{i}.resnets.0.weight" for i in (2, 1, 0)]
    assert table.to_native("up_blocks.3.resnets.0.weight", 3) is None


def test_a_number_that_is_one_less() -> None:
    table = layout(("decoder.{i}.{p}", "layers.{-i}.{p}"))
    assert renamed(table, ["decoder.1.weight", "decoder.12.bias"]) == ["layers.0.weight", "layers.11.bias"]
    assert table.from_native("decoder.0.weight", 1) is None


def test_layers_counted_through_all_levels() -> None:
    """Two blocks and the layer at the end of each level: places 0, 1, 2, then 3, 4, 5."""
    table = layout(("levels.{i}.block.{j}.{p}", "seq.{n}.{p}"), ("levels.{i}.end.{p}", "seq.{e}.conv.{p}"))
    native = [f"levels.{i}.{layer}.weight" for i in range(2) for layer in ("block.0", "block.1", "end")]
    names = ["seq.0.weight", "seq.1.weight", "seq.2.conv.weight", "seq.3.weight", "seq.4.weight", "seq.5.conv.weight"]
    assert renamed(table, native) == names
    levels = table.levels(names)
    assert levels.lengths == {"seq.": 3}
    assert table.to_native("seq.5.weight", levels) is None, "the end of a level is no block"
    assert table.to_native("seq.4.conv.weight", levels) is None, "a block is no end of a level"


def test_layers_counted_in_each_level() -> None:
    table = layout(
        ("levels.{i}.block.{j}.{p}", "down.{i}.layers.{n}.{p}"), ("levels.{i}.end.{p}", "down.{i}.layers.{e}.conv.{p}")
    )
    native = ["levels.0.block.0.bias", "levels.0.end.bias", "levels.1.block.0.bias"]
    assert renamed(table, native) == ["down.0.layers.0.bias", "down.0.layers.1.conv.bias", "down.1.layers.0.bias"]


def test_without_an_end_the_last_level_is_the_only_one() -> None:
    table = layout(("levels.{i}.block.{j}.{p}", "seq.{n}.{p}"), ("levels.{i}.end.{p}", "seq.{e}.conv.{p}"))
    assert table.levels(["seq.0.weight", "seq.1.weight"]).lengths == {"seq.": 3}


def test_statistics_and_anything_else() -> None:
    table = layout(("norm.{s}", "bn.{s}"), ("encoder.{*}", "enc.{*}"), ("k.{k}.{p}", "scale_{k}.{p}"))
    native = ["norm.running_mean", "norm.num_batches_tracked", "encoder.a.b.c", "k.7.weight"]
    assert renamed(table, native) == ["bn.running_mean", "bn.num_batches_tracked", "enc.a.b.c", "scale_7.weight"]
    assert table.from_native("norm.weight", 1) is None


@pytest.mark.parametrize(
    "key", ["x.01.weight", "x.1000.weight", "x.1.weights", "ax.1.weight", "x.1.weight.y", "x.-1.bias"]
)
def test_each_number_is_written_in_one_way(key: str) -> None:
    table = layout(("x.{i}.{p}", "x.{i}.{p}"))
    assert table.to_native(key, 1) is None
    assert table.to_native("x.1.weight", 1) == "x.1.weight"


def test_points_in_templates_are_points() -> None:
    assert layout(("a.b.{p}", "a.b.{p}")).to_native("aXb.weight", 1) is None


def test_prefixes_are_counted_by_the_keys_behind_them() -> None:
    table = layout(("x.{i}.{p}", "x.{i}.{p}"))
    keys = ["x.0.weight", "vae.x.0.weight", "vae.x.1.bias", "unet.y.0.weight", "a.b.x.2.bias"]
    assert table.prefixes(keys) == {"": 1, "vae.": 2, "a.b.": 1}
    assert layout(("x.{i}.{p}", "x.{i}.{p}"), any_prefix=False).prefixes(keys) == {"": 1}


def test_what_a_file_must_have_and_must_not() -> None:
    table = layout(("conv{i}.{p}", "conv{i}.{p}"), has=("conv1.weight",), lacks=("conv0.weight",))
    assert table.prefixes(["conv1.weight", "conv2.weight"]) == {"": 2}
    assert table.prefixes(["conv2.weight"]) == {}
    assert table.prefixes(["conv0.weight", "conv1.weight"]) == {}


def test_parts_of_a_fused_tensor() -> None:
    rules: Rules = (("q.{p}", "qkv.{p}[0/3]"), ("k.{p}", "qkv.{p}[1/3]"), ("v.{p}", "qkv.{p}[2/3]"))
    ((pattern, count),) = layout(*rules).fused
    assert count == 3
    assert pattern.fullmatch("vae.qkv.weight") and pattern.fullmatch("qkv.bias") and not pattern.fullmatch("xqkv.bias")
    assert layout(*rules).from_native("k.bias", 1) == "qkv.bias[1/3]"


def test_half_matrices_and_fits() -> None:
    table = Layout("bare-encoder", "toy", (), implies={"imag": 0.0}, matrices=r".+\.attn\..*")
    assert table.half == "encoder"
    assert Layout("encoder", "toy", ()).half == ""
    assert table.is_matrix("a.attn.weight") and not table.is_matrix("attn.weight") and not layout().is_matrix("x")
    assert table.fits(1.0) and not table.fits(1j)


def test_rules_for_the_layers_of_a_module() -> None:
    assert leaves("a", "b", {"norm.gamma": "0.gamma"}) == (("a.norm.gamma", "b.0.gamma"),)
    assert product("a", "b", {"q": "to_q"}) == (("a.q.{p}", "b.to_q.{p}"),)
    assert same_names((("a", "b"),)) == (("a", "a"),)


def test_a_number_of_levels_is_levels_without_sequences() -> None:
    table = layout(("up.{i}.{p}", "up_blocks.{~i}.{p}"))
    assert table.from_native("up.0.weight", 4) == table.from_native("up.0.weight", Levels(4)) == "up_blocks.3.weight"


def test_a_half_that_is_one_sequence_with_last_layers() -> None:
    rules = (
        *product("decoder.conv1", "decoder.model.0", {"conv": "conv"}),
        *product("decoder.block.{i}.{k}", "decoder.model.{+i}.block.{k}", {"conv": "conv"}),
        ("decoder.snake", "decoder.model.{-2}.alpha"),
        *product("decoder", "decoder.model.{-1}", {"conv2": "conv"}),
    )
    two = Layout("x", "toy", rules)
    one = Layout("x", "toy", tuple(rule for rule in rules if "alpha" not in rule[1]))
    for layout, last in ((two, 5), (one, 4)):
        native = ["decoder.conv1.conv.weight", "decoder.block.0.1.conv.bias", "decoder.block.2.0.conv.weight"]
        native += ["decoder.conv2.weight", *(["decoder.snake"] if last == 5 else [])]
        foreign = ["decoder.model.0.conv.weight", "decoder.model.1.block.1.conv.bias"]
        foreign += ["decoder.model.3.block.0.conv.weight", f"decoder.model.{last}.conv.weight"]
        foreign += ["decoder.model.4.alpha"] if last == 5 else []
        levels = layout.native_levels(native)
        assert [layout.from_native(key, levels) for key in native] == foreign
        assert layout.levels(foreign) == levels
        assert [layout.to_native(key, levels) for key in foreign] == native
        assert layout.to_native(f"decoder.model.{last - 1}.conv.weight", levels) is None
        assert layout.levels(foreign[:3]) == levels


def test_vectors() -> None:
    layout = Layout("x", "toy", (("a.alpha", "b.alpha"),), vectors=r".+\.alpha")
    assert layout.is_vector("a.alpha") and not layout.is_vector("a.weight")
    assert not Layout("x", "toy", ()).is_vector("a.alpha")

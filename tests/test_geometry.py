"""Geometry: sizes there and back, plain values, and what is not one."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses

from vaekit.errors import BadItem
from vaekit.geometry import Geometry, size_text

IMAGES, AUDIO, VIDEO = Geometry(3, 4, (8, 8)), Geometry(2, 64, (2048,)), Geometry(3, 16, (4, 8, 8), causal=True)
VECTOR, ROW = Geometry(1, 10, (28, 28), (28, 28)), Geometry(12, 2)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    axes = draw(st.integers(0, 3))
    extents = st.tuples(*[st.integers(1, 40)] * axes)
    return Geometry(
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
        draw(extents),
        draw(st.none() | extents),
        draw(st.booleans()) if axes else False,
        draw(st.integers(1, 3)),
        padding=draw(st.sampled_from(["edge", "zeros"])),
    )


@given(geometries(), st.data())
def test_padding_reaches_the_next_latent_position_and_no_further(geometry: Geometry, data: st.DataObject) -> None:
    size = data.draw(st.tuples(*[st.integers(1, 200)] * geometry.axes))
    latent, padded = geometry.latent_size(size), geometry.padded_size(size)
    assert geometry.latent_size(padded) == latent
    for extent, whole, positions, factor in zip(size, padded, latent, geometry.factors, strict=True):
        assert positions >= geometry.least_positions
        assert whole >= extent
        assert whole - extent < factor or positions == geometry.least_positions


@st.composite
def chunked(draw: st.DrawFn) -> Geometry:
    factor, positions, least = draw(st.integers(1, 9)), draw(st.integers(3, 9)), draw(st.integers(1, 3))
    chunk = factor * positions
    overlap = draw(st.integers(0, chunk // 2))
    return Geometry(2, 3, (factor,), None, False, least, padding="zeros", chunk=chunk, overlap=overlap)


@given(chunked(), st.integers(1, 200))
def test_chunks_reach_the_end_and_no_further(geometry: Geometry, length: int) -> None:
    (positions,), (whole,) = geometry.latent_size((length,)), geometry.padded_size((length,))
    assert geometry.latent_size((whole,)) == (positions,)
    assert length <= whole < length + geometry.chunk_step
    assert positions % geometry.chunk_positions == 0
    assert geometry.compression == pytest.approx(2 * whole / (3 * positions))
    assert geometry.of_networks.latent_size((geometry.chunk,)) == (geometry.chunk_positions,)


@given(geometries() | chunked())
def test_plain_values_and_back(geometry: Geometry) -> None:
    plain = json.loads(json.dumps(geometry.as_json()))
    assert Geometry.from_json(plain) == geometry


def test_fields_that_were_added_later_are_written_if_they_have_another_value() -> None:
    assert not {"padding", "upscale", "chunk", "overlap"} & AUDIO.as_json().keys()
    assert Geometry(2, 64, (2048,), padding="zeros").as_json()["padding"] == "zeros"


def test_defaults_may_be_left_out() -> None:
    assert Geometry.from_json({"channels": 12, "latent_channels": 2}) == ROW


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 0},
        {"channels": True},
        {"channels": 3.0},
        {"latent_channels": None},
        {"latent_channels": 2**41},
        {"factors": 8},
        {"factors": [8, "8"]},
        {"factors": [8, 0]},
        {"factors": [1] * 4},
        {"factors": {}},
        {"size": [64]},
        {"size": [64, -1]},
        {"causal": 1},
        {"least_positions": 0},
        {"padding": "reflect"},
        {"chunk": 16, "overlap": 2},
        {"chunk": 2**41},
        {"overlap": 1},
        {"padding": 0},
        {"padding": None},
        {"color": "red"},
    ],
)
def test_what_is_no_geometry(change: dict[str, Any]) -> None:
    assert Geometry.from_json(IMAGES.as_json() | change) is None


@pytest.mark.parametrize("value", [None, [], "3x8x8", {}, {"channels": 3}])
def test_what_is_no_geometry_at_all(value: object) -> None:
    assert Geometry.from_json(value) is None


def test_shapes_of_items_and_latents() -> None:
    assert [each.axes for each in (IMAGES, AUDIO, VIDEO, VECTOR, ROW)] == [2, 1, 3, 2, 0]
    assert (IMAGES.item_shape, IMAGES.latent_shape) == (None, None)
    assert (VECTOR.item_shape, VECTOR.latent_shape) == ((1, 28, 28), (10, 1, 1))
    assert (ROW.item_shape, ROW.latent_shape) == ((12,), (2,))
    assert (VIDEO.latent_size((1, 8, 8)), VIDEO.latent_size((2, 8, 9))) == ((1, 1, 1), (2, 1, 2))


def test_compression_counts_values() -> None:
    for geometry in (IMAGES, AUDIO, VECTOR, ROW):
        latent = tuple(3 for _ in geometry.factors)
        values = geometry.channels * math.prod(geometry.size_of(latent))
        assert geometry.compression == values / (geometry.latent_channels * math.prod(latent))


def test_other_items_are_refused() -> None:
    for geometry in (AUDIO, VIDEO, ROW):
        with refuses(BadItem, "images", geometry.batch_text):
            geometry.require_axes(2, "images")
    IMAGES.require_axes(2, "images")


@pytest.mark.parametrize(
    "fields",
    [
        (0, 4),
        (3, 0),
        (3, 4, (0,)),
        (3, 4, (8, 8), (64,)),
        (3, 4, (1,) * 4),
        (3, 4, (), None, True),
        (3, 4, (), None, False, 0),
    ],
)
def test_senseless_geometries_are_refused(fields: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        Geometry(*fields)


def test_texts() -> None:
    assert [str(each) for each in (IMAGES, AUDIO, VIDEO, ROW)] == ["3x8x8", "2x2048", "3x4x8x8", "12"]
    assert [each.batch_text for each in (IMAGES, AUDIO, VIDEO, ROW)] == [
        "(b, 3, h, w)",
        "(b, 2, t)",
        "(b, 3, t, h, w)",
        "(b, 12)",
    ]
    assert (size_text((20, 31)), size_text((5, 20, 31)), size_text(())) == ("31x20", "5x20x31", "")


def test_only_images_are_upscaled() -> None:
    larger = Geometry(3, 16, (8, 8), upscale=2)
    assert larger.decoded_size(larger.size_of((3, 4))) == (48, 64)
    assert Geometry.from_json(json.loads(json.dumps(larger.as_json()))) == larger
    assert "upscale" not in IMAGES.as_json()
    for factors, upscale in (((2048,), 2), ((), 2), ((8, 8), 0)):
        with pytest.raises(ValueError, match=r"upscaled|1 or more"):
            Geometry(3, 16, factors, upscale=upscale)


@pytest.mark.parametrize(
    "fields",
    [
        {"chunk": 30},
        {"chunk": -16},
        {"chunk": 8, "least_positions": 2},
        {"chunk": 16, "overlap": 9},
        {"chunk": 16, "overlap": -1},
        {"chunk": 16, "padding": "edge"},
        {"chunk": 16, "size": (64,)},
        {"chunk": 16, "causal": True},
        {"chunk": 16, "factors": (8, 8)},
        {"chunk": 16, "factors": ()},
        {"overlap": 4},
    ],
)
def test_senseless_chunks_are_refused(fields: dict[str, Any]) -> None:
    values = {"channels": 1, "latent_channels": 1, "factors": (8,), "padding": "zeros"}
    Geometry(**values, chunk=16, overlap=8)
    with pytest.raises(ValueError, match="chunks"):
        Geometry(**values | fields)

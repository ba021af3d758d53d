"""The query of the remote-VAE protocol."""

from urllib.parse import urlencode

import pytest
from starlette.datastructures import QueryParams

from vaekit.geometry import Geometry
from vaekit.serve.refusals import Refusal
from vaekit.serve.remote_query import DecodeQuery, Scaling, decode_query

SD = Geometry(3, 4, (8, 8))
FLUX = Geometry(3, 16, (8, 8))


def parsed(geometry: Geometry, **parameters: object) -> DecodeQuery:
    """As `requests` sends it: a list is a repeated key."""
    given = {"dtype": "float16", **parameters}
    return decode_query(QueryParams(urlencode(given, doseq=True)), geometry)


def test_defaults_are_those_of_diffusers() -> None:
    query = parsed(SD, shape=[1, 4, 64, 96])
    assert (query.output_type, query.image_format, query.partial_postprocess) == ("pil", "jpg", False)
    assert query.scaling == Scaling(1.0, 0.0, own=False)
    assert (query.positions, query.size, query.packed) == ((64, 96), (512, 768), False)
    assert query.latents.nbytes == 2 * 4 * 64 * 96


def test_scaling() -> None:
    assert parsed(SD, shape=[1, 4, 8, 8], scaling_factor=0.18215).scaling == Scaling(0.18215)
    assert parsed(SD, shape=[1, 4, 8, 8], scaling_factor=2, shift_factor=-1).scaling == Scaling(2.0, -1.0)
    assert parsed(SD, shape=[1, 4, 8, 8], do_scaling=True).scaling == Scaling(own=True)
    assert parsed(SD, shape=[1, 4, 8, 8], do_scaling=False).scaling == Scaling()
    assert parsed(SD, shape=[1, 4, 8, 8], do_scaling=True, scaling_factor=2).scaling == Scaling(2.0)


def test_packed_latents_of_flux() -> None:
    query = parsed(FLUX, shape=[1, 64 * 32, 64], height=1024, width=512)
    assert query.packed and query.positions == (128, 64) and query.size == (1024, 512)
    # FLUX pipelines round the size down to whole tokens.
    assert parsed(FLUX, shape=[1, 64 * 32, 64], height=1031, width=519).size == (1024, 512)


def test_three_axes_of_sdnext() -> None:
    """For FLUX.1 and Chroma, it drops the batch axis and sends height and width."""
    query = parsed(FLUX, shape=[16, 128, 64], height=1024, width=512)
    assert not query.packed and query.positions == (128, 64) and query.size == (1024, 512)


def test_height_and_width_crop() -> None:
    assert parsed(SD, shape=[1, 4, 8, 9], height=60, width=65).size == (60, 65)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"shape": [1, 4, 8, 8], "dtype": "int8"},
        {"shape": [1, 4, 8, 8], "dtype": "uint8"},
        {"shape": [1, 4, 8, -8]},
        {"shape": [1, 4, 0, 8]},
        {"shape": ["1e3", 4, 8, 8]},
        {"shape": ["٣", 4, 8, 8]},
        {"shape": ["1,4,8,8"]},
        {"shape": [1, 4, 8, 2**40]},
        {"shape": [1, 1, 1, 1, 4, 8, 8]},
        {"shape": [1, 3, 8, 8]},
        {"shape": [4, 64]},
        {"shape": [1, 4, 1, 8, 8]},
        {"shape": [1, 16, 16]},
        {"shape": [1, 4, 8, 8], "scaling_factor": 0},
        {"shape": [1, 4, 8, 8], "scaling_factor": "nan"},
        {"shape": [1, 4, 8, 8], "shift_factor": "inf"},
        {"shape": [1, 4, 8, 8], "shift_factor": "9" * 500},
        {"shape": [1, 4, 8, 8], "do_scaling": "yes"},
        {"shape": [1, 4, 8, 8], "output_type": "mp4"},
        {"shape": [1, 4, 8, 8], "output_type": "np"},
        {"shape": [1, 4, 8, 8], "image_format": "../jpg"},
        {"shape": [1, 4, 8, 8], "height": 100, "width": 100},
        {"shape": [1, 4, 8, 8], "height": -1, "width": 64},
        {"shape": [1, 64, 16], "height": 8, "width": 8},
    ],
)
def test_what_is_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(Refusal) as refused:
        parsed(SD, **parameters)
    assert refused.value.status == 400

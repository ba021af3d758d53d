"""Where the server may listen, and to whom."""

import pytest

from vaekit.errors import BadPlan
from vaekit.serve.settings import ServeOptions


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_a_loopback_address_needs_no_token(host: str) -> None:
    ServeOptions(host=host).check()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.7", "gpu.lan", "localhost.example.org"])
def test_other_addresses_need_one(host: str) -> None:
    with pytest.raises(BadPlan):
        ServeOptions(host=host).check()
    ServeOptions(host=host, token="long enough").check()


@pytest.mark.parametrize("token", ["", "short", "not ascii é"])
def test_a_token_is_long_and_ascii(token: str) -> None:
    with pytest.raises(BadPlan):
        ServeOptions(token=token).check()


@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost:3000", "http://[::1]:80"])
def test_origins(origin: str) -> None:
    ServeOptions(origins=(origin,)).check()


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://*",
        "https://*.example.org",
        "example.org",
        "https://example.org/",
        "file://x",
        "http://a:b",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(BadPlan):
        ServeOptions(origins=(origin,)).check()


def test_names_of_the_server() -> None:
    names = ServeOptions(host="0.0.0.0", hosts=("GPU.lan", "[fe80::1]")).allowed_hosts
    assert names == {"localhost", "127.0.0.1", "::1", "gpu.lan", "fe80::1"}
    assert "10.0.0.1" in ServeOptions(host="10.0.0.1").allowed_hosts

"""Connections that fail end with an error of vaekit, whatever Ray raises."""

from types import ModuleType

import pytest

from vaekit.cluster import connection
from vaekit.errors import ClusterFailed


@pytest.mark.parametrize("failure", [SystemExit(1), RuntimeError("no memory"), ConnectionError()])
def test_a_ray_that_does_not_start(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    ended: list[bool] = []

    def init(**_: object) -> None:
        raise failure

    ray = ModuleType("ray")
    vars(ray).update(is_initialized=lambda: False, init=init, shutdown=lambda: ended.append(True))
    monkeypatch.delenv(connection.ADDRESS, raising=False)
    monkeypatch.setattr(connection, "require_ray", lambda: ray)
    with pytest.raises(ClusterFailed), connection.connected(None):
        pass
    assert ended == [True]

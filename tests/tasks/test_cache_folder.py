"""The folder of a cache, when several processes open it at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from made_cache import ORIGIN, description

from vaekit.errors import CannotWriteHere, LatentMismatch
from vaekit.latent_cache.description import read_description, write_description
from vaekit.tasks import cache_folder
from vaekit.tasks.cache_folder import opened_for_caching

OTHER = description(origin=replace(ORIGIN, fingerprint="b" * 64))


@pytest.mark.parametrize("with_others", [False, True])
def test_of_two_processes_that_create_a_cache_the_second_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_others: bool
) -> None:
    """Another VAE, whose process was faster by a moment."""

    @contextmanager
    def claimed(_: Path) -> Iterator[None]:
        write_description(tmp_path, OTHER)
        yield

    monkeypatch.setattr(cache_folder, "claimed", claimed)
    with pytest.raises(LatentMismatch), opened_for_caching(tmp_path, description(), with_others):
        pass
    assert read_description(tmp_path).origin == OTHER.origin


@pytest.mark.parametrize(
    ("first", "second", "together"), [(False, False, False), (False, True, False), (True, False, False), (True,) * 3]
)
def test_who_may_add_to_a_cache_at_once(tmp_path: Path, first: bool, second: bool, together: bool) -> None:
    def enter() -> None:
        try:
            with opened_for_caching(tmp_path, description(), second):
                entered.append(True)
        except CannotWriteHere:
            entered.append(False)

    entered: list[bool] = []
    with opened_for_caching(tmp_path, description(), first):
        leftover = tmp_path / ".items.jsonl.0.part"
        leftover.touch()
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(60)
        assert leftover.exists()
    assert entered == [together]
    with opened_for_caching(tmp_path, description(), False):
        assert not leftover.exists()

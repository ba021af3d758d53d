"""Latents in a temporary file."""

from contextlib import closing
from types import SimpleNamespace

import pytest
import torch

from vaekit.errors import CannotWriteHere
from vaekit.evaluation.latent_store import LatentStore


def test_latents_come_back_as_they_were_added_also_between_additions() -> None:
    latents = torch.randn(6, 2, 3, 4)
    with closing(LatentStore()) as store:
        for latent in latents[:4]:
            store.add(latent)
        assert torch.equal(store.rows(1, 3), latents[1:3].flatten(1))
        for latent in latents[4:]:
            store.add(latent)
        assert (len(store), store.shape) == (6, (2, 3, 4))
        assert all(torch.equal(store[i], latent) for i, latent in enumerate(latents))


def test_latents_of_several_shapes_have_none() -> None:
    with closing(LatentStore()) as store:
        assert store.shape is None
        store.add(torch.zeros(2, 3))
        store.add(torch.zeros(2, 4))
        assert store.shape is None and len(store) == 2


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with closing(LatentStore()) as store:
        monkeypatch.setattr(store, "_file", SimpleNamespace(write=full, close=store._file.close))
        with pytest.raises(CannotWriteHere):
            store.add(torch.zeros(2, 3))

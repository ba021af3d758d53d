"""Loaded VAEs of one device. Only the thread of that device uses them."""

from collections import OrderedDict

from vaekit.serve.offer import OfferedVAE
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions


class Engines:
    """Opens VAEs on their first use, and keeps the ones that were used last.

    Args:
        options: how VAEs are run.
        kept: the maximum number of loaded VAEs.
    """

    def __init__(self, options: EngineOptions, kept: int) -> None:
        self.options = options
        self._kept = kept
        self._open: OrderedDict[OfferedVAE, OpenModel] = OrderedDict()

    def open(self, vae: OfferedVAE) -> OpenModel:
        """The VAE, ready to run.

        Raises:
            VaekitError: it cannot be loaded any more; see `open_model`.
        """
        if vae not in self._open:
            while len(self._open) >= self._kept:
                self._open.popitem(last=False)
            self._open[vae] = open_model(vae.source, self.options)
        self._open.move_to_end(vae)
        return self._open[vae]

    def is_open(self, vae: OfferedVAE) -> bool:
        """Whether a VAE is loaded."""
        return vae in self._open

"""A picture that reconstructions are held against: what is worked out once, however many there are of them."""

from functools import cached_property

from jaxtyping import Bool, Float
from torch import Tensor

from vaekit.metrics.community import distinct_colours
from vaekit.metrics.gradients import Gradients, gradient, strongest_edges
from vaekit.metrics.lab import lab
from vaekit.metrics.lpips import LPIPS
from vaekit.metrics.luma import Planes, luma
from vaekit.metrics.patches import foliage, skin
from vaekit.shapes import Images


class Original:
    """One picture and what is known of it.

    Args:
        pixels: (1, 3, h, w) in [-1, 1], on the 256 levels of a file.
    """

    def __init__(self, pixels: Images) -> None:
        self.pixels = pixels
        self._described: dict[str, tuple[Tensor, ...]] = {}

    def described(self, name: str, model: LPIPS) -> tuple[Tensor, ...]:
        """Its features in the network of LPIPS of this name."""
        if name not in self._described:
            self._described[name] = model.described(self.pixels)
        return self._described[name]

    @cached_property
    def lab(self) -> Images:
        """L*, a*, b*."""
        return lab(self.pixels)

    @cached_property
    def luma(self) -> Planes:
        return luma(self.pixels)

    @cached_property
    def gradient(self) -> Gradients:
        """Of the luma."""
        return gradient(self.luma)

    @cached_property
    def edges(self) -> Bool[Tensor, "b i j"]:
        """Where it is steepest."""
        return strongest_edges(self.gradient)

    @cached_property
    def colours(self) -> Float[Tensor, " b"]:
        """How many different ones there are."""
        return distinct_colours(self.pixels)

    @cached_property
    def places(self) -> dict[str, Bool[Tensor, "b h w"]]:
        """Where skin and foliage may be, by name."""
        return {"skin": skin(self.pixels), "foliage": foliage(self.pixels)}

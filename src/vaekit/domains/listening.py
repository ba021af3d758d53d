"""Items that people listen to, as a page plays and shows them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Listening:
    """An item as a sound and an image, both along the same time axis."""

    content: bytes
    """A sound file in a format that browsers play."""
    media_type: str
    """Of the content: `audio/flac`, `audio/wav`."""
    seconds: float
    """The duration."""
    image: Float[Tensor, "3 h w"]
    """In [-1, 1]: a spectrogram, or a piano roll."""

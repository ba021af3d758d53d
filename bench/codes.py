"""Compare vaekit's quantizers with those of vector-quantize-pytorch in the same net.

Both are trained by the same loop on the same images in the same order, from the same initial weights, with the recipes
`vq` and `fsq`, in alternating rounds of steps. Results are for held-out images.

    python bench/codes.py ../shared/data/images/cifar10/data_batch_1.png --samples 40000
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import vector_quantize_pytorch
from PIL import Image
from torch import Tensor, nn

from vaekit.distributions import Quantized
from vaekit.domains.recipes import recipe
from vaekit.metrics.image.psnr import psnr
from vaekit.metrics.latent.code_usage import perplexity, usage
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import Step, initial_train_state, train
from vaekit.training.recipe import Recipe
from vaekit.training.schedule import Schedule
from vaekit.training.state import State
from vaekit.training.terms.plain import item_means

BATCH = 250
"""Held-out images that are looked at at once."""
SEED = 0


@dataclass(frozen=True)
class Theirs(Quantized):
    """What another library made of an encoder's numbers."""

    passed: Tensor
    """With gradients as that library lets them through."""

    @property
    def mean(self) -> Tensor:
        return self.passed


class Their(nn.Module):
    """A module of vector-quantize-pytorch as the head of a VAE. Its own loss is left out: the objective has one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, moments: Tensor) -> Theirs:
        passed, codes, *_ = self.inner(moments)
        return Theirs(moments, codes.long(), passed.detach(), passed)


def their_vq(recipe: Recipe) -> nn.Module:
    """With the same settings as the recipe's, as far as there are names for them: 0.99, k-means, codes revived."""
    table = recipe.table["vae"]
    made = vector_quantize_pytorch.VectorQuantize(
        table["latent_channels"],
        table["codes"],
        decay=0.99,
        kmeans_init=True,
        threshold_ema_dead_code=2,
        accept_image_fmap=True,
    )
    return Their(made)


def their_fsq(recipe: Recipe) -> nn.Module:
    return Their(vector_quantize_pytorch.FSQ(recipe.table["vae"]["posterior"]["levels"]))


HEADS: dict[str, tuple[str, Callable[[Recipe], nn.Module]]] = {
    "vq": ("VectorQuantize", their_vq),
    "fsq": ("FSQ", their_fsq),
}


class RoundOver(Exception):
    """It is the other's turn."""


@dataclass(eq=False)
class Side:
    """One of two that are compared."""

    name: str
    state: State
    schedule: Schedule
    seconds: float = field(default=0.0, init=False)
    """Of processor time."""

    def round(self, stream: Stream, table: Recipe, steps: int) -> None:
        """So many steps, or what is left of them."""
        left = steps

        def after(_: Step) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise RoundOver

        started = time.process_time()
        with suppress(RoundOver):
            train(self.state, stream, table.objective(), self.schedule, after=after)
        self.seconds += time.process_time() - started

    @torch.no_grad()
    def told(self, held_out: Tensor, size: int) -> str:
        vae = self.state.result.eval()
        counts, errors, decibels = torch.zeros(size, dtype=torch.int64), [], []
        for x in held_out.split(BATCH):
            q = vae.encode(x)
            assert isinstance(q, Quantized)
            back = vae.decode(q.mode).clamp(-1, 1)
            counts += torch.bincount(q.codes.flatten(), minlength=size)
            errors.append(item_means((back - x).square()))
            decibels.append(psnr(x, back))
        return (
            f"{self.name:<16}{100 * usage(counts):7.1f} %{perplexity(counts):12.1f}{torch.cat(errors).mean():10.5f}"
            f"{torch.cat(decibels).mean():10.2f} dB{self.state.samples / self.seconds:12.0f}"
        )


def images(sprite: Path) -> Tensor:
    """Bytes (n, 3, 32, 32) of an image that has one 32x32 image in each row, pixel by pixel."""
    rows = np.asarray(Image.open(sprite).convert("RGB"))
    return torch.from_numpy(rows.reshape(-1, 32, 32, 3).copy()).permute(0, 3, 1, 2).contiguous()


def shades(pixels: Tensor, _: object = None) -> Tensor:
    return pixels.float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sprite", type=Path)
    parser.add_argument("--heads", default="vq,fsq")
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--widths", default="16,24,48", help="of the nets; the recipes' own are 16,24,48")
    parser.add_argument("--decoder-blocks", type=int, default=2, help="at each level; the recipes have 2")
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=25, help="in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = images(given.sprite)
    stream = Stream(Tensors(data[: -given.held_out], shades), given.seed)
    held_out = shades(data[-given.held_out :])
    for name in given.heads.split(","):
        net = "vae.net." if name == "fsq" else "vae."
        widths = [f"{net}{half}_widths=[{given.widths}]" for half in ("encoder", "decoder")]
        blocks = f"{net}decoder_blocks={given.decoder_blocks}"
        table = recipe(name, [*widths, blocks, f"schedule.samples={given.samples}"])
        their_name, their_head = HEADS[name]
        sides, size = [], 0
        for who in ("vaekit", their_name):
            torch.manual_seed(given.seed)
            vae = table.vae()
            if who == "vaekit":
                size = vae.to_posterior.size
            else:
                vae.to_posterior = their_head(table)
            sides.append(Side(who, initial_train_state(vae, table.schedule()), table.schedule()))
        while sides[-1].state.samples < given.samples:
            for side in sides:
                side.round(stream, table, given.steps)
        batch = sides[0].schedule.batch_size
        print(
            f"\n{name}, {size} codes; {sides[0].state.samples} samples in batches of {batch}; widths {given.widths}, "
            f"{given.decoder_blocks} block(s) at each level of the decoder; "
            f"{len(held_out)} held-out images"
        )
        print(f"{'':<16}{'usage':>9}{'perplexity':>12}{'MSE':>10}{'PSNR':>13}{'samples/s':>12}")
        for side in sides:
            print(side.told(held_out, size), flush=True)


if __name__ == "__main__":
    main()

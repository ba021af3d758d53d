"""The two models of digits on the page Learn of `vaekit serve`: a VAE and a plain autoencoder with two latents.

    python bench/learn_digits.py DATA --out FOLDER [--page FOLDER] [--samples N]

DATA holds MNIST as idx files. Both have the nets of the recipe mnist-mlp with narrower layers, the same likelihood and
the same schedule; the autoencoder has a posterior that is a point, and no KL. They are trained by `vaekit train` on
gray digits. Written are `digits.bin` and `digits.json`, which says what is where in it: the decoders, with rows of
8-bit weights and a float32 scale for each row, and the latents (modes of the posteriors) and labels of the first test
digits. The largest difference that 8 bits make to a decoded digit is printed. The same command resumes the training.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaekit.datasets.array_files import read_idx
from vaekit.nets.mlp import Decoder
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.train import TrainCallbacks, TrainOptions, train

WIDTH = 128
POINTS = 1000
"""Test digits."""
CHANGES = (
    "vae.net.latent_channels=2",
    f"vae.net.hidden=[{WIDTH}, {WIDTH}]",
    "data.binary=",
    "schedule.batch_size=400",
    "schedule.learning_rate=2e-3",
    "schedule.precision=fp32",
)
MODELS = {"vae": (), "autoencoder": ("vae.posterior.kind=point", "objective.terms.kl.weight=0")}
LEVELS = 127
"""The largest 8-bit weight."""
FLOATS = 4
"""Bytes of a float32, and the alignment of arrays in the file."""


class ArrayFile:
    """Arrays one after the other in one file, each at a multiple of four bytes."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, array: NDArray[Any]) -> dict[str, Any]:
        """Append an array; returns where it is, as the page reads it."""
        start = len(self.content)
        self.content += array.astype(array.dtype.newbyteorder("<")).tobytes()
        self.content += bytes(-len(self.content) % FLOATS)
        return {"start": start, "dtype": array.dtype.name, "shape": list(array.shape)}


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    folder = options.page or options.out
    folder.mkdir(parents=True, exist_ok=True)
    images = pixels(read_idx(options.data / "t10k-images-idx3-ubyte.gz")[:POINTS])
    labels = read_idx(options.data / "t10k-labels-idx1-ubyte.gz")[:POINTS]
    file, models = ArrayFile(), []
    for name, changes in MODELS.items():
        run = options.out / name
        settings = TrainOptions("mnist-mlp", options.data, run, options.samples, 0, changes=(*CHANGES, *changes))
        train(settings, TrainCallbacks(say=print))
        model = open_model(ModelOptions(str(run / "vae.safetensors")), EngineOptions(device="cpu"))
        with torch.no_grad():
            z = model.engine.vae.encode(images).mode.flatten(1)
        models.append({"name": name, "layers": stored_layers(model, file, z), "points": file.add(z.numpy())})
    told = {"side": images.shape[-1], "models": models, "labels": file.add(labels.astype(np.uint8))}
    (folder / "digits.bin").write_bytes(file.content)
    (folder / "digits.json").write_text(json.dumps(told) + "\n")


def stored_layers(model: OpenModel, file: ArrayFile, z: Tensor) -> list[dict[str, Any]]:
    """Store the layers of a decoder, and print what that changes for latents (n, 2)."""
    vae = model.engine.vae
    decoder = vae.decoder
    assert isinstance(decoder, Decoder)
    layers: list[nn.Linear] = [*decoder.hidden, decoder.out]
    with torch.no_grad():
        before = vae.decode(z[:, :, None, None])
        stored = [stored_layer(layer, file, first=layer is layers[0]) for layer in layers]
        after = vae.decode(z[:, :, None, None])
    print(f"largest difference by 8-bit weights: {(after - before).abs().max().item() * 127.5:.2f} of 255 levels")
    return stored


def stored_layer(layer: nn.Linear, file: ArrayFile, *, first: bool) -> dict[str, Any]:
    """Store a layer, which gets the weights as they are stored. Those of the first layer stay float32, as each of them
    acts on one of the two latents alone."""
    weight, bias = layer.weight.detach(), file.add(layer.bias.detach().numpy())
    if first:
        return {"weight": file.add(weight.numpy()), "bias": bias}
    scale = weight.abs().amax(dim=1) / LEVELS
    rounded = (weight / scale[:, None]).round()
    layer.weight.copy_(rounded * scale[:, None])
    return {"weight": file.add(rounded.to(torch.int8).numpy()), "scale": file.add(scale.numpy()), "bias": bias}


def pixels(levels: NDArray[np.uint8]) -> Tensor:
    """Levels (n, h, w) as images (n, 1, h, w) in [-1, 1]."""
    return torch.from_numpy(levels.copy())[:, None].float() / 127.5 - 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--page", type=Path, help="a folder for the files of the page; that of the runs by default")
    parser.add_argument("--samples", type=int, default=1_200_000, help="of each training")
    return parser.parse_args()


if __name__ == "__main__":
    main()

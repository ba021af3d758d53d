"""Write the files of this folder: PYTHONPATH=src:tests/support python tests/codec/golden/make.py FOLDER"""

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from coded_images import SIDE, as_items, gray_images, image_vae, write_images
from small_tables import columns, save_table_vae, write_table
from small_text import SENTENCES, save_text_vae

from vaekit.checkpoints.save import save
from vaekit.codec.archive import read_archive
from vaekit.codec.chain import BITS_BACK
from vaekit.datasets.skip_log import SkipLog
from vaekit.identification.metadata import domain_notes
from vaekit.tasks.compress import compress
from vaekit.tasks.decompress import decompress
from vaekit.tasks.model import open_model
from vaekit.tasks.options import ModelOptions

SUBSCALE = {"kind": "subscale", "components": 2, "features": 2, "width": 4, "blocks": 1}
IMAGES: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "subscale": {"likelihood": SUBSCALE},
    "mixture": {"prior": {"kind": "mixture", "components": 3}},
    "vamp": {"prior": {"kind": "vamp", "components": 3}},
    "flow": {"prior": {"kind": "flow", "layers": 2, "hidden": 4}},
    "codes": {"posterior": {"kind": "fsq", "levels": [5, 5, 5]}},
    "choices": {"posterior": {"kind": "gumbel", "codes": 24}, "latent_channels": 24},
}
COUNT = 24
"""Of images."""
STEPS = 300
"""Of the training."""


def main(folder: Path) -> None:
    """Write all of them."""
    np.save(folder / "images.npy", gray_images(COUNT))
    for name, parts in IMAGES.items():
        images(folder, name, parts)
    save_table_vae(folder / "rows.safetensors", columns())
    table = columns(120)
    table["note"] = [f"row {number}" for number in range(120)]
    table["size"][3], table["color"][4], table["color"][5], table["links"][6] = "", "", "violet", "007"
    write_table(folder / "rows.csv", table)
    pack(folder, "rows", folder / "rows.csv")
    save_text_vae(folder / "lines.safetensors")
    words, draw = " ".join(SENTENCES).replace(".", "").replace(",", "").replace("?", "").split(), random.Random(0)
    lines = [" ".join(draw.choices([*words, "unheard"], k=draw.randrange(1, 12))) for _ in range(60)]
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in lines))
    pack(folder, "lines", folder / "lines.txt")


def images(folder: Path, name: str, parts: dict[str, Any]) -> None:
    """Images, and a VAE that predicts them better than LZMA, after a short training."""
    vae, x = image_vae(**parts), as_items(gray_images(COUNT))
    optimizer = torch.optim.Adam(vae.parameters(), 1e-2)
    for _ in range(STEPS):
        posterior, prior = vae.encode(x), vae.prior
        assert prior is not None
        loss = posterior.kl(prior) - vae.likelihood(posterior.sample()).log_prob(x)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    save(vae, folder / f"{name}.safetensors", notes=domain_notes("images", {"size": SIDE, "channels": 1}))
    with TemporaryDirectory() as data:
        pack(folder, name, write_images(Path(data), gray_images(COUNT)))


def pack(folder: Path, name: str, data: Path) -> None:
    """Compress, and check that it was not done by LZMA."""
    model, out = open_model(ModelOptions(str(folder / f"{name}.safetensors"))), folder / f"{name}.vk"
    result = compress(model, data, out, SkipLog(), verify=True)
    (group,) = read_archive(out)[1]
    assert group.chain[0] == BITS_BACK, name
    with TemporaryDirectory() as restored:
        decompress(model, out, Path(restored) / data.name)
    print(f"{name}: {result.coded} of {result.items} items coded, {result.size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))

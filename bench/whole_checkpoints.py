"""Time and peak memory of extracting, baking, inspecting and converting the VAE of a checkpoint of several gigabytes.

    python bench/whole_checkpoints.py               # 4 GB, a VAE of SD's size: a minute, and 9 GB of disk
    python bench/whole_checkpoints.py --gigabytes 0.3 --widths 32,64

Each job runs in a process of its own, whose peak resident memory, including Python and torch, is reported. The peer
is a common script: `load_file`, take or replace the tensors, `save_file`, of the safetensors library.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.formats.safetensors_writer import Piece, header, write_safetensors

PREFIX = "first_stage_model."
BLOCK = (16384, 1024)
"""The shape of a tensor that fills the checkpoint: 32 MB in fp16."""
JOBS = {
    "import": "import vaekit; vaekit.inspect",
    "extract": "import vaekit; vaekit.extract('big.safetensors', 'out.safetensors')",
    "bake": "import vaekit; vaekit.bake('big.safetensors', 'fp16.safetensors', 'out.safetensors')",
    "bake fp32 as fp16": "import vaekit; vaekit.bake('big.safetensors', 'fp32.safetensors', 'out.safetensors')",
    "bake from a .ckpt": "import vaekit; vaekit.bake('big.ckpt', 'fp16.safetensors', 'out.safetensors')",
    "inspect --no-measure": "import vaekit; vaekit.inspect('big.safetensors', measure=False)",
    "inspect": "import vaekit; vaekit.inspect('big.safetensors')",
    "convert fp32 to fp16": "from vaekit.checkpoints.convert import convert; "
    "convert('fp32.safetensors', 'out.safetensors', 'diffusers', 'fp16')",
    "convert to .pt": "from vaekit.checkpoints.convert import convert; convert('fp32.safetensors', 'out.pt', 'ldm')",
    "peer: extract": "from safetensors.torch import load_file, save_file; big = load_file('big.safetensors'); "
    f"save_file({{k[{len(PREFIX)}:]: t for k, t in big.items() if k.startswith('{PREFIX}')}}, 'out.safetensors')",
    "peer: bake": "from safetensors.torch import load_file, save_file; big = load_file('big.safetensors'); "
    f"big |= {{'{PREFIX}' + k: t for k, t in load_file('fp16.safetensors').items()}}; "
    "save_file(big, 'out.safetensors')",
}


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="vaekit-bench-", dir=options.folder) as folder:
        os.chdir(folder)
        prepare(options.gigabytes, [int(width) for width in options.widths.split(",")])
        packages = ", ".join(f"{name} {version(name)}" for name in ("vaekit", "safetensors", "torch"))
        print(f"{date.today()}, {platform.machine()}, {packages}")
        print(f"Checkpoint of {Path('big.safetensors').stat().st_size / 1e9:.2f} GB")
        print(f"{'':22}{'peak RSS':>12}{'seconds':>10}{'written':>12}{'GB/s':>8}")
        for name in options.jobs.split(","):
            code = JOBS[name]
            seconds, peak = run(code)
            written = sum(path.stat().st_size for path in Path().glob("out.*"))
            speed = f"{written / seconds / 1e9:8.2f}" if written else ""
            print(f"{name:22}{peak / 1e6:>9.0f} MB{seconds:>8.2f} s{written / 1e6:>9.0f} MB{speed}", flush=True)
            for path in Path().glob("out.*"):
                path.unlink()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="size of the checkpoint")
    parser.add_argument("--widths", default="128,256,512,512", help="channels of each level of the VAE")
    parser.add_argument("--jobs", default=",".join(JOBS), help="which rows, by their names")
    parser.add_argument("--folder", help="where the files are made, and deleted afterwards")
    return parser.parse_args()


def prepare(gigabytes: float, widths: list[int]) -> None:
    """Write the checkpoint, as safetensors and as .ckpt, and two VAEs to be put into it; random numbers throughout."""
    half, single = (list(vae_pieces(widths, dtype)) for dtype in (torch.float16, torch.float32))
    write("fp16.safetensors", half, {"vaekit.normalization": '{"shift": [0.0], "scale": [0.13025], "patch": 1}'})
    write("fp32.safetensors", single, {"vaekit.normalization": '{"shift": [0.0], "scale": [0.13025], "patch": 1}'})
    block = torch.randn(BLOCK).half()
    sign = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
    count = max(1, round((gigabytes * 1e9 - sum(piece.nbytes for piece in half)) / block.nbytes))
    around = [Piece(sign, (8, 2048), torch.float16, lambda: torch.randn(8, 2048).half())]
    around += [
        Piece(f"model.diffusion_model.fill.{i}.weight", BLOCK, torch.float16, lambda: block) for i in range(count)
    ]
    inside = [Piece(PREFIX + piece.name, piece.shape, piece.dtype, piece.source) for piece in half]
    write("big.safetensors", [*around, *inside], {"format": "pt", "note": "made by a benchmark"})
    save = "import torch; from safetensors.torch import load_file; "
    save += "torch.save({'state_dict': load_file('big.safetensors'), 'epoch': 7}, 'big.ckpt')"
    subprocess.run([sys.executable, "-c", save], check=True)


def vae_pieces(widths: list[int], dtype: torch.dtype) -> Iterator[Piece]:
    """A VAE of Stable Diffusion's kind in LDM's names, which are the native ones but for two convolutions."""
    config = KLConfig(3, 4, 4, tuple(widths), tuple(widths), 2, 3, (), (), True, True, True, 32)
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in assemble(family_of("kl"), config).state_dict().items()}
    for key, shape in shapes.items():
        name = key.replace("encoder.quant", "quant").replace("decoder.post", "post")
        yield Piece(name, shape, dtype, lambda shape=shape: torch.randn(shape).to(dtype))


def write(name: str, pieces: list[Piece], metadata: dict[str, str]) -> None:
    write_safetensors(Path(name), header(pieces, metadata), pieces, Path(name))


def run(code: str) -> tuple[float, int]:
    """Seconds and peak bytes of resident memory of a Python process of its own, which reads its own high-water mark."""
    code += "; print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"this failed: {code}\n{done.stderr}")
    return time.perf_counter() - started, int(done.stdout) * 1024


if __name__ == "__main__":
    main()

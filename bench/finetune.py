"""Fine-tune TAESD's decoder and measure the Kodak images before and after.

    python bench/finetune.py --vae shared/data/vae/taesd --data DIR [--data DIR] --test shared/data/images/kodak
        --lpips shared/data/perceptual --out RUN [--samples 20000] [--crop 128] [--set KEY=VALUE ...]

The recipe is `finetune`; crops are random ones of the images at several sizes. Whole images are measured, in 8 bits,
with the mode of the posterior. It checks that the encoder is bit-identical, and that diffusers' AutoencoderTiny gives
the same output. The same command resumes.
"""

import argparse
import platform
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

import vaekit
from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.finetuned_writer import base_model_at, same_bits
from vaekit.domains.images.finetune import FinetuneOptions, prepare_finetuning
from vaekit.domains.images.read import find_images
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.recipes import recipe
from vaekit.formats.open import open_tensors
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.training.log import LogEvent
from vaekit.training.run import run_training

MEASURES = ("psnr", "ssim", "lpips")


def main() -> None:
    options = parse()
    changes = [
        f"images.size={options.crop}",
        "images.often=area",
        f"schedule.samples={options.samples}",
        *options.set,
    ]
    parent = base_model_at(options.vae, str(options.vae))
    with tempfile.TemporaryDirectory() as gathered:
        data = together(options.data, Path(gathered) / "images")
        tuning = prepare_finetuning(
            recipe("finetune", changes),
            parent,
            data,
            options.out,
            options.seed,
            FinetuneOptions(lpips=options.lpips),
            print,
        )
        started = time.monotonic()
        run_training(tuning.run, tell, print)
        seconds = time.monotonic() - started
    print(f"\n{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, torch {version('torch')}")
    print(
        f"{options.samples:,} crops of {options.crop}x{options.crop}; this call trained for {seconds / 60:.1f} minutes"
    )
    print(f"{'':8}{'PSNR, dB':>12}{'SSIM':>12}{'LPIPS(alex)':>14}")
    before, after = (measured(path, options) for path in (options.vae, options.out))
    for name, found in (("before", before), ("after", after)):
        print(f"{name:8}{found[0]:12.3f}{found[1]:12.4f}{found[2]:14.4f}")
    change = after[2] / before[2] - 1
    print(f"{'change':8}{after[0] - before[0]:+12.3f}{after[1] - before[1]:+12.4f}{change:+14.1%}")
    print(f"encoder bit-identical: {'yes' if encoder_is_the_same(options.vae, options.out) else 'NO'}")
    print(f"largest difference from diffusers' AutoencoderTiny: {difference_from_diffusers(options.out):.2g}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, required=True, help="a folder with the two files of a tiny autoencoder")
    parser.add_argument("--data", type=Path, action="append", required=True, help="images to train on")
    parser.add_argument("--test", type=Path, required=True, help="images to measure on")
    parser.add_argument("--lpips", type=Path, required=True, help="a file or folder with the weights of LPIPS")
    parser.add_argument("--out", type=Path, required=True, help="the run")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def together(folders: list[Path], target: Path) -> Path:
    """One folder with the images of several."""
    for number, folder in enumerate(folders):
        for image in find_images([folder]):
            link = target / f"{number}_{folder.name}" / image.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(image.resolve())
    return target


def tell(news: LogEvent) -> None:
    numbers = " ".join(f"{name} {value:.4g}" for name, value in news.numbers.items())
    print(f"{news.samples:>8,} {news.seconds:6.0f} s {'held out ' if news.held_out else ''}{numbers}", flush=True)


def measured(vae: Path, options: argparse.Namespace) -> list[float]:
    """PSNR, SSIM and LPIPS, each the mean over the test images at their own size."""
    wanted = EvaluateOptions(MeasureOptions(as_is=True, lpips=options.lpips), batch=1)
    found = evaluate_data(vaekit.load(vae), vaekit.Plan(device="cpu"), options.test, wanted).evaluation
    values = {result.quantity.name: result.value for result in found.results}
    return [values[name] for name in MEASURES]


def encoder_is_the_same(before: Path, after: Path) -> bool:
    """Whether the encoders of two tiny autoencoders have the same bits."""
    old, new = (open_tensors(next(path.glob("*_encoder.*"))) for path in (before, after))
    theirs, ours = old.read(old.specs), new.read(new.specs)
    return theirs.keys() == ours.keys() and all(same_bits(theirs[name], ours[name]) for name in theirs)


@torch.no_grad()
def difference_from_diffusers(vae: Path) -> float:
    """Between what diffusers and vaekit decode, in [-1, 1]; both compute in fp64."""
    from diffusers import AutoencoderTiny

    ours = vaekit.load(vae).double()
    with tempfile.TemporaryDirectory() as folder:
        convert(vae, Path(folder) / "tiny", "diffusers")
        theirs = AutoencoderTiny.from_pretrained(Path(folder) / "tiny", torch_dtype=torch.float64)
        x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
        z = ours.encode(x).mode
        return (theirs.decode(z).sample - ours.decode(z)).abs().max().item()


if __name__ == "__main__":
    main()

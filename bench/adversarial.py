"""Effect of an adversarial term on reconstructions: vaekit's schedule and LDM's, from the same checkpoint.

    python bench/adversarial.py DATA --lpips FILE --out FOLDER [--settled N] [--further N] [--seed S]

DATA is a folder with `photos`, `captioned` and `kodak`. A small KL autoencoder (factor 4) learns 64x64 crops of the
first two with L1 + LPIPS(alex) + 1e-6 KL until its learning rate has decayed. From that checkpoint training continues
in three ways: without a discriminator, with LDM's schedule (discriminator and adversarial term start together, adaptive
weight 0.5), and with vaekit's (the discriminator is trained first, the weight is ramped up and scaled by its
confidence, with a rollback guard). Discriminator, learning rate and data are the same. Held out: crops of `kodak`, and
every tenth of `captioned`. The same command resumes between runs.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from vaekit.distributions import Always, DiagonalGaussian, Laplace, StandardNormal
from vaekit.domains.images.read import find_images
from vaekit.errors import TrainingDiverged
from vaekit.families.kl.net import KLConfig, build
from vaekit.metrics.image.lpips import LPIPS
from vaekit.metrics.image.psnr import psnr
from vaekit.nets.discriminator import Discriminator, DiscriminatorConfig
from vaekit.training.adversarial.adversary import Adversarial, Adversary
from vaekit.training.adversarial.rollback_guard import GuardConfig, RollbackGuard
from vaekit.training.data import Stream, Tensors
from vaekit.training.init_linear import init_linear
from vaekit.training.loop import Step, initial_train_state, train
from vaekit.training.objectives import Objective
from vaekit.training.processes import ProcessGroup
from vaekit.training.schedule import Schedule
from vaekit.training.state import State
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight
from vaekit.vae import VAE

TILE, CROP = 128, 64
HELD_OUT = 96
"""Crops of either kind at most."""
CONFIG = KLConfig(3, 4, 4, (16, 32, 64), (16, 32, 64), 1, 1, (), (), True, True, True, norm_groups=4)

BATCH, RATE, SETTLED_RATE, DECAY, BETAS, CLIP = 16, 1e-3, 0.1, 0.995, (0.5, 0.9), 1.0
PRECISION = "bf16"
LOOK = 800
"""Samples between two looks, and half of it once an adversary may be there."""
FURTHER_BATCH, OPPONENT_RATE, GUARDED = 8, 4e-4, 400
WAYS = ("ldm", "vaekit", "alone")


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    source, held_out = prepared(options.data)
    lpips = LPIPS.from_tensors(load_file(options.lpips)).to(memory_format=torch.channels_last)
    stream = Stream(source, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    settle(options, stream, held_out, lpips)
    for way in WAYS if options.ways is None else options.ways.split(","):
        go_on(way, options, stream, held_out, lpips)
    print(table(options.out))


def settle(options: argparse.Namespace, stream: Stream, held_out: Tensor, lpips: LPIPS) -> None:
    """The checkpoint that all three begin with."""
    path = options.out / "settled.safetensors"
    if path.exists():
        return
    torch.manual_seed(options.seed)
    schedule = Schedule(
        options.settled,
        BATCH,
        RATE,
        20 * BATCH,
        SETTLED_RATE,
        averages=(DECAY,),
        betas=BETAS,
        gradient_clip=CLIP,
        precision=PRECISION,
    )
    state = initial_train_state(begun(stream), schedule)
    curve = Curve("settling", options.out, held_out, lpips, LOOK)
    train(state, stream, objective(lpips), schedule, after=curve.after)
    save_file({name: each.contiguous() for name, each in state.tensors().items()}, path)


def schedules(settled: int, further: int) -> dict[str, tuple[Adversarial | None, GuardConfig | None]]:
    """The adversary and the guard of each way to go on."""
    plain = Adversarial(settled, settled, learning_rate=OPPONENT_RATE, largest=1e4 / (3 * CROP**2))
    ours = replace(plain, pull_from=settled + further // 4, ramp=further // 4, largest=1e4, lecam=0.001, earned=True)
    return {"alone": (None, None), "ldm": (plain, None), "vaekit": (ours, GuardConfig(every=GUARDED))}


def go_on(way: str, options: argparse.Namespace, stream: Stream, held_out: Tensor, lpips: LPIPS) -> None:
    """From the checkpoint, in one of the ways."""
    if (options.out / f"{way}.jsonl").exists():
        return
    saved = load_file(options.out / "settled.safetensors")
    schedule = Schedule(
        options.settled + options.further,
        FURTHER_BATCH,
        RATE * SETTLED_RATE,
        final_rate=1.0,
        averages=(DECAY,),
        betas=BETAS,
        gradient_clip=CLIP,
        precision=PRECISION,
    )
    state = initial_train_state(begun(stream), schedule)
    state.restore(saved, {"samples": options.settled})
    config, guarding = schedules(options.settled, options.further)[way]
    adversary = guard = None
    if config is not None:
        torch.manual_seed(options.seed)
        adversary = Adversary(config, Discriminator(DiscriminatorConfig(width=32)))
    if guarding is not None and adversary is not None:
        # Its images are of the training data: what it protects is measured on others.
        guard = RollbackGuard(guarding, adversary, stream.batch(10**9, 128))
        state.extras = {"adversary": adversary, "guard": guard}
    curve = Curve(way, options.out, held_out, lpips, LOOK // 2)
    curve.look(state, 0.0, {})

    def after(step: Step) -> None:
        verdict = guard.after(step.state, ProcessGroup()) if guard is not None else None
        if verdict is not None and verdict.message:
            print(f"{way}, {step.state.samples:,} samples: {verdict.message}")
        curve.after(step)

    try:
        train(state, stream, objective(lpips), schedule, adversary=adversary, after=after)
    except TrainingDiverged as error:
        print(f"{way}: {error}")
    if state.samples % curve.every:
        curve.look(state, 0.0, {})


def table(folder: Path) -> str:
    """The curves side by side, for docs/training.md."""
    texts = {way: folder / f"{way}.jsonl" for way in WAYS if (folder / f"{way}.jsonl").exists()}
    curves = {way: [json.loads(line) for line in path.read_text().splitlines()] for way, path in texts.items()}
    head = " | ".join(f"{way}: PSNR | LPIPS" for way in curves)
    rows = [f"| samples | {head} |", "|---:" * (1 + 2 * len(curves)) + "|"]
    for lines in zip(*curves.values(), strict=False):
        cells = " | ".join(f"{line['psnr']:.2f} | {line['lpips']:.4f}" for line in lines)
        rows.append(f"| {lines[0]['samples']:,} | {cells} |")
    for way, lines in curves.items():
        fall = min(line["psnr"] for line in lines) - lines[0]["psnr"]
        fallen = min(line["psnr_trained"] for line in lines) - lines[0]["psnr_trained"]
        rows.append(
            f"{way}: PSNR at its lowest {fall:+.2f} dB ({fallen:+.2f} of the weights in training), at the end "
            f"{lines[-1]['psnr'] - lines[0]['psnr']:+.2f}; LPIPS {lines[0]['lpips']:.4f} -> {lines[-1]['lpips']:.4f}"
        )
    return "\n".join(rows)


def objective(lpips: LPIPS) -> Objective:
    """That of the recipe kl-f8."""
    weights = {"l1": 1.0, "lpips": 1.0, "kl": 1e-6}
    terms = {"l1": TERMS["l1"](), "lpips": TERMS["lpips"](network=lpips), "kl": TERMS["kl"]()}
    return Objective(terms, {name: Weight.constant(weight) for name, weight in weights.items()}, per_dimension=True)


class Curve:
    """Held-out PSNR and LPIPS of the averaged and of the trained weights, every so many samples, in a file."""

    def __init__(self, name: str, folder: Path, held_out: Tensor, lpips: LPIPS, every: int) -> None:
        self.path = folder / f"{name}.jsonl"
        self.path.write_text("")
        self.held_out, self.lpips, self.every = held_out, lpips, every

    def after(self, step: Step) -> None:
        if step.state.samples % self.every == 0:
            self.look(step.state, step.seconds, step.parts)

    @torch.no_grad()
    def look(self, state: State, seconds: float, parts: Mapping[str, float]) -> None:
        line: dict[str, float] = {"samples": state.samples, "seconds": round(seconds)}
        for name, vae in (("", state.result), ("_trained", state.vae.eval())):
            y = torch.cat([vae.reconstruct(x) for x in self.held_out.split(32)]).clamp(-1, 1)
            line |= {f"psnr{name}": psnr(self.held_out, y).mean().item()}
            distances = [self.lpips(x, z) for x, z in zip(self.held_out.split(32), y.split(32), strict=True)]
            line |= {f"lpips{name}": torch.cat(distances).mean().item()}
        line |= {f"step_{name}": value for name, value in parts.items()}
        with open(self.path, "a") as file:
            print(json.dumps({name: round(value, 4) for name, value in line.items()}), file=file)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lpips", type=Path, required=True, help="AlexNet and LPIPS weights, safetensors")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the checkpoint and the numbers")
    parser.add_argument("--settled", type=int, default=24_000, help="samples before any adversary")
    parser.add_argument("--further", type=int, default=4_800, help="samples after that, in each of the three ways")
    parser.add_argument("--ways", help=f"some of {','.join(WAYS)}")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def tiles(paths: Sequence[Path], short_sides: Sequence[int]) -> Tensor:
    """All whole squares of `TILE` of images resized to these short sides, (n, 3, TILE, TILE), bytes."""
    found = []
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        for side in short_sides:
            scale = side / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
            found += [
                pixels[top : top + TILE, left : left + TILE]
                for top in range(0, size[1] - TILE + 1, TILE)
                for left in range(0, size[0] - TILE + 1, TILE)
            ]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


def prepared(data: Path) -> tuple[Tensors, Tensor]:
    """What is trained on, and what is held out."""
    captioned = find_images([data / "captioned"])
    others = [path for i, path in enumerate(captioned) if i % 10]
    photos = find_images([data / "photos"])
    held = ((captioned[::10], TILE), (find_images([data / "kodak"]), 384))
    source = torch.cat([tiles(others, [TILE]), tiles(photos, [256, 512, 768])])
    kept = [tiles(paths, [side])[:HELD_OUT] for paths, side in held]
    middle = slice((TILE - CROP) // 2, (TILE + CROP) // 2)
    held_out = torch.cat(kept)[:, :, middle, middle].float() / 127.5 - 1
    return Tensors(source, random_crops), held_out


def random_crops(batch: Tensor, generator: Generator) -> Tensor:
    """A place in each tile, half of them mirrored, in [-1, 1]."""
    places = torch.randint(TILE - CROP + 1, (len(batch), 2), generator=generator).tolist()
    cut = [tile[:, y : y + CROP, x : x + CROP] for tile, (y, x) in zip(batch, places, strict=True)]
    flips = torch.rand(len(batch), generator=generator) < 0.5
    crops = torch.stack([each.flip(2) if flip else each for each, flip in zip(cut, flips, strict=True)])
    return crops.float() / 127.5 - 1


def begun(stream: Stream) -> VAE:
    encoder, decoder = build(CONFIG)
    crops = stream.batch(0, 512)
    blocks = torch.nn.functional.unfold(crops, 4, stride=4).transpose(1, 2).reshape(-1, 3, 4, 4)[::7]
    init_linear(encoder, decoder, blocks)
    vae = VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace, to_prior=Always(StandardNormal()))
    return vae.to(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()

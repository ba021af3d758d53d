"""Train one VAE on binarized MNIST in vaekit and in pythae: samples per second, and the ELBO after equal epochs.

    python bench/training.py --mnist DIR [--epochs 10] [--threads 2]

Both sides have the same network (784-400-16 and back, ReLU), the same data in the same fixed binarization, batches of
100 and Adam at 1e-3. They take turns, one epoch each, in one process; the ratio is the median over the epochs. pythae
must be installed (`pip install pythae==0.1.2`).
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from vaekit.datasets.array_files import read_idx
from vaekit.domains.images.preparation import Preparation, binarized, shades
from vaekit.domains.images.training_data import open_training_data
from vaekit.domains.recipes import recipe
from vaekit.training.data import Stream, Tensors
from vaekit.training.init_mean import init_to_mean
from vaekit.training.loop import initial_train_state, train

HIDDEN, LATENT, BATCH, RATE = 400, 16, 100, 1e-3
BAR = 1.5
SHAPE = f"data_shape = [1, 28, 28], latent_channels = {LATENT}, hidden = [{HIDDEN}]"
NET = f'{{ kind = "mlp", {SHAPE}, activation = "relu" }}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="a folder with MNIST's idx files")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--compiled", action="store_true", help="have torch compile vaekit's nets")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="of vaekit's nets")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = open_training_data(options.mnist, Preparation(28, channels=1, binary="static"), seed=0)
    assert isinstance(found.source, Tensors)
    data, test = found.source.items, test_digits(options.mnist)
    print(f"{len(data):,} images, {options.threads} threads, torch {torch.__version__}", flush=True)
    sides = {"vaekit": Ours(data, options), "pythae": Theirs(data)}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for epoch in range(1, options.epochs + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            side.epoch(epoch)
            speeds[name].append(len(data) / (time.perf_counter() - started))
        told = ", ".join(f"{name} {speeds[name][-1]:,.0f}/s ELBO {side.elbo(test):.2f}" for name, side in sides.items())
        print(f"epoch {epoch}: {told}", flush=True)
    ratio = statistics.median(a / b for a, b in zip(speeds["vaekit"], speeds["pythae"], strict=True))
    print(f"vaekit is {ratio:.2f}x as fast as pythae (bar {BAR}x)")


def test_digits(folder: Path) -> Tensor:
    """All of them, in one binarization."""
    images = shades(torch.from_numpy(read_idx(next(folder.glob("t10k-images*")))).unsqueeze(1))
    return binarized(images, torch.Generator().manual_seed(0))


class Ours:
    """vaekit's loop."""

    def __init__(self, data: Tensor, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        epochs = options.epochs
        changes = [
            f"vae.net={NET}",
            f"schedule.learning_rate={RATE}",
            "schedule.final_rate=1.0",
            "schedule.warmup_samples=0",
            "schedule.averages=[]",
            "schedule.betas=[0.9, 0.999]",
            f"schedule.precision={options.precision}",
            f"schedule.compiled={str(options.compiled).lower()}",
        ]
        self.size = len(data)
        self.recipes = [
            recipe("mnist-mlp", [*changes, f"schedule.samples={n * self.size}"]) for n in range(1, epochs + 1)
        ]
        self.objective = self.recipes[0].objective()
        vae = self.recipes[0].vae()
        init_to_mean(vae, data[:256])  # as the recipe has it
        self.state = initial_train_state(vae, self.recipes[0].schedule())
        self.stream = Stream(Tensors(data), 0)

    def epoch(self, number: int) -> None:
        train(self.state, self.stream, self.objective, self.recipes[number - 1].schedule())

    @torch.no_grad()
    def elbo(self, x: Tensor) -> float:
        generator = torch.Generator().manual_seed(0)
        losses = self.objective(self.state.vae.eval(), x, 0, generator)
        return -(losses.parts["nll"] + losses.parts["kl"]).item()


class Theirs:
    """pythae's trainer."""

    def __init__(self, data: Tensor) -> None:
        warnings.filterwarnings("ignore")
        logging.disable(logging.INFO)
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        class Encoder(BaseEncoder):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.hidden = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU())
                self.mean, self.spread = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

            def forward(self, x: Tensor) -> ModelOutput:
                h = self.hidden(x.reshape(-1, 784))
                return ModelOutput(embedding=self.mean(h), log_covariance=self.spread(h))

        class Decoder(BaseDecoder):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784), nn.Sigmoid())

            def forward(self, z: Tensor) -> ModelOutput:
                return ModelOutput(reconstruction=self.net(z).reshape(-1, 1, 28, 28))

        torch.manual_seed(0)
        config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
        self.model = VAE(config, Encoder(), Decoder())
        ones = (data + 1) / 2
        settings = BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            num_epochs=1,
            no_cuda=True,
        )
        labels = torch.zeros(len(ones))
        self.trainer = BaseTrainer(model=self.model, train_dataset=BaseDataset(ones, labels), training_config=settings)
        self.trainer.prepare_training()
        self.trainer.callback_handler.callbacks = []  # no progress bars

    def epoch(self, number: int) -> None:
        self.trainer.train_step(number)

    @torch.no_grad()
    def elbo(self, x: Tensor) -> float:
        torch.manual_seed(0)
        self.model.eval()
        return -self.model({"data": (x + 1) / 2}).loss.item()


if __name__ == "__main__":
    main()

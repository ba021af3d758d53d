"""Audio as a domain: sound files, whole or in parts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import BytesRecord, FileRecord, Record, RecordFormat, Splits
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.audio.files import SOUNDS, AudioFiles
from vaekit.domains.audio.listening import listening
from vaekit.domains.audio.measures import waveform_measures
from vaekit.domains.audio.reading import reader_of
from vaekit.domains.audio.schema import AudioSchema, in_length, schema_from
from vaekit.domains.audio.sound_files import SUFFIXES
from vaekit.domains.audio.spectrograms import sheet, waveform_image, write_png
from vaekit.domains.audio.training_data import audio_training_data
from vaekit.domains.audio.writing import ENDING, write_wav
from vaekit.domains.domain import LoadedItems, Schema, SequenceWriter, TermSettings
from vaekit.domains.files import ItemFiles
from vaekit.domains.in_memory import InMemoryDomain, digest_of_records, schema_digest
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemValues
from vaekit.domains.listening import Listening
from vaekit.domains.measuring import EvaluationItems, MeasureOptions
from vaekit.errors import BadCheckpoint, BadItem, BadRecipe, CannotWrite, printable
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.latent_information import LATENT_INFORMATION
from vaekit.evaluation.measures import ItemMeasure
from vaekit.geometry import Geometry
from vaekit.training.data import TrainingData
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE

EVALUATED = 30
"""Seconds of each sound, from its start, that are measured."""
LONGEST = 600
"""Seconds of sounds that are processed together, as the ends of an interpolation."""
SHOWN = 8
"""Sounds of an image."""
SILENCE = 0.3
"""Seconds between sounds in one file."""
AUDIO_RECORDS = RecordFormat(
    items=SOUNDS,
    records=(FileRecord, BytesRecord),
    suffixes=SUFFIXES,
    columns=("audio", "sound", "wav", "flac", "mp3", "ogg", "bytes"),
    feature="Audio",
)


@dataclass(frozen=True)
class AudioSettings:
    """The table [data] of a recipe for audio."""

    sample_rate: int = 16_000
    """In Hz; sounds are resampled to it."""
    channels: int = 1
    """The number of channels that sounds are mixed to."""
    samples: int = 16_384
    """The length of the random parts that the VAE is trained on."""
    held_out: float | None = None
    """Sounds that are never trained on: how many, or below 1 which share. None: one in twenty, at most 256."""

    def __post_init__(self) -> None:
        AudioSchema(self.sample_rate, self.channels, self.samples)


class Audio(InMemoryDomain):
    """Sound files of any length. Data are held as parts of one length; files are encoded and decoded whole."""

    def fit(self, settings: AudioSettings, records: Iterator[Record]) -> AudioSchema:
        return AudioSchema(settings.sample_rate, settings.channels, settings.samples)

    def read_schema(self, plain: Mapping[str, Any]) -> AudioSchema:
        return schema_from(plain)

    def schema_from(self, plain: Mapping[str, Any], config: Any) -> AudioSchema:
        try:
            schema = schema_from(plain)
            geometry: Geometry = config.geometry
            if geometry.axes != 1 or geometry.channels != schema.channels:
                raise ValueError(f"the network takes batches {geometry.batch_text}, the schema has {schema.format}")
        except (ValueError, TypeError) as error:
            raise BadCheckpoint(
                f"The file of this VAE holds no schema of sounds that makes sense: {printable(str(error), 200)}.",
                "Expected what vaekit writes when it trains one.",
                "Copy it again, or train it again.",
            ) from error
        return schema

    def check_fit(self, schema: Schema, recipe: Recipe) -> None:
        geometry = recipe.config().geometry
        channels = audio_schema(schema).channels
        if geometry.axes != 1 or geometry.channels != channels:
            raise BadRecipe(
                f"The VAE of the recipe {recipe.name} takes batches of the shape {geometry.batch_text}.",
                f"Expected (b, {channels}, t), as [data] has {channels} channels.",
                'Use a net of the kind "waveform", and leave out its audio_channels.',
            )

    def training_data(
        self, table: Mapping[str, Any], splits: Splits, schema: Schema, seed: int, log: SkipLog
    ) -> TrainingData:
        return audio_training_data(splits, audio_schema(schema), self.settings_from(table).held_out, log)

    def term_settings(self, recipe: Recipe, device: torch.device) -> TermSettings:
        """The sample rate, for `log_mel`."""
        table = {name: value for name, value in recipe.data.items() if name != "domain"}
        return TermSettings({"log_mel": {"sample_rate": self.settings_from(table).sample_rate}})

    def original(self, record: Record, schema: Schema) -> Tensor:
        with reader_of(record, audio_schema(schema).format) as reader:
            return reader.all()

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        return waveform_measures(audio_schema(schema).sample_rate)

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        """Without ELBO and NLL, unless they are requested: objectives of audio are no likelihoods. Without the mutual
        information, which needs latents of one size."""
        every, missing = super().measures(vae, schema, replace(options, nll_samples=options.nll_samples or 0), device)
        return Measures(every.items, tuple(each for each in every.pooled if each.name != LATENT_INFORMATION)), missing

    def evaluation_items(self, path: Path, vae: VAE, schema: Schema, options: MeasureOptions) -> EvaluationItems:
        """Whole sounds, or the start of long ones, in the format of the VAE; test splits where there are some."""
        splits, own = self.open(path, SkipLog()), audio_schema(schema)
        dataset = splits.train if splits.test is None else splits.test
        numbers = {dataset.key(number): number for number in range(len(dataset))}
        most = EVALUATED * own.sample_rate

        def read(name: str) -> Tensor:
            with reader_of(dataset.read(numbers[name]), own.format) as reader:
                return reader(0, min(most, reader.samples))

        return EvaluationItems(
            list(numbers),
            read,
            lambda names: digest_of_records(dataset, [numbers[name] for name in names]),
            {"schema": schema_digest(schema), "seconds": EVALUATED, "resampling": "windowed sinc"},
        )

    def files(self, engine: Any, schema: Schema) -> ItemFiles:
        return AudioFiles(engine, audio_schema(schema))

    def read(self, path: Path, schema: Schema) -> LoadedItems:
        """The sound of a file in its own length, or sounds of a container in the length of training parts."""
        if path.suffix.lower() not in SUFFIXES and path.is_file():
            return super().read(path, schema)
        waveform, notes = self._waveform(path, audio_schema(schema))
        return LoadedItems([path.name], waveform[None], originals=[waveform], notes={path.name: notes})

    def read_all(
        self, paths: Sequence[Path], schema: Schema, geometry: Geometry, limit: int | None = None
    ) -> LoadedItems:
        """Sounds in the length of the longest one, continued with zeros."""
        del limit  # one sound per file
        own = audio_schema(schema)
        read = {path: self._waveform(path, own) for path in paths}
        longest = max(waveform.shape[1] for waveform, _ in read.values())
        x = torch.stack([in_length(waveform, longest) for waveform, _ in read.values()])
        notes = {
            path.name: [*said, *(["continued with silence"] if waveform.shape[1] < longest else [])]
            for path, (waveform, said) in read.items()
        }
        return LoadedItems([path.name for path in paths], x[: len(paths)], originals=list(x), notes=notes)

    def _waveform(self, path: Path, schema: AudioSchema) -> tuple[Tensor, list[str]]:
        """A sound that is processed together with others, and notes on it.

        Raises:
            NotFound, BadItem: it cannot be read, or is too long.
        """
        with reader_of(path, schema.format) as reader:
            if reader.samples > LONGEST * schema.sample_rate:
                raise BadItem(
                    f"{path} has {reader.sound.facts.seconds:,.0f} s of sound.",
                    f"Expected at most {LONGEST} s where several items are processed together.",
                    "Cut it, or use `encode`, `decode` and `reconstruct`, which take any length.",
                )
            return reader.all(), list(reader.notes)

    def write(self, items: Sequence[Tensor], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """Waveforms (c, t) one after the other, with silence between them."""
        own = audio_schema(schema)
        write_wav(path, one_after_the_other(items, own.sample_rate), own.sample_rate)

    def write_pairs(
        self,
        originals: Sequence[Tensor],
        results: Sequence[Tensor],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """Each original and its result one after the other, and an image of the first ones."""
        pairs = [each for pair in zip(originals, results, strict=True) for each in pair]
        self.write(pairs, path, schema)
        self._draw(pairs, path.with_suffix(".png"), schema)

    def write_many(self, items: Iterable[Tensor], folder: Path, name: str, schema: Schema) -> Sequence[Path]:
        """One file per sound, and an image of the first ones."""
        files, shown, rate = list[Path](), list[Tensor](), audio_schema(schema).sample_rate
        for number, item in enumerate(items, start=1):
            files.append(folder / f"{name}-{number:03}{ENDING}")
            write_wav(files[-1], item, rate)
            shown += [item] if len(shown) < SHOWN else []
        return [*files, self._draw(shown, folder / f"{name}.png", schema)] if shown else files

    def sequence_writer(self, schema: Schema, animation: str | None) -> SequenceWriter:
        """One file with all sounds one after the other, one file each, and an image."""
        if animation is not None:
            raise CannotWrite(
                f"There are no animations of sounds: {printable(animation)!r} is a format for images.",
                f"The sounds are written to {ENDING} files.",
                "Omit --animation.",
            )

        def write(items: Iterable[Tensor], folder: Path, name: str) -> Sequence[Path]:
            waveforms = list(items)
            joined = folder / f"{name}{ENDING}"
            self.write(waveforms, joined, schema)
            return [joined, *self.write_many(waveforms, folder, name, schema)]

        return write

    def preview(self, items: Sequence[Tensor]) -> Tensor | None:
        """Spectrograms and waveforms of the first sounds."""
        return sheet([waveform_image(each.cpu()) for each in islice(items, SHOWN)]) if items else None

    def _draw(self, items: Sequence[Tensor], path: Path, schema: Schema) -> Path:
        rate = audio_schema(schema).sample_rate
        return write_png(sheet([waveform_image(each.cpu(), rate) for each in islice(items, SHOWN)]), path)


def audio_schema(schema: Schema) -> AudioSchema:
    """The schema of this domain."""
    assert isinstance(schema, AudioSchema)
    return schema


def listen(item: Tensor, schema: Schema) -> Listening:
    """A waveform (c, t) as people listen to it."""
    return listening(item, audio_schema(schema).sample_rate)


def one_after_the_other(items: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Waveforms (c, t) as one, with silence between them."""
    silence = items[0].new_zeros(items[0].shape[0], round(SILENCE * sample_rate))
    parts = [part for item in items for part in (item, silence)]
    return torch.cat(parts[:-1], dim=1)


AUDIO = Audio(
    *("audio", "sound", SOUNDS, AUDIO_RECORDS, ENDING, AudioSettings),
    computing=("torch", "numpy", "soundfile"),
    batch_size=16,
    listen=listen,
)

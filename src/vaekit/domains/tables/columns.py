"""Columns of a table: how the cells of each kind become values that a VAE takes, and back.

A numeric column is standardized: x = (f(number) - center) / scale. For heavy-tailed columns f is logarithmic: asinh(v /
unit) for positive numbers, which is about log(2 v / unit) above the unit and also takes 0 and negative numbers, and
sign(c) log(1 + |c|) for counts. A two-valued column becomes 0 and 1, a categorical one a one-hot vector. Missing cells
become NaN.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.distributions.cells import UNSEEN
from vaekit.domains.tables.cells import EPOCH, Cells, dates, numbers, texts
from vaekit.errors import printable

REAL, POSITIVE, COUNT, ORDINAL, DATE = "real", "positive", "count", "ordinal", "date"
BINARY, CATEGORICAL, CONSTANT, IGNORED = "binary", "categorical", "constant", "ignored"
NUMERIC = (REAL, POSITIVE, COUNT, ORDINAL, DATE)
KINDS = (*NUMERIC, BINARY, CATEGORICAL, CONSTANT)
"""The kinds of columns of a schema."""
STUDENT, NORMAL, STEPS, COUNTS, BERNOULLI, ONE_HOT = "student", "normal", "steps", "counts", "bernoulli", "categorical"
LIKELIHOODS = (NORMAL, STUDENT, STEPS, COUNTS, BERNOULLI, ONE_HOT)
"""Of columns, in the order of their values in tensors; the names of `vaekit.nets.column_likelihoods`."""
RESOLUTION = 4
"""Digits that are written below the standard deviation of a column."""
LEAST_DIGITS, MOST_DIGITS = 6, 17
"""Significant digits of the numbers that are written."""
SMALLEST_SCALE = 1e-150
"""A column with a smaller spread counts as constant."""
MOST_LOG = 700.0
"""Of a logarithm: its exponential is finite."""
LARGEST = 1e15
"""Of a value in units of the scale: its square is still finite in fp32."""
DAY = 86400
"""In seconds."""
VALID = {
    REAL: (NORMAL, STUDENT, STEPS),
    POSITIVE: (NORMAL, STUDENT),
    COUNT: (COUNTS, STEPS),
    ORDINAL: (STEPS,),
    DATE: (NORMAL, STUDENT),
    BINARY: (BERNOULLI,),
    CATEGORICAL: (ONE_HOT,),
    CONSTANT: (ONE_HOT,),
}
"""The likelihoods of each kind."""


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    kind: str
    """One of `KINDS`."""
    likelihood: str
    """One of `LIKELIHOODS`."""
    center: float = 0.0
    """Of f(number)."""
    scale: float = 1.0
    unit: float = 0.0
    """Of a positive column: where its scale changes from linear to logarithmic."""
    low: float = -math.inf
    """The smallest number in the data; what is written lies between low and high."""
    high: float = math.inf
    step: float = 0.0
    """The distance of two neighboring numbers, for the likelihood "steps". Of a date column: the seconds that the dates
    in the data are multiples of, such as those of a day; 0 if that is not known."""
    decimals: int | None = None
    """Decimal places of the numbers in the data; None for as many as the spread suggests."""
    values: tuple[str, ...] = ()
    """Of a binary, categorical or constant column: its texts in order. Of an ordinal column of texts: its levels."""

    def __post_init__(self) -> None:
        "".join((self.name, *self.values)).encode()  # a UnicodeEncodeError is a ValueError
        different = len(self.values) == len(set(self.values))
        fits = {
            BINARY: len(self.values) == 2,
            CATEGORICAL: len(self.values) >= 1,
            CONSTANT: len(self.values) == 1,
        }
        numeric = self.scale > SMALLEST_SCALE and math.isfinite(self.scale + self.center) and self.low <= self.high
        stepped = self.kind == DATE or (self.step > 0) == (self.likelihood == STEPS)
        constants = stepped and (self.unit > 0) == (self.kind == POSITIVE) and 0 <= (self.decimals or 0) <= MOST_DIGITS
        valid = fits.get(self.kind, numeric and constants and min(self.step, self.unit) >= 0)
        if self.likelihood not in VALID.get(self.kind, ()) or not different or not valid:
            raise ValueError(f"the column {printable(self.name)} is damaged")

    @property
    def width(self) -> int:
        """The number of its values in a row of a tensor."""
        return len(self.values) if self.likelihood == ONE_HOT else 1

    @property
    def is_log(self) -> bool:
        """Whether f is logarithmic."""
        return self.kind == POSITIVE or self.likelihood == COUNTS

    def transform(self, given: NDArray[np.float64]) -> NDArray[np.float64]:
        """f of the numbers of a numeric column."""
        if self.kind == POSITIVE:
            return np.arcsinh(given / self.unit)
        return np.sign(given) * np.log1p(np.abs(given)) if self.likelihood == COUNTS else given

    def inverse(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `transform`."""
        bounded = np.clip(values, -MOST_LOG, MOST_LOG) if self.is_log else values
        if self.kind == POSITIVE:
            return np.sinh(bounded) * self.unit
        return np.sign(bounded) * np.expm1(np.abs(bounded)) if self.likelihood == COUNTS else values

    def encode(self, cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Cells (n,) -> values (n, width), NaN for missing cells; and which cells are no value of this column."""
        if self.kind in NUMERIC:
            return self._encode_numbers(self.parse(cells))
        given = texts(cells)
        known = {value: place for place, value in enumerate(self.values)}
        places = np.array([known.get(text, -1) for text in given], np.int64)
        missing = np.array([not text for text in given], bool)
        if self.kind == BINARY:
            values = np.where(places < 0, UNSEEN, places).astype(np.float64)[:, None]
        else:
            values = (places[:, None] == np.arange(self.width)).astype(np.float64)
        values[missing] = np.nan
        return values, np.zeros(len(given), bool)

    def parse(self, cells: Cells) -> NDArray[np.float64]:
        """Cells of a numeric column as numbers: NaN for missing ones, infinity for those that are none."""
        if self.values:
            levels: dict[str, float] = {"": math.nan, **{value: place for place, value in enumerate(self.values)}}
            return np.array([levels.get(text, math.inf) for text in texts(cells)], np.float64)
        return dates(cells) if self.kind == DATE else numbers(cells)

    def expected(self, cells: Cells) -> str:
        """What a cell of this column is, as a sentence for messages about a cell (1,) that is none."""
        if self.values:
            return f"Expected one of {printable(', '.join(map(repr, self.values)), 200)}."
        if self.kind == DATE:
            return "Expected a date in ISO 8601, such as 2024-02-29."
        if np.isinf(self.parse(cells)).any():
            return "Expected a finite number."
        return f"Expected a number at most {LARGEST:g} times the spread of {self.scale:.6g} from the center."

    def decode(self, values: NDArray[np.float64]) -> list[str]:
        """The inverse: values (n, width) -> texts; empty for NaN."""
        missing = np.isnan(values[:, 0])
        if self.kind in NUMERIC:
            decoded = [self._text(number) for number in self.numbers(np.nan_to_num(values[:, 0])).tolist()]
        elif self.kind == BINARY:
            decoded = [self.values[int(value > 0.5)] for value in values[:, 0].tolist()]
        else:
            decoded = [self.values[place] for place in np.nan_to_num(values).argmax(axis=1).tolist()]
        return ["" if each else text for each, text in zip(missing.tolist(), decoded, strict=True)]

    def numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of a numeric column in its own units, between its lowest and highest number."""
        with np.errstate(over="ignore", invalid="ignore"):
            plain = np.clip(self.inverse(values * self.scale + self.center), self.low, self.high)
            if self.kind == DATE and self.step:
                plain = np.round(plain / self.step) * self.step
            rounded = plain if self.decimals is None else np.round(plain, self.decimals)
        return np.clip(rounded, self.low, self.high)

    def _encode_numbers(self, given: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        bad = np.isinf(given)
        with np.errstate(invalid="ignore", over="ignore"):
            values = (self.transform(given) - self.center) / self.scale
            bad |= np.abs(values) > LARGEST
        values[bad] = np.nan
        return values[:, None], bad

    def _text(self, number: float) -> str:
        if self.values:
            return self.values[min(max(round(number), 0), len(self.values) - 1)]
        if self.kind == DATE:
            return date_text(number, timed=0 < self.step < DAY)
        if self.decimals is not None:
            return f"{number + 0.0:.{self.decimals}f}"
        spread = number * self.scale if self.is_log else self.scale
        digits = RESOLUTION + math.ceil(math.log10(max(abs(number) / spread, 1))) if spread else LEAST_DIGITS
        return f"{number:.{min(max(digits, LEAST_DIGITS), MOST_DIGITS)}g}"


def date_text(number: float, timed: bool = False) -> str:
    """Seconds since 1970 as a date; with the time of the day, if that is not midnight or `timed`."""
    least, most = (datetime(year, 1, 2, tzinfo=UTC) for year in (1, 9999))
    whole = min(max(round(number), (least - EPOCH).total_seconds()), (most - EPOCH).total_seconds())
    date = EPOCH + timedelta(seconds=whole)
    return date.strftime("%Y-%m-%d") if whole % DAY == 0 and not timed else date.strftime("%Y-%m-%dT%H:%M:%S")


def as_plain(column: Column) -> dict[str, Any]:
    """A column as JSON holds it: without the defaults, as JSON has no infinity."""
    plain = {name: value for name, value in vars(column).items() if value != Column.__dataclass_fields__[name].default}
    return plain | ({"values": list(column.values)} if column.values else {})

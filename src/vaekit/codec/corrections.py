"""Corrections of rounding as bytes: numbers of seven bits a byte, each place relative to the one before."""

from collections.abc import Iterable, Sequence

from vaekit.codec.rounding import Correction, Place


def correction_bytes(corrections: Iterable[Correction]) -> bytes:
    """Corrections, sorted."""
    made, batch = bytearray(), 0
    for place, variable, odd in sorted(corrections):
        for number in (place.batch - batch, place.part, place.step, 2 * variable + odd):
            made += _varint(number)
        batch = place.batch
    return bytes(made)


def corrections_from(content: bytes) -> list[Correction]:
    """The inverse.

    Raises:
        ValueError: the bytes end in the middle of a correction.
    """
    numbers = _numbers(content)
    if len(numbers) % 4:
        raise ValueError("the corrections are truncated")
    found, batch = [], 0
    for ahead, part, step, last in zip(*(numbers[start::4] for start in range(4)), strict=True):
        batch += ahead
        found.append(Correction(Place(batch, part, step), last // 2, bool(last % 2)))
    return found


def _varint(number: int) -> bytes:
    made = bytearray()
    while number >= 128:
        made.append(number % 128 + 128)
        number //= 128
    return bytes([*made, number])


def _numbers(content: bytes) -> Sequence[int]:
    found, number, shift = [], 0, 0
    for byte in content:
        number += (byte % 128) << shift
        if byte >= 128:
            shift += 7
        else:
            found.append(number)
            number = shift = 0
    if shift:
        raise ValueError("the corrections are truncated")
    return found

"""Audio formats."""

import pytest

from vaekit.audio_format import MAX_SAMPLE_RATE, AudioFormat


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (-1, 1), (MAX_SAMPLE_RATE + 1, 1), (8000, 0), (8000, -2)])
def test_impossible_formats_are_refused(rate: int, channels: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        AudioFormat(rate, channels)


def test_a_format_is_a_value() -> None:
    assert AudioFormat(48_000, 2) == AudioFormat(48_000, 2)
    assert len({AudioFormat(48_000, 2), AudioFormat(48_000, 1), AudioFormat(48_000, 2)}) == 2

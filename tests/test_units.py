import pytest

from gms_hookd.units import duration, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("600", 600), ("1.5", 1.5), ("250ms", 0.25), ("90s", 90),
        ("10m", 600), ("1.5h", 5400), ("1h30m", 5400), ("90d", 7776000),
        ("2w", 1209600), ("1d12h", 129600), ("36500d", 3153600000),
    ],
)  # fmt: skip
def test_duration_is_in_seconds(text, seconds):
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "m", "10 m", "10M", "-1", "+1", "10min", "1e3", "inf", "nan", "1_0", "٣m",
     "10m\n", "m10", ".5s", "1.s", "36501d", "9" * 400, "1" * 12 + "d"],
)  # fmt: skip
def test_what_is_no_duration_is_a_value_error_of_one_line(text):
    with pytest.raises(ValueError, match=r"^(not a duration|longer than)[^\n]+$"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("0", 0), ("512", 512), ("512B", 512), ("1KB", 1000), ("1KiB", 1024),
        ("25MiB", 26214400), ("25mib", 26214400), ("1.5 MiB", 1572864),
        ("2GB", 2 * 10**9), ("1GiB", 2**30), ("1048576GiB", 2**50),
    ],
)  # fmt: skip
def test_size_is_in_bytes(text, bytes_):
    assert size(text) == bytes_
    assert type(size(text)) is int


@pytest.mark.parametrize(
    "text",
    ["", "MiB", "25M", "-1", "1e3", "0.3B", "inf", "1  B", "1B\n", "٣", "1048577GiB",
     "9" * 400],
)  # fmt: skip
def test_what_is_no_size_is_a_value_error_of_one_line(text):
    with pytest.raises(ValueError, match=r"^not a [^\n]+$"):
        size(text)

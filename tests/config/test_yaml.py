"""What loads() accepts means what PyYAML's safe_load says; all else is a YamlError."""

import itertools
import math
import random
import struct
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from gms_hookd.config.yaml import YamlError, loads

INF = float("inf")


def typed(value):
    """Make 1, 1.0 and True three values, and nan equal to itself."""
    if isinstance(value, dict):
        return [(typed(key), typed(value[key])) for key in value]
    if isinstance(value, list):
        return [typed(item) for item in value]
    exact = struct.pack(">d", value) if isinstance(value, float) else repr(value)
    return type(value).__name__, exact


SCALARS = [
    ("yes", True), ("Yes", True), ("YES", True), ("yEs", "yEs"), ("y", "y"),
    ("no", False), ("on", True), ("Off", False), ("TRUE", True), ("False", False),
    ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nUll", "nUll"),
    ("0", 0), ("-0", 0), ("+12", 12), ("017", 15), ("08", "08"), ("0o17", "0o17"),
    ("0x1F", 31), ("-0x1f", -31), ("0X1F", "0X1F"), ("0b101", 5), ("1_000", 1000),
    ("_1", "_1"), ("12:30", 750), ("-12:30", -750), ("12:60", "12:60"),
    ("1:2:3", 3723), ("9223372036854775807", 2**63 - 1),
    ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-.5", "-.5"), ("-0.0", -0.0),
    ("1e3", "1e3"), ("1.0e3", "1.0e3"), ("1.0e+3", 1000.0), ("1_0.5", 10.5),
    ("1:30.5", 90.5), (".inf", INF), ("-.INF", -INF), ("+.Inf", INF),
    ("-.nan", "-.nan"), (".Nan", ".Nan"),
    ("2001-01-31", date(2001, 1, 31)), ("2001-1-31", "2001-1-31"),
    ("2001-12-14t21:59:43.10-05:00",
     datetime(2001, 12, 14, 21, 59, 43, 100000, timezone(timedelta(hours=-5)))),
    ("2001-12-14  1:59:43 Z", datetime(2001, 12, 14, 1, 59, 43, tzinfo=UTC)),
    ("2001-1-4 21:59:43.1234567", datetime.fromisoformat("2001-01-04T21:59:43.123456")),
    ("2001-12-14 21:59", "2001-12-14 21:59"),
    ("a b  c", "a b  c"), ("a#b", "a#b"), ("a:b", "a:b"), ("::1", "::1"),
    ("a :b", "a :b"), ("-a", "-a"), ("?a", "?a"), (":a", ":a"), ("---", "---"),
    ("http://x/?a=b&c=d#e", "http://x/?a=b&c=d#e"), ("10.0.0.0/8", "10.0.0.0/8"),
    ("it's", "it's"), ("a,b]}", "a,b]}"), ("日本", "日本"), ("=a", "=a"),
    ('""', ""), ("''", ""), ("'it''s # x: y'", "it's # x: y"), ("'\\n'", "\\n"),
    (r'"\0\a\b\t\n\v\f\r\e"', "\0\a\b\t\n\v\f\r\x1b"),
    (r'"\"\\\/\ \N\_\L\P"', '"\\/ \x85\xa0\u2028\u2029'),
    (r'"\x41\u00e9\U0001F600"', "Aé😀"), ('"yes"', "yes"), ("'1'", "1"),
    ('"a: b"', "a: b"), ('"<<"', "<<"), ('"="', "="),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[s[0] for s in SCALARS])
@pytest.mark.parametrize(
    "form", ["a: {}", "a: {} # c", "- {}", "a:\n  {}\n", "-\n  {}"]
)
def test_scalar_has_the_type_of_yaml_1_1(form, text, value):
    found = loads(form.format(text))
    assert typed(found["a" if "a" in form else 0]) == typed(value)


def test_not_a_number_is_a_float():
    assert all(map(math.isnan, loads("[.nan, .NaN, .NAN]")))


GMS = """\
# Git Manage Service Configuration

server:
  # Default: 8080
  port: 12345
database:
  type: sqlite
  # dsn: "user:pass@tcp(127.0.0.1:3306)/dbname?charset=utf8mb4"

webhook:
  secret: "my-secret-key"   # change this
  \x20
  rate_limit: 100
  ip_whitelist:
    - "127.0.0.1"
    - 192.168.1.0/24 # office
debug: false
rpc: {port: 8888}
lint:
storage:
  buckets:
  - name: a
    path: /x
  -   name: b
      path:
"""
GMS_MEANS = {
    "server": {"port": 12345},
    "database": {"type": "sqlite"},
    "webhook": {
        "secret": "my-secret-key",
        "rate_limit": 100,
        "ip_whitelist": ["127.0.0.1", "192.168.1.0/24"],
    },
    "debug": False,
    "rpc": {"port": 8888},
    "lint": None,
    "storage": {"buckets": [{"name": "a", "path": "/x"}, {"name": "b", "path": None}]},
}


@pytest.mark.parametrize("text", [GMS, GMS.replace("\n", "\r\n"), "---\n" + GMS])
def test_a_file_of_gms_is_read(text):
    assert typed(loads(text)) == typed(GMS_MEANS)


DOCUMENTS = [
    ("", None), ("# c\n\n  # d", None), ("---", None), ("--- # c\na: 1", {"a": 1}),
    ("# c\n---\n- a\n", ["a"]), ("text", "text"), ("  a: 1\n  b: 2", {"a": 1, "b": 2}),
    ("- - a\n  - b\n- c", [["a", "b"], "c"]), ("- a: 1\n  b:\n  - 2\n-\n- ~",
     [{"a": 1, "b": [2]}, None, None]),
    ("a:\n- b\n-\nc:\n  -\n    d: 1", {"a": ["b", None], "c": [{"d": 1}]}),
    ("a : 1\n'b' : 2\n\"c\": 3", {"a": 1, "b": 2, "c": 3}),
    ("2: a\nyes: b\n~: c\n1.5: d\n2001-01-01: e",
     {2: "a", True: "b", None: "c", 1.5: "d", date(2001, 1, 1): "e"}),
    ("a: [1, 'b', [], {}]", {"a": [1, "b", [], {}]}),
    ("a: [  # c\n1,\n\n      b c, # d\n  ]\nb: 1", {"a": [1, "b c"], "b": 1}),
    ('{"a":1, b: {c: },\nd:\n [x,], e: }',
     {"a": 1, "b": {"c": None}, "d": ["x"], "e": None}),
    ("[a#b, -, -1, http://x:80/y]", ["a#b", "-", -1, "http://x:80/y"]),
    ("a:\n\n    # c\n  b", {"a": "b"}), ("- # c\n a", ["a"]),
    ("::\n", {":": None}), ("a" * 1024 + ": 1", {"a" * 1024: 1}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), DOCUMENTS)
def test_document_has_the_structure_of_yaml(text, value):
    assert typed(loads(text)) == typed(value)


REFUSED = [
    # what the format has and this reader has not
    ("a: &x 1", 1, 4), ("a: *x", 1, 4), ("a: !t 1", 1, 4), ("a: !!str 1", 1, 4),
    ("a: |\n  b", 1, 4), ("a: >-\n  b", 1, 4), ("%YAML 1.1\n---\na: 1", 1, 1),
    ("a: 1\n---\nb: 1", 2, 1), ("---\n---", 2, 1), ("--- a", 1, 1), ("a\n...", 2, 1),
    ("? a\n: b", 1, 1), (": a", 1, 1), ("<<: {a: 1}", 1, 1), ("a: <<", 1, 4),
    ("a: =", 1, 4), ("=: a", 1, 1), ("a: @x", 1, 4), ("a: `x", 1, 4), ("a: %x", 1, 4),
    ("a: b\n  c", 2, 3), ("a\nb", 2, 1), ("a: 'b\n  c'", 1, 4), ('a: "b\n c"', 1, 4),
    ('"a\\\n b"', 1, 1), ("[a: 1]", 1, 2), ("{a}", 1, 2), ("{a:1}", 1, 2),
    ("- a: 1\n -b", 2, 2), ("[a]: 1", 1, 4), ("{a: 1}: 1", 1, 7), ("[? a]", 1, 2),
    ("a" * 1025 + ": 1", 1, 1), ("{a\n: 1}", 2, 1), ("[a\nb]", 2, 1), ("[a?b]", 1, 3),
    # duplicate keys, also after their types are known
    ("a: 1\nb: 2\na: 3", 3, 1), ("{a: 1, 'a': 2}", 1, 8), ("1: a\n0x1: b", 2, 1),
    ("1: a\nyes: b", 2, 1), ("0: a\n-0.0: b", 2, 1), ("~: a\nnull: b", 2, 1),
    (".nan: a\n.NaN: b", 2, 1), ("on: 1\ntrue: 2", 2, 1),
    ("2001-01-01 0:00:00 Z: 1\n2001-01-01 1:00:00 +1: 2", 2, 1),
    # characters
    ("a:\t1", 1, 3), ("\ta: 1", 1, 1), ("a: 1\t# c", 1, 5), ("a: 'b\tc'", 1, 4),
    ("- a\n-\tb", 2, 2), ("\ufeffa: 1", 1, 1), ("a: \x00", 1, 4), ("a: \x7f", 1, 4),
    ("a: 1\rb: 2", 1, 5), ("a: x\x85", 1, 5), ("a\n\n  \u2028", 3, 3), ("\ud800", 1, 1),
    # numbers and escapes
    ("a: 0x_", 1, 4), ("- 0b_", 1, 3), ("2001-02-30", 1, 1), ("0000-01-01", 1, 1),
    ("2001-01-01 25:00:00", 1, 1), ("2001-01-01 1:00:00 +24", 1, 1), ("9" * 19, 1, 1),
    ("9" * 5000, 1, 1), ("1" + ":1" * 500000 + ".", 1, 1), (r'a: "\q"', 1, 4),
    (r'a: "\x4"', 1, 4), (r'"\ud800"', 1, 1), (r'"\U00110000"', 1, 1),
    # structure
    ("a: b: c", 1, 4), ("a: - b", 1, 4), ("a: b:", 1, 4), ("- a\nb: 1", 2, 1),
    ("a: 1\n- b", 2, 1), ("a: 1\n b: 2", 2, 2), ("a:\n    b: 1\n  c: 2", 3, 3),
    ("  a: 1\nb: 2", 2, 1), ("a:\nb", 2, 1), ("a: 'b' c", 1, 8), ("a: [1] 2", 1, 8),
    ("a: [1", 1, 4), ("{a: 1", 1, 1), ("[1, 2}", 1, 6), ("]", 1, 1), ("[,]", 1, 2),
    ("[a,,b]", 1, 4), ("{a: 1 b: 2}", 1, 5), ("a: 'b", 1, 4), ("a: [1]# c", 1, 7),
    ("a: [1,\n---\n2]", 2, 1), ("[- a]", 1, 2), ("{a: b: c}", 1, 5), ("a:\n[1]", 2, 1),
    ("[" * 1000000, 1, 65), ("- " * 500000, 1, 129), ("a: ]", 1, 4),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column"), REFUSED, ids=[repr(r[0][:30]) for r in REFUSED]
)
def test_the_rest_is_refused_with_line_and_column(text, line, column):
    with pytest.raises(
        YamlError, match=f"^line {line}, column {column}: .+"
    ) as refusal:
        loads(text)
    assert (refusal.value.line, refusal.value.column) == (line, column)
    assert len(str(refusal.value).splitlines()) == 1


# --- against PyYAML

ODD = [*":-#,[]{}'\"?&*!|>%@`~=\\\t\r\x85\ufeff", "<<", "---", "..."]
WORDS = [*(text for text, _ in SCALARS), "", "a", "key", "a b", "{a, b}", "[a: 1]"]
GAPS = ["", " ", "  ", "\n", "\n  ", ": ", ":\n  ", "\n- ", ", ", " # c\n", "\r\n"]


def soup(rng):
    return "".join(
        rng.choice(rng.choice([WORDS, ODD])) + rng.choice(GAPS)
        for _ in range(rng.randint(1, 8))
    )


def flow(rng, depth):
    gap = rng.choice(["", " ", "\n ", " # c\n"])
    kind = rng.random() if depth else 0
    if kind < 0.6:
        return rng.choice(WORDS)
    count = rng.randint(0, 3)
    if kind < 0.8:
        return (
            f"[{gap}{f',{gap}'.join(flow(rng, depth - 1) for _ in range(count))}{gap}]"
        )
    pairs = [f"{rng.choice(WORDS)}: {flow(rng, depth - 1)}" for _ in range(count)]
    return f"{{{f',{gap}'.join(pairs)}{gap}}}"


def block(rng, indent, depth):
    if depth == 0 or rng.random() < 0.2:
        return " " * indent + flow(rng, 2) + rng.choice(["\n", "\n", " # c\n", "\n\n"])
    entry = mapping_entry if rng.random() < 0.6 else sequence_entry
    return "".join(entry(rng, indent, depth) for _ in range(rng.randint(1, 3)))


def mapping_entry(rng, indent, depth):
    key = " " * indent + rng.choice(WORDS) + ":"
    if rng.random() < 0.5:
        return f"{key} {flow(rng, 2)}\n"
    return f"{key}\n" + block(rng, indent + rng.choice([0, 1, 2, 2, 4]), depth - 1)


def sequence_entry(rng, indent, depth):
    inner = indent + rng.choice([2, 2, 3])
    return " " * indent + "-" + block(rng, inner, depth - 1)[indent + 1 :]


def mutated(rng, text):
    for _ in range(rng.randint(1, 3)):
        at, end = sorted(rng.choices(range(len(text) + 1), k=2))
        insert = rng.choice([rng.choice(ODD), rng.choice(GAPS), text[at : at + 9], ""])
        text = text[:at] + insert + text[min(end, at + rng.randint(0, 4)) :]
    return text


def documents(seed, count):
    rng = random.Random(seed)
    for _ in range(count // 4):
        yield soup(rng)
        yield flow(rng, 3)
        yield (whole := block(rng, 0, 3))
        yield mutated(rng, whole)


def outcome(load, refusal, text):
    try:
        return typed(load(text))
    except refusal:
        return None


def test_generated_and_mutated_files_mean_what_pyyaml_says():
    yaml = pytest.importorskip("yaml")
    small = map("".join, itertools.product("a1:-[]{},#'\" \n?.", repeat=3))
    accepted = 0
    for text in itertools.chain(small, documents(seed=1, count=6000)):
        ours = outcome(loads, YamlError, text)
        accepted += ours is not None
        assert ours is None or ours == outcome(yaml.safe_load, Exception, text), text
    assert accepted > 2000


def test_any_text_is_a_value_or_a_yaml_error():
    for text in documents(seed=2, count=2000):
        outcome(loads, YamlError, text)

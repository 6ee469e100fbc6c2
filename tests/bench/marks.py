"""What the front is to reach beside others, and the table that tells what it did."""

import math
import operator
import statistics
from dataclasses import dataclass

from peers import Committing, Flask, Go, Ours, Plain, Storeless, Webhook

SENSES = {">=": (operator.ge, min), "<=": (operator.le, max)}
NEW = tuple(f"new connection, {count} clients" for count in (16, 64, 256))
LARGE = "new connection, 64 clients, 20 KB"
KEPT = "keep-alive, 16 clients"
SLOW = tuple(f"fsync + 5 ms, {count} clients" for count in (1, 64, 256))
HELD = "1,000 half-sent requests held"
NONE_HELD = "none held"
ONE_SYNC = "a sync + 3 ms"


@dataclass(frozen=True)
class Mark:
    """A figure of ours beside a peer's: of several loads the worst counts."""

    name: str
    loads: tuple[str, ...]
    peer: str
    figure: str
    sense: str
    target: float

    def reached(self, tables):
        """Median over the rounds; None where it was not measured."""
        found = [tables[load] for load in self.loads if load in tables]
        values = [self.beside(rows) for rows in found if self.peer in rows]
        return SENSES[self.sense][1](values, default=None)

    def beside(self, rows):
        return compared(rows[Ours.name], rows[self.peer], self.figure, self.grown)

    @property
    def grown(self):
        return self.figure.startswith("RSS")

    def told(self, tables):
        value, unit = self.reached(tables), " MiB" if self.grown else "x"
        target = f"{self.sense} {self.target:g}{unit}"
        what = f"{self.figure}, {self.loads[0]} / {self.peer}"
        if len(self.loads) > 1:
            what = what.replace(" clients", " clients or more")
        if value is None:
            return self.name, what, target, "-", "not measured"
        met = SENSES[self.sense][0](value, self.target)
        return self.name, what, target, f"{value:.3g}{unit}", "yes" if met else "no"


def compared(ours, theirs, figure, grown=False):
    """The median ratio, or difference, of what was measured in the same round."""
    pairs = zip(ours[figure], theirs[figure], strict=True)
    return statistics.median(a - b if grown else a / (b or math.nan) for a, b in pairs)


def marks(name, loads, peer, *goals):
    """The marks of one name and load, one for each figure."""
    return [Mark(name, loads, peer, *goal) for goal in goals]


RATE, P50, P99, CPU, RSS = HEADS = ("req/s", "p50 ms", "p99 ms", "CPU us", "RSS MiB")
MANY = NEW[1:2]
MARKS = [
    *marks("T1", MANY, Webhook.name, (RATE, ">=", 2.3), (P99, "<=", 0.25)),
    *marks("T2", MANY, Plain.name, (RATE, ">=", 5), (CPU, "<=", 0.2)),
    *marks("T3", MANY, Go.name, (RATE, ">=", 0.8), (CPU, "<=", 1.3)),
    *marks("T3", (LARGE,), Go.name, (RATE, ">=", 0.9), (CPU, "<=", 0.75)),
    *marks("T4", MANY, Flask.name, (RATE, ">=", 4), (CPU, "<=", 0.16)),
    *marks("T5", MANY, Storeless.name, (RATE, ">=", 0.88), (CPU, "<=", 1.15)),
    *marks("T6", SLOW[:1], ONE_SYNC, (P50, "<=", 1)),
    *marks("T6", SLOW[1:2], Committing.name, (RATE, ">=", 25)),
    *marks("T6", SLOW[2:], Committing.name, (RATE, ">=", 50)),
    *marks("T7", NEW, Webhook.name, (CPU, "<=", 0.1)),
    *marks("T8", (KEPT,), Plain.name, (P50, "<=", 0.05)),
    *marks("T9", (HELD,), NONE_HELD, (P50, "<=", 1.3), (RSS, "<=", 1)),
]


def show_marks(tables):
    rows = [mark.told(tables) for mark in MARKS]
    for row in [("mark", "compared", "target", "reached", "met"), *rows]:
        name, what, target, value, met = row
        print(f"{name:<6}{what:<58}{target:>10}{value:>12}  {met}")

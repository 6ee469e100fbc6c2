"""What a notice says: one table of sentences, in English and in Chinese."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gms_hookd.notify.base import Level

LANGUAGES = ("en", "zh")
LISTED = 20  # tasks that a digest names
_MARKS: Mapping[str, tuple[str, str]] = {
    "failed": ("FAILED", "失败"),
    "conflict": ("CONFLICT", "冲突"),
    "recovered": ("RECOVERED", "已恢复"),
    "changed": ("CHANGED", "有变更"),
    "success": ("OK", "成功"),
    "stalled": ("STALLED", "停滞"),
    "renamed": ("RENAMED", "已改名"),
    "store": ("STORE", "存储"),
    "disk": ("DISK", "磁盘"),
    "test": ("TEST", "测试"),
}
_LEVELS = {
    "recovered": Level.GOOD,
    "success": Level.GOOD,
    "test": Level.GOOD,
    "changed": Level.CHANGED,
    "conflict": Level.WARNING,
    "stalled": Level.WARNING,
    "renamed": Level.WARNING,
}
_SENTENCES: Mapping[str, tuple[str, str]] = {
    "recovered": (
        "[RECOVERED after {failures} {times}, {lasted}] {task}",
        "[已恢复] {task}（此前失败 {failures} 次，历时 {lasted}）",
    ),
    "stalled": (
        "[STALLED] the queue has not moved for {lasted}",
        "[停滞] 队列已有 {lasted} 没有进展",
    ),
    "store": ("[STORE] the store cannot be used", "[存储] 存储无法使用"),
    "disk": ("[DISK] the disk is nearly full", "[磁盘] 磁盘空间即将用尽"),
    "stalled_over": (
        "[RECOVERED after {lasted}] the queue moves again",
        "[已恢复，历时 {lasted}] 队列恢复运行",
    ),
    "store_over": (
        "[RECOVERED after {lasted}] the store can be used again",
        "[已恢复，历时 {lasted}] 存储恢复可用",
    ),
    "disk_over": (
        "[RECOVERED after {lasted}] the disk has room again",
        "[已恢复，历时 {lasted}] 磁盘空间恢复充足",
    ),
    "free": ("only {said} are free where the state is", "状态目录所在磁盘仅剩 {said}"),
    "still": (
        "[STILL {mark} for {lasted}, {failures} {times}] {task}",
        "[仍未恢复：{mark}，已 {lasted}，失败 {failures} 次] {task}",
    ),
    "plain": ("[{mark}] {task}", "[{mark}] {task}"),
    "digest": (
        "[{mark}] {count} notices about {tasks} tasks",
        "[{mark}] {count} 条通知，涉及 {tasks} 个任务",
    ),
    "digest_of_one": (
        "[{mark}] {count} notices about {task}",
        "[{mark}] {count} 条通知，任务 {task}",
    ),
    "lost": (
        "{lost} older notices were dropped: too many waited",
        "等待的通知过多，已丢弃较早的 {lost} 条",
    ),
    "fallback": ("could not be delivered to {target}", "未能送达 {target}"),
    "more": ("... and {more} more", "……另有 {more} 条"),
    "test": (
        "[TEST] gms-hookd on {host} reaches you",
        "[测试] 主机 {host} 上的 gms-hookd 可以通知到您",
    ),
    "once": ("failure", ""),
    "often": ("failures", ""),
    "run": ("run", "运行"),
    "attempt": ("attempt", "尝试"),
    "trigger": ("trigger", "触发"),
    "way": ("way", "路径"),
    "changes": ("changes", "变更"),
    "since": ("failing since", "失败开始于"),
    "began": ("since", "开始于"),
    "host": ("host", "主机"),
    "day": ("d", "天"),
    "hour": ("h", "小时"),
    "minute": ("min", "分钟"),
    "second": ("s", "秒"),
}
SENTENCES: Mapping[str, Mapping[str, str]] = {
    language: {key: said[n] for key, said in _SENTENCES.items()}
    for n, language in enumerate(LANGUAGES)
}


class EventFacts(NamedTuple):
    """One event, as far as its text needs it; `lasted` is in seconds."""

    event: str
    task: str = ""
    failures: int = 0
    lasted: float = 0.0
    reminder: bool = False
    reason: str = ""
    condition: str = ""


def level(event: str) -> Level:
    """Return how bad an event is."""
    return _LEVELS.get(event, Level.BAD)


def mark(event: str, language: str) -> str:
    """Return the word that stands first in a title."""
    words = _MARKS.get(event)
    return words[LANGUAGES.index(language)] if words else event.upper()


def title(facts: EventFacts, language: str) -> str:
    """Return the title of a notice about one event."""
    words = SENTENCES[language]
    form = "plain"
    if facts.condition:
        form = facts.condition + ("_over" if facts.event == "recovered" else "")
    elif facts.event == "recovered" and facts.failures:
        form = "recovered"
    elif facts.reminder:
        form = "still"
    return words[form].format(
        mark=mark(facts.event, language),
        task=facts.task or "gms-hookd",
        failures=facts.failures,
        times=words["once" if facts.failures == 1 else "often"],
        lasted=duration(facts.lasted, language),
    )


def digest(each: Sequence[EventFacts], language: str) -> tuple[str, str, Level]:
    """Return title, lines and level of a message about many events; the worst leads."""
    words = SENTENCES[language]
    worst = max(each, key=lambda facts: _badness(level(facts.event)))
    names = list(dict.fromkeys(facts.task for facts in each if facts.task))
    head = words["digest_of_one" if len(names) == 1 else "digest"].format(
        mark=mark(worst.event, language),
        count=len(each),
        tasks=len(names),
        task=names[0] if names else "",
    )
    return head, "\n".join(_lines(each, language)), level(worst.event)


def _lines(each: Sequence[EventFacts], language: str) -> list[str]:
    lines = [_line(facts, language) for facts in each[:LISTED]]
    if len(each) > LISTED:
        more = SENTENCES[language]["more"]
        lines.append(more.format(more=len(each) - LISTED))
    return lines


def free(said: str, language: str) -> str:
    """Return how much room a disk has, in words."""
    return SENTENCES[language]["free"].format(said=said)


def _line(facts: EventFacts, language: str) -> str:
    reason = f": {facts.reason}" if facts.reason else ""
    return f"{title(facts, language)}{reason}"


def _badness(found: Level) -> int:
    return (Level.GOOD, Level.CHANGED, Level.WARNING, Level.BAD).index(found)


def lost(count: int, language: str) -> str:
    """Return the line that says how many notices were dropped."""
    return SENTENCES[language]["lost"].format(lost=count)


def not_delivered(target: str, language: str) -> str:
    """Return the line that says to whom it was to go first."""
    return SENTENCES[language]["fallback"].format(target=target)


def test(host: str, language: str) -> str:
    """Return the title of a notice that tries a target out."""
    return SENTENCES[language]["test"].format(host=host)


def label(word: str, language: str) -> str:
    """Return what a fact is called."""
    return SENTENCES[language][word]


def duration(seconds: float, language: str) -> str:
    """Return seconds as people say it, in one or two units."""
    words = SENTENCES[language]
    whole = max(int(seconds), 0)
    sizes = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    parts: list[str] = []
    for size, unit in sizes:
        count, whole = divmod(whole, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {words[unit]}" if count else "")
    said = [part for part in parts[:2] if part]
    return " ".join(said) or f"0 {words['second']}"

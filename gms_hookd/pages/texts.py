"""What pages say: one table of sentences, in English and in Chinese.

What git, a host or a forge said stays in its own words.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

LANGUAGES = ("en", "zh")
_SPANS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[\w-]*)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?")
_SENTENCES: Mapping[str, tuple[str, str]] = {
    "lang": ("en", "zh"),
    "queued": ("queued", "排队中"),
    "running": ("running", "运行中"),
    "success": ("success", "成功"),
    "conflict": ("conflict", "冲突"),
    "failed": ("failed", "失败"),
    "cancelled": ("cancelled", "已取消"),
    "accepted": ("accepted", "已接受"),
    "nothing": ("nothing to do", "无需处理"),
    "refused": ("refused", "已拒绝"),
    "unchanged": ("unchanged", "未变"),
    "created": ("created", "新建"),
    "updated": ("updated", "更新"),
    "forced": ("forced", "强制更新"),
    "deleted": ("deleted", "删除"),
    "rejected": ("rejected", "被拒绝"),
    "all": ("all", "全部"),
    "day": ("d", "天"),
    "hour": ("h", "小时"),
    "minute": ("min", "分"),
    "second": ("s", "秒"),
    "ago": ("{span} ago", "{span}前"),
    "in": ("in {span}", "{span}后"),
    "now": ("now", "现在"),
    "never": ("never", "从未"),
    "none": ("none", "无"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "serving": ("serving since {span}", "已运行 {span}"),
    "not_serving": ("no daemon runs", "守护进程未运行"),
    "refreshes": ("refreshes itself while something runs", "有任务运行时自动刷新"),
    "not_ready": ("not ready: {problem}", "未就绪：{problem}"),
    "needs_hands": ("Needs hands", "需要处理"),
    "all_well": ("Nothing needs hands.", "没有需要处理的问题。"),
    "more_failing": ("and {count} more tasks that fail", "另有 {count} 个任务失败"),
    "failing_once": ("{ago}", "{ago}"),
    "failing": (
        "{count} times without success since {ago}",
        "自 {ago} 起连续 {count} 次未成功",
    ),
    "at_least": (
        "at least {count} times without success since {ago}",
        "自 {ago} 起至少连续 {count} 次未成功",
    ),
    "next_try": ("next try {when}", "下次尝试：{when}"),
    "next": ("Next", "下次"),
    "no_next_try": (
        "not tried again until something triggers it",
        "在下一次触发之前不再尝试",
    ),
    "restart_for": (
        "a restart is needed for {keys}",
        "以下设置需要重启才能生效：{keys}",
    ),
    "dead_notices": (
        "{count} notices for {target} were given up: {error}",
        "发往 {target} 的 {count} 条通知已放弃：{error}",
    ),
    "queue": ("Queue", "队列"),
    "queue_is": (
        "{running} running, {queued} waiting",
        "{running} 个运行中，{queued} 个等待",
    ),
    "oldest": ("the oldest since {span}", "最早的已等待 {span}"),
    "empty_queue": ("Nothing runs, nothing waits.", "没有运行中或等待的任务。"),
    "scheduled": ("Next by schedule:", "按计划即将运行："),
    "last_day": ("Last 24 hours, by the hour", "最近 24 小时（每小时）"),
    "last_month": ("Last 30 days, by the day", "最近 30 天（每天）"),
    "no_runs_then": ("no runs", "没有运行"),
    "up_and_down": (
        "Bars: success upward, conflict and failed downward.",
        "柱形：向上为成功，向下为冲突和失败。",
    ),
    "tasks": ("Tasks", "任务"),
    "task": ("Task", "任务"),
    "runs": ("Runs", "运行"),
    "run": ("Run", "运行"),
    "recent_runs": ("Recent runs", "最近的运行"),
    "recent_deliveries": ("Recent deliveries", "最近的投递"),
    "deliveries": ("Deliveries", "投递"),
    "delivery": ("Delivery", "投递"),
    "hook": ("Hook", "钩子"),
    "last_run": ("Last run", "上次运行"),
    "history": ("History, newest right", "历史（右侧最新）"),
    "way": ("Source → target", "源 → 目标"),
    "source": ("Source", "源"),
    "target": ("Target", "目标"),
    "refspecs": ("Refs", "引用"),
    "mirror": ("every branch and tag", "所有分支和标签"),
    "policy": ("May", "允许"),
    "force": ("overwrite", "覆盖"),
    "prune": ("delete", "删除"),
    "forward_only": ("fast-forward only", "仅快进"),
    "enabled": ("Enabled", "已启用"),
    "disabled": ("disabled", "已停用"),
    "pattern": ("pattern", "模式"),
    "makes": ("Makes tasks", "自动建立任务"),
    "tasks_at_most": (
        "one a repository that a delivery names, {count} at most",
        "为投递涉及的每个仓库建立一个，最多 {count} 个",
    ),
    "made_by": ("Made by the pattern", "由模式建立"),
    "timeout": ("Time limit", "时限"),
    "cron": ("Schedule", "计划"),
    "seconds": ("{count} s", "{count} 秒"),
    "added": ("Added", "添加于"),
    "changed": ("Changed", "修改于"),
    "key": ("Key", "键"),
    "task_gone": (
        "This task was removed; its runs are kept.",
        "此任务已删除，其运行记录仍保留。",
    ),
    "status": ("Status", "状态"),
    "when": ("When", "时间"),
    "trigger": ("Trigger", "触发"),
    "took": ("Took", "耗时"),
    "result": ("Result", "结果"),
    "reason": ("Reason", "原因"),
    "attempt": ("Attempt", "尝试"),
    "of_attempts": ("{attempt} of at most {most}", "第 {attempt} 次，最多 {most} 次"),
    "waits_for": ("Waits for", "等待"),
    "asked": ("Asked for", "请求于"),
    "began": ("Began", "开始于"),
    "ended": ("Ended", "结束于"),
    "range": ("Commits", "提交"),
    "refs": ("Refs", "引用"),
    "ref": ("Ref", "引用"),
    "old_new": ("Old → new", "旧 → 新"),
    "log": ("Log", "日志"),
    "log_end": ("Its end; the whole of it:", "日志末尾；完整日志："),
    "more_refs": ("and {count} more", "另有 {count} 个"),
    "came": ("Came", "到达"),
    "client": ("From", "来自"),
    "event": ("Event", "事件"),
    "answer": ("Answered", "应答"),
    "provider": ("Provider", "平台"),
    "delivery_key": ("Sender's id", "发送方编号"),
    "headers": ("Headers", "请求头"),
    "body": ("Body", "请求体"),
    "not_kept": ("Not kept.", "未保留。"),
    "bodies_remedy": ("Bodies are kept once this is set:", "设置后将保留请求体："),
    "body_cut": ("Its beginning.", "仅显示开头部分。"),
    "matched": ("What became of it", "处理结果"),
    "no_task": ("It started no run.", "没有启动任何运行。"),
    "started": ("Runs that serve it", "为其服务的运行"),
    "run_gone": ("Its run is no longer kept.", "其运行记录已不再保留。"),
    "commands": ("Commands", "命令"),
    "older": ("older", "更早"),
    "first_page": ("newest", "最新"),
    "next_names": ("next names", "下一页"),
    "from_a": ("from the first name", "回到首页"),
    "filter": ("Filter", "筛选"),
    "find": ("find", "查找"),
    "find_task": ("Task by a part of its name", "按名称的一部分查找任务"),
    "none_found": ("None.", "没有。"),
    "looked_so_far": (
        "Nothing more among those looked through; older ones:",
        "已查看的记录中没有更多；更早的：",
    ),
    "strip": (
        "last {count} runs, newest right: {tally}",
        "最近 {count} 次运行（右侧最新）：{tally}",
    ),
    "tally_of": ("{count} {word}", "{count} 次{word}"),
    "durations": ("How long the runs on this page took", "本页各次运行的耗时"),
    "durations_are": (
        "{count} runs, newest right: {least} to {most}, median {half}",
        "{count} 次（右侧最新）：{least} 到 {most}，中位数 {half}",
    ),
    "durations_marks": (
        "Dots: success; squares: the others.",
        "圆点：成功；方块：其他。",
    ),
    "first": ("No task yet. To begin:", "还没有任务。开始："),
    "counted": ("Since the start", "启动以来"),
    "url": ("URL to call", "调用地址"),
    "secret_place": ("Where the secret goes", "密钥用处"),
    "events": ("Events", "事件"),
    "hook_tasks": ("Only for", "仅限"),
    "queued_count": ("{count} queued a run", "{count} 次已排队"),
    "joined": ("{count} joined one", "{count} 次已合并"),
    "repeated": ("{count} repeated", "{count} 次重复"),
    "filtered": ("{count} filtered", "{count} 次已过滤"),
    "nothing_count": ("{count} concerned nothing", "{count} 次无关"),
    "refused_count": ("{count} refused", "{count} 次已拒绝"),
    "no_url": (
        "set server.public_url to see the whole address",
        "设置 server.public_url 后可见完整地址",
    ),
    "not_configured": ("This hook is not configured now.", "当前未配置此钩子。"),
    "back": ("to the status page", "返回状态页"),
    "error": ("This page cannot be shown", "无法显示此页"),
}
# By language.
SENTENCES: Mapping[str, Mapping[str, str]] = {
    language: {key: said[n] for key, said in _SENTENCES.items()}
    for n, language in enumerate(LANGUAGES)
}


class Words:
    """The sentences of one language, with times as people say them."""

    def __init__(self, language: str = "en") -> None:
        self._sentences = SENTENCES[language]

    def __call__(self, key: str, **values: object) -> str:
        """Return a sentence with its values filled in."""
        sentence = self._sentences[key]
        return sentence.format(**values) if values else sentence

    def span(self, milliseconds: float) -> str:
        """Return how long that is, in its two largest units."""
        left = max(int(milliseconds / 1000), 0)
        if 0 < milliseconds < 1000:
            return self._one(round(milliseconds / 1000, 1), "second")
        parts: list[tuple[int, str]] = []
        for name, size in _SPANS:
            count, left = divmod(left, size)
            if count or parts:
                parts.append((count, name))
        shown = [self._one(*part) for part in parts[:2] if part[0]]
        return " ".join(shown) or self._one(0, "second")

    def distance(self, at: int, now: int) -> str:
        """Return how far a time is away, in its largest unit, before `now` or after."""
        far = abs(now - at)
        whole = self.span(far).split(" ")
        number = 1 if self._sentences["lang"] == "zh" else 2
        sentence = "ago" if at <= now else "in"
        return self(sentence, span=" ".join(whole[:number])) if far else self("now")

    def _one(self, count: float, unit: str) -> str:
        between = " " if self("lang") == "en" else ""
        return f"{count:g}{between}{self(unit)}"


def language(accepted: str | None) -> str:
    """Return the language of a page by `Accept-Language` (RFC 9110, 12.5.4)."""
    wanted = [_wanted(each) for each in (accepted or "")[:500].split(",")]
    known = [pair for pair in wanted if pair[1] in LANGUAGES and pair[0] > 0]
    # Of two that are wanted as much the first counts: max keeps it.
    return max(known, key=lambda pair: pair[0], default=(1.0, "en"))[1]


def _wanted(part: str) -> tuple[float, str]:
    found = _RANGE.fullmatch(part.rstrip())
    return (float(found[2] or 1), found[1].lower()) if found else (0.0, "")


def local_time(milliseconds: int) -> str:
    """Return a time to the second with its offset, as the service's machine has it."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    return at.isoformat(sep=" ", timespec="seconds")

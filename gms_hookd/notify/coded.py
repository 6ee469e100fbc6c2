"""The vendors that answer 200 whatever happens, and put a code into the body."""

import re
from collections.abc import Collection, Mapping

from gms_hookd.notify import base
from gms_hookd.payload import load_json_body

THROTTLED = 60.0  # seconds: their limits count by the minute
# Their lists of codes are not whole, and one code may stand for several things.
_BUSY = re.compile(r"too (many|fast)|frequen|limit|busy|过快|太快|频|繁忙|限流", re.I)
NO_REMEDIES: Mapping[int, str] = {}


def judged_by_code(
    answer: base.VendorAnswer,
    fields: Collection[str],
    busy: Collection[int],
    remedies: Mapping[int, str] = NO_REMEDIES,
) -> base.SendResult:
    """Return what the first of `fields` in the body means: 0 is success.

    `busy` are the codes that pass, `remedies` what to do about others.
    An answer without a code is no success: a throttled vendor may answer so.
    """
    try:
        content = load_json_body(answer.body)
    except ValueError:
        content = None
    found = content if isinstance(content, dict) else {}
    code = next((found[name] for name in fields if name in found), None)
    if code == 0 and code is not False:
        return base.SENT
    by_status = base.judged_by_status(answer)
    if not isinstance(code, int):
        unclear = f"an answer without a code: {answer.text}"
        again = base.SendResult(base.Fate.AGAIN, unclear, THROTTLED)
        return again if by_status is base.SENT else by_status
    words = str(found.get("errmsg") or found.get("msg") or "")
    why = f"code {code}: {words}"
    if code in busy or by_status.fate is base.Fate.AGAIN or _BUSY.search(words):
        return base.SendResult(
            base.Fate.AGAIN, why, max(THROTTLED, base.retry_after(answer) or 0.0)
        )
    return base.SendResult(base.Fate.NEVER, why + remedies.get(code, ""))

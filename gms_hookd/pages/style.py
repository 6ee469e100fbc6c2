"""The one style sheet, and the policy that a page is sent with.

Colours have a contrast of at least 4.5 to 1 on their grounds (WCAG 2.2, 1.4.3), light
and dark. On a narrow screen a table becomes a list of cards.
"""

from base64 import b64encode
from hashlib import sha256

STYLE = """
:root{--bg:#fff;--fg:#1c2127;--dim:#57606a;--line:#d5dbe1;
--soft:#f4f6f8;--good:#176f32;--bad:#b3211d;--warn:#855300;--busy:#0b5cad}
@media (prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e2e6ea;--dim:#9da7b3;
--line:#303841;--soft:#1c2229;--good:#56c271;--bad:#ff8078;--warn:#dda63a;
--busy:#70b4ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:0 20px 48px;background:var(--bg);
color:var(--fg);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
a{color:var(--busy);text-decoration:none}
a:hover{text-decoration:underline}
a:focus-visible,input:focus-visible,button:focus-visible,pre:focus-visible{
outline:2px solid var(--busy);outline-offset:2px;border-radius:2px}
header{display:flex;flex-wrap:wrap;gap:0 14px;align-items:baseline;padding:16px 0 12px;
border-bottom:1px solid var(--line);color:var(--dim)}
header strong{font-size:17px;color:var(--fg)}
header .now{margin-left:auto}
h1{font-size:21px;line-height:1.3;margin:22px 0 6px}
h2{font-size:15px;margin:30px 0 6px}
p{margin:6px 0}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Noto Sans Mono",
monospace}
pre{margin:8px 0;padding:10px 12px;background:var(--soft);border-radius:6px;
white-space:pre-wrap;max-height:32em;overflow-y:auto}
ul.commands{list-style:none;margin:8px 0;padding:0}
ul.commands code{display:inline-block;margin:2px 0;padding:3px 9px;
background:var(--soft);border-radius:5px;user-select:all}
.dim,.dim a{color:var(--dim)}
.success{color:var(--good)}.failed,.refused{color:var(--bad)}
.conflict{color:var(--warn)}.running,.queued{color:var(--busy)}
.cancelled,.nothing{color:var(--dim)}
.word{font-weight:600;white-space:nowrap}
.form{display:inline-block;width:1.2em;font-style:normal}
.alarm{margin:12px 0 0;padding:9px 12px;border-left:4px solid var(--bad);
background:var(--soft);color:var(--bad);font-weight:600}
ul.hands{list-style:none;margin:8px 0 0;padding:0}
ul.hands>li{padding:9px 14px;margin:0 0 8px;background:var(--soft);
border-left:4px solid var(--bad);border-radius:0 6px 6px 0}
ul.hands>li.conflict-edge{border-left-color:var(--warn)}
ul.hands p{margin:2px 0}
table{width:100%;border-collapse:collapse}
th{padding:4px 12px 4px 0;text-align:left;font-weight:500;font-size:13px;
color:var(--dim);border-bottom:1px solid var(--line)}
td{padding:6px 12px 6px 0;vertical-align:top;border-bottom:1px solid var(--line)}
td:last-child,th:last-child{padding-right:0}
td.tight{white-space:nowrap}
td.whole{overflow-wrap:normal}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:12px 0}
dt{color:var(--dim)}
dd{margin:0}
nav{display:flex;flex-wrap:wrap;gap:2px 16px;margin:6px 0}
nav [aria-current]{color:var(--fg);font-weight:600}
form{display:flex;flex-wrap:wrap;gap:8px;align-items:baseline;margin:8px 0}
input,button{font:inherit;color:inherit;background:var(--bg);
border:1px solid var(--dim);border-radius:5px;padding:2px 9px;max-width:100%}
.charts{display:grid;grid-template-columns:1fr 1fr;gap:8px 36px}
svg{display:block;max-width:100%}
svg.wide{width:100%;height:76px}
svg.dots{width:100%;max-width:720px}
td svg.strip{margin-left:auto}
svg path{fill:none;stroke:currentColor}
svg .axis{stroke:var(--line)}
@media (max-width:720px){
body{padding:0 14px 36px}
header .now{margin-left:0}
.charts{grid-template-columns:1fr}
table,tbody,tr{display:block}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tr{padding:9px 0;border-bottom:1px solid var(--line)}
td{display:inline-block;padding:0 12px 0 0;border:0;max-width:100%}
td.wide{display:block}
td.whole{overflow-wrap:anywhere}
td svg.strip{margin-left:0}
td:empty{display:none}
dl{grid-template-columns:1fr;gap:0}
dd{margin:0 0 8px}
}
"""
_DIGEST = b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)

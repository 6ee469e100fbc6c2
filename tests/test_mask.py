"""A mask leaves nothing of a secret, however it is written and wherever it was cut."""

import base64
import html
import json
import random
from urllib.parse import quote, quote_plus

import pytest

from gms_hookd.safetext.mask import Mask

SEEN = 12  # characters in a row that nobody may see
LETTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "0123456789abcdef",
    "abcXYZ019-_~.+/=",
    "ab01 %&<>\"'\\/#?@:;!$^{}[]|",
    "äöüß€é密码钥匙xyz09/+",
    '\U0001f511\U0001f512aZ9\\"',
)


def percent(random_, text):
    """Write some of the characters as percent codes, in either case."""
    case = random_.choice("xX")
    codes = ("".join(f"%{byte:02{case}}" for byte in c.encode()) for c in text)
    return "".join(
        code if random_.random() < 0.5 or c in "%&+" else c
        for c, code in zip(text, codes, strict=True)
    )


def escaped(random_, text):
    """Write it as in a JSON string, some of its characters as codes without need."""
    plain = random_.random() < 0.5
    codes = [json.dumps(c, ensure_ascii=plain)[1:-1] for c in text]
    return "".join(
        f"\\u{ord(c):04x}" if c.isalnum() and random_.random() < 0.2 else c
        for code in codes
        for c in ([code] if len(code) > 1 else code)
    ).replace("/", random_.choice(["/", "\\/"]))


CODES = {
    "plain": lambda _, s: s,
    "latin-1": lambda _, s: s.encode().decode("latin-1"),
    "quoted": lambda _, s: quote(s, safe=""),
    "quoted as a path": lambda _, s: quote(s),
    "a form": lambda _, s: quote_plus(s),
    "quoted twice": lambda _, s: quote(quote(s, safe=""), safe=""),
    "percent": percent,
    "json": escaped,
    "json in json": lambda _, s: json.dumps(json.dumps(s))[1:-1],
    "html": lambda _, s: html.escape(s),
    "hex": lambda _, s: s.encode().hex(),
    "HEX": lambda _, s: s.encode().hex().upper(),
    "base64": lambda r, s: base64.b64encode(r.randbytes(r.randrange(4)) + s.encode()),
    "base64 of a user": lambda _, s: base64.b64encode(f"bob:{s}".encode()),
    "base64 inside": lambda r, s: base64.b64encode(b"a" + s.encode() + r.randbytes(5)),
    "base64url": lambda r, s: base64.urlsafe_b64encode(b"x" + s.encode()),
    "base64 quoted": lambda _, s: quote(base64.b64encode(s.encode()), safe=""),
}
SURROUNDINGS = (
    "{}", "x{}y", '"{}"', "https://h/{}?a=b", "\\\\{}\\", "%25{}%", "\u00e9{}\u20ac",
    "&amp;{}&", 'k="\\"{}"', "line\n{}\nline",
)  # fmt: skip


def written(random_, code, secret):
    text = CODES[code](random_, secret)
    return text if isinstance(text, str) else text.decode()


def left(secret, code, random_, text):
    """Name what can be seen of a secret: each run of it in its own code, or plainly."""
    known = {secret, written(random_, code, secret)}
    return [
        whole[n : n + SEEN]
        for whole in known
        for n in range(len(whole) - SEEN + 1)
        if whole[n : n + SEEN] in text
    ]


def made(random_):
    letters = random_.choice(LETTERS)
    return "".join(random_.choices(letters, k=random_.randrange(SEEN, 70)))


@pytest.mark.parametrize("code", CODES)
def test_no_run_of_a_secret_is_left(code):
    random_ = random.Random(f"mask {code}")
    for _ in range(15):
        secrets = [made(random_) for _ in range(random_.randrange(1, 4))]
        mask = Mask([*secrets, "another-secret-of-the-house"])
        secret = random_.choice(secrets)
        around = random_.choice(SURROUNDINGS)
        text = around.format(written(random_, code, secret))
        found = left(secret, code, random.Random(0), mask(text))
        assert not found, (secret, text)
        assert mask.holds(text)


@pytest.mark.parametrize("code", CODES)
def test_of_a_secret_that_was_cut_no_run_is_left_either(code):
    random_ = random.Random(f"cut {code}")
    for _ in range(15):
        secret = made(random_)
        whole = written(random_, code, secret)
        start = random_.randrange(len(whole))
        text = whole[start : start + random_.randrange(4, 2 * len(whole))]
        masked = Mask([secret])(f"<{text[: random_.randrange(len(text) + 1)]}>")
        assert not [
            n for n in range(len(secret) - SEEN + 1) if secret[n : n + SEEN] in masked
        ], (secret, text)


def test_what_holds_no_secret_is_left_as_it_is():
    random_ = random.Random("nothing")
    mask = Mask(made(random_) for _ in range(20))
    for _ in range(60):
        letters = f"{random_.choice(LETTERS[:3])} %\\&+\n"
        text = "".join(random_.choices(letters, k=200))
        around = random_.choice(SURROUNDINGS).format(text.replace("=", ""))
        assert mask.line(around) == around or "@" in around
        assert mask.answer(around.encode()) == around.encode()


def test_an_answer_stays_json():
    random_ = random.Random("answers")
    for _ in range(80):
        secret = made(random_)
        part = secret[random_.randrange(len(secret)) :]
        texts = [secret, f"\\{secret}\\", f'"{part}\\', f"\n{part}\u00e9", part[:-1]]
        answer = {f"k{n}": text for n, text in enumerate(texts)}
        raw = json.dumps(answer, ensure_ascii=random_.random() < 0.5).encode()
        masked = Mask([secret]).answer(raw)
        assert json.loads(masked).keys() == answer.keys()
        assert secret[:SEEN] not in str(json.loads(masked))


@pytest.mark.parametrize(("text", "safe"), [
    ("to https://u:p@h/x ok", "to https://***@h/x ok"),
    ("http://u:p/w#d@h:3128 ok", "http://u:***@h:3128 ok"),
    ("HTTPS://token@h/x", "HTTPS://***@h/x"),
    ("ssh://git@h/x", "ssh://git@h/x"),
    ("ssh://git:pw@h/x", "ssh://git:***@h/x"),
    ("http://h:3000/a@b", "http://h:3000/a@b"),
    ("Authorization: Basic abc", "Authorization: ***"),
    ("< Set-Cookie: a=b; c=d\nnext", "< Set-Cookie: ***\nnext"),
    ("private-token=abc", "private-token=***"),
    ("GET /x?a=b&private_token=abc&c=d", "GET /x?a=b&private_token=***&c=d"),
    ("/h%3Fkey=abc", "/h%3Fkey=***"),
    ("https://s3/o?X-Amz-Signature=ab12&x=y", "https://s3/o?***"),
    ("/api/webhooks/dockerhub/abc", "/api/webhooks/dockerhub/***"),
    ("//api//webhooks//dockerhub%2Fabc", "//api//webhooks//dockerhub%2F***"),
    ("/api/webhooks/runs/7", "/api/webhooks/runs/7"),
    ("/api/webhooks/github", "/api/webhooks/github"),
    ("of ghp_0123456789abcdefghij", "of ***"),
    ("key=server.listen task=7", "key=server.listen task=7"),
])  # fmt: skip
def test_what_looks_like_a_credential_is_masked_though_nobody_knows_it(text, safe):
    assert Mask()(text) == safe


@pytest.mark.parametrize(
    ("body", "safe"),
    [
        ({"password": "abc", "ref": "x"}, {"password": "***", "ref": "x"}),
        ({"token": 'a"b\\c', "event": "push"}, {"token": "***", "event": "push"}),
        ({"a": {"secret": "abc"}}, {"a": {"secret": "***"}}),
        ({"secret": "", "token": None}, {"secret": "***", "token": None}),
        ({"X-Gitlab-Token": ["abc"]}, {"X-Gitlab-Token": ["***"]}),
        ({"tokens": "abc", "sign": "x"}, {"tokens": "abc", "sign": "***"}),
        ({"url": "https://h/a-known-secret"}, {"url": "https://h/***"}),
    ],
)
def test_a_body_is_masked_where_its_sender_puts_the_secret(body, safe):
    mask = Mask(["a-known-secret"])
    raw = json.dumps(body).encode()
    assert json.loads(mask.body(raw)) == safe
    form = b"payload=" + quote_plus(raw).encode()
    masked = mask.body(form)
    assert masked == b"payload=" + quote_plus(json.dumps(safe)).encode()


def test_a_body_without_secrets_is_kept_byte_for_byte():
    mask = Mask(["a-known-secret"])
    for raw in (
        b'{ "a":\t[1,  2] }\n',
        b"payload=%7b%22a%22%3A1%7D",
        b"\xff\xfe{}",
        b"",
    ):
        assert mask.body(raw) == raw


def test_a_mask_that_has_them_all_already_is_not_made_again():
    mask = Mask(["a-known-secret"])
    assert mask.plus(["a-known-secret", "x"]) is mask
    assert mask.plus(["another"]).secrets == {"a-known-secret", "another"}


@pytest.mark.parametrize("query", [
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=c4n4ry0123",
    "GoogleAccessId=me&Expires=17&Signature=c4n4ry0123%3D",
    "sv=2020-08-04&se=2026-01-01&sr=b&sp=r&sig=c4n4ry0123",
    "jwt=c4n4ry0123", "a=c4n4ry0123&X-Amz-Credential=x",
])  # fmt: skip
def test_the_query_of_a_signed_url_is_masked_whole(query):
    url = f"https://store.example:9000/bucket/ab/cd?{query}"
    for masked in (Mask(), Mask(["another secret"]).line):
        shown = masked(f'LFS: Authorization error: {url} and "{url}".')
        assert "c4n4ry" not in shown
        assert shown.count("https://store.example:9000/bucket/ab/cd?***") == 2
    plain = "fatal: https://h/o/r.git/info/refs?service=git-upload-pack not valid"
    assert Mask()(plain) == plain


@pytest.mark.parametrize("length", range(11, 26))
def test_a_secret_of_any_length_is_found_at_the_very_end(length):
    secret = "s3cr3t-w0rd-0f-s0m3-l3ngth"[:length]
    for before in ("", "x", "team/", "https://github.com/team/"):
        assert Mask([secret]).holds(before + secret)
        assert Mask([secret])(before + secret) == f"{before}***"

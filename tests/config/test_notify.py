"""[notify.NAME] is read strictly, and what is refused is named in full."""

import pytest

from gms_hookd.config.load import load_config
from gms_hookd.config.secrets import secrets_of
from gms_hookd.errors import ConfigError
from gms_hookd.safetext.mask import Mask

SLACK = "[notify.slack]\nurl = 'https://hooks.slack.com/services/T0/B0/XyzXyzXyzXyz'\n"
PACKAGIST = """[notify.packagist]
username = 'u'
repository = 'https://x/y'
secret_file = 'one'
"""
MAIL = "[notify.mail]\nkind = 'email'\nfrom = 'a@b.c'\nto = ['d@e.f']\n"


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "bad").write_text("whsec_#####\n")
    (tmp_path / "bad").chmod(0o600)
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"whsec_{name * 12}\n")
        (tmp_path / name).chmod(0o600)

    def read(text):
        (tmp_path / "config.toml").write_text(text)
        (tmp_path / "config.toml").chmod(0o600)
        return load_config({}, file=str(tmp_path / "config.toml"), state=tmp_path)

    return read


def test_a_target_is_read_with_its_defaults(conf):
    (target,) = conf(SLACK).notify
    assert (target.name, target.kind, target.language) == ("slack", "slack", "en")
    assert target.events == {"failed", "conflict", "recovered"}
    assert (target.tasks, target.fallback, target.remind) == (None, None, 86400.0)
    assert "Xyz" not in repr(target)


def test_all_that_can_be_said_is_said(conf):
    text = """
    [notify.own]
    kind = "webhook"
    url = "http://10.0.0.1/in"
    secret_file = ["one", "two"]
    events = ["changed", "stalled", "renamed"]
    tasks = ["app", "lib-*", 3]
    language = "zh"
    fallback = "mail"
    remind = "off"
    proxy = "http://u:p@proxy:3128"
    insecure = true
    """
    own, mail = conf(
        text + MAIL + "url = 'smtps://u@h:465'\npassword_file = 'one'"
    ).notify
    assert own.secrets == ("whsec_" + "one" * 12, "whsec_" + "two" * 12)
    assert (own.tasks, own.language) == (("app", "lib-*", 3), "zh")
    assert (own.remind, own.fallback, own.insecure) == (0.0, "mail", True)
    assert own.proxy == "http://u:p@proxy:3128"
    assert mail.options == {"from": "a@b.c", "to": "d@e.f"}
    assert mail.secrets == ("whsec_" + "one" * 12,)


def test_how_long_a_queue_may_stand_still_is_said_beside_the_targets(conf):
    assert conf(SLACK).stalled == 3600
    found = conf("[notify]\nstalled = '5m'\n" + SLACK)
    assert (found.stalled, [each.name for each in found.notify]) == (300, ["slack"])
    found = conf("[notify.stalled]\nkind = 'slack'\nurl = 'https://x/'")
    assert (found.stalled, [each.name for each in found.notify]) == (3600, ["stalled"])
    assert conf("[notify]\nstalled = 'off'").stalled == 0


def test_each_kind_has_events_of_its_own(conf):
    text = "[notify.ping]\nurl = 'https://hc-ping.com/x'\n"
    ping, packagist = conf(text + PACKAGIST).notify
    assert ping.events == {"success", "failed", "conflict"}
    assert (packagist.events, packagist.url) == ({"changed"}, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[notify.ops]\nurl = 'https://x/'", "notify.ops.kind: is missing: name one"),
        ("[notify.ops]\nkind = 'irc'", "notify.ops.kind: 'irc' is none of slack"),
        ("[notify.dockerhub]\n", "notify.dockerhub.kind: dockerhub is set up with"),
        ("[notify.slack]\n", "notify.slack.url: is missing"),
        ("[notify.slack]\nurl = 'ftp://x/'", "notify.slack.url: must look like"),
        ("[notify.slack]\nurl = 'https://x:y/'", "notify.slack.url: must look like"),
        ("[notify.slack]\nurl = 'https://x/ö'", "notify.slack.url: must look like"),
        ("[notify.slack]\nurl = 'https://u:p@x/'", "url: holds a password"),
        ("[notify.slack]\nurl = 'http://x.org/'", "set insecure = true"),
        ("[notify.slack]\nurl = 'http://10.0.0.1/'", "set insecure = true"),
        (SLACK + "url_file = 'one'", "keep one"),
        ("[notify.slack]\nurl_file = 'none'", "notify.slack.url_file: "),
        (SLACK + "events = ['broken']", "notify.slack.events: 'broken' is none of"),
        (SLACK + "events = []", "notify.slack.events: '' is none of failed"),
        (SLACK + "events = ['success']", "notify.slack.events: 'success' is none"),
        (SLACK + "language = 'de'", "notify.slack.language: 'de' is none of en, zh"),
        (SLACK + "fallback = 'mail'", "fallback: there is no [notify.mail]"),
        (SLACK + "fallback = 'slack'", "notify.slack.fallback: is this target itself"),
        (SLACK + "remind = '10s'", 'notify.slack.remind: must be "1m" or more'),
        (SLACK + "proxy = 'socks5://x:1'", "notify.slack.proxy: must look like"),
        (SLACK + "ca_file = 'none'", "notify.slack.ca_file: "),
        (SLACK + "insecure = 1", "notify.slack.insecure: must be true or false"),
        (SLACK + "secret_file = 'one'", "notify.slack.secret_file: is not for slack"),
        (SLACK + "chat_id = 7", "notify.slack.chat_id: is for telegram only"),
        (SLACK + "tasks = 'app'", "notify.slack.tasks: must be a list"),
        (SLACK + "colour = 'red'", "notify.slack.colour: unknown key"),
        ("[notify]\nstalled = '5s'", 'notify.stalled: must be "1m" or more'),
        ("[notify]\nstaled = '5m'", "notify.staled: must be a section with keys"),
        ("[notify.telegram]\nurl = 'https://x/bot1'", "chat_id: is missing"),
        ("[notify.telegram]\nurl = 'https://x/bot1/sendMessage'", "url: must look"),
        ("[notify.teams]\nurl = 'https://x.webhook.office.com/y'", "is a connector"),
        ("[notify.feishu]\nurl = 'https://x/open-apis/bot/hook/y'", "an older form"),
        (PACKAGIST + "events = ['failed']", "events: 'failed' is none of changed"),
        (
            "[notify.webhook]\nurl = 'https://x/'\nsecret_file = 'bad'",
            "notify.webhook.secret_file: the secret is not `whsec_` and base64",
        ),
        (
            "[notify.gotify]\nurl = 'https://x/'",
            "notify.gotify.secret_file: is missing",
        ),
        ("[notify.'a b']\nkind = 'slack'", 'notify."a b": must be 1 to 64'),
        (MAIL + "url = 'https://x/'", "notify.mail.url: must look like"),
        (MAIL + "url = 'smtp://x/path'", "notify.mail.url: must end after the port"),
        (MAIL + "url = 'smtp://u:p@x'", "holds a password: put it into password_file"),
        (MAIL + "url = 'smtp://x'\nproxy = 'http://p:1'", "proxy: is not for email"),
        (MAIL + "url = 'smtp://x'\nsecret_file = 'one'", "secret_file: is not for"),
        ("[notify.email]\nurl = 'smtp://x'\nto = ['a@b']", "email.from: is missing"),
        (
            "[notify.email]\nurl = 'smtp://x'\nto = ['a']\nfrom = 'a@b'",
            "no mail address",
        ),
    ],
)
def test_what_cannot_be_is_refused(conf, text, says):
    with pytest.raises(ConfigError) as raised:
        conf(text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:8"])
def test_http_to_this_machine_is_allowed(conf, host):
    (target,) = conf(f"[notify.webhook]\nurl = 'http://{host}/'").notify
    assert target.url == f"http://{host}/"


def test_what_is_secret_of_a_target_is_masked_and_its_host_is_not(conf):
    text = SLACK + "proxy = 'http://u:pr0xy-pass@proxy:1'\n"
    text += "[notify.feishu]\nurl = 'https://open.feishu.cn/open-apis/bot/v2/hook/0a1b2c3d'\n"
    text += (
        "secret_file = 'one'\n[notify.teams]\nurl = 'https://t/x?sig=AbCdEfGh%2F1'\n"
    )
    mask = Mask(secrets_of(conf(text), {}))
    for secret in ("XyzXyzXyzXyz", "pr0xy-pass", "0a1b2c3d", "one" * 12, "AbCdEfGh/1"):
        assert secret not in mask(f"it says {secret} here")
    plain = "https://hooks.slack.com/services/ open.feishu.cn/open-apis/bot/v2/hook/"
    assert mask(plain) == plain

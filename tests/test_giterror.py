import pytest

from gms_hookd.giterror import TRANSIENT, Kind, classify, hosts_own, telling_line

SAYINGS = (
    ("fatal: Authentication failed for 'https://h/x'", Kind.AUTH),
    ("fatal: could not read Username for 'https://h': terminal", Kind.AUTH),
    ("git@h: Permission denied (publickey).", Kind.AUTH),
    ("remote: HTTP Basic: Access denied", Kind.AUTH),
    ("error: The requested URL returned error: 403", Kind.AUTH),
    ("Host key verification failed.", Kind.TRUST),
    ("SSL certificate problem: certificate has expired", Kind.TRUST),
    ("server certificate verification failed. CAfile: none", Kind.TRUST),
    ("fatal: unable to access 'x': Could not resolve host: h", Kind.NETWORK),
    ("ssh: connect to host h port 22: Connection timed out", Kind.NETWORK),
    ("ssh: connect to host h port 22: Connection refused", Kind.NETWORK),
    ("Connection reset by peer", Kind.NETWORK),
    ("fatal: early EOF", Kind.NETWORK),
    ("fatal: expected flush after ref listing", Kind.NETWORK),
    ("error: RPC failed; curl 92 HTTP/2 stream 0", Kind.NETWORK),
    ("The requested URL returned error: 502", Kind.NETWORK),
    ("The requested URL returned error: 429", Kind.NETWORK),
    ("Operation too slow. Less than 1000 bytes/sec", Kind.NETWORK),
    ("remote: Repository not found.\nfatal: ...", Kind.MISSING),
    ("fatal: 'x' does not appear to be a git repository", Kind.MISSING),
    ("fatal: couldn't find remote ref refs/heads/x", Kind.MISSING),
    ("! [remote rejected] main (pre-receive hook declined)", Kind.POLICY),
    ("remote: error: GH006: Protected branch update failed", Kind.POLICY),
    ("fatal: write error: No space left on device", Kind.DISK),
    ("error: unable to write file: No space left on device\ncorrupt", Kind.DISK),
    ("error: cannot lock ref 'refs/heads/x': Unable to create", Kind.LOCK),
    ("fatal: Unable to create '/c/packed-refs.lock': File exists.", Kind.LOCK),
    ("fatal: bad object HEAD", Kind.CORRUPT),
    ("error: object file .git/objects/aa/bb is corrupt", Kind.CORRUPT),
    ("fatal: transport 'ext' not allowed", Kind.CONFIG),
    ("error: index-pack died of signal 9\nfatal: index-pack failed", Kind.SIGNAL),
    ("error: index-pack died of signal 25", Kind.SIZE),
    ("fatal: fetch\nKilled\n", Kind.SIGNAL),
    ("sh: line 1:  4711 Killed                  git-upload-pack '/r'", Kind.SIGNAL),
    ("remote: killed by the pre-receive hook", Kind.OTHER),
    ("fatal: Out of memory, malloc failed (tried to allocate 9 bytes)", Kind.SIZE),
    ("remote: fatal: Out of memory, malloc failed", Kind.OTHER),
    ("something new under the sun", Kind.OTHER),
)  # fmt: skip

HOPEFUL = {Kind.NETWORK, Kind.DISK, Kind.LOCK, Kind.CORRUPT, Kind.SIGNAL}


@pytest.mark.parametrize(("text", "kind"), SAYINGS)
def test_what_git_says_has_its_class(text, kind):
    assert classify(text) is kind
    assert (kind in TRANSIENT) is (kind in HOPEFUL)


ABNORMAL = "error: remote unpack failed: index-pack abnormal exit\n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ABNORMAL, Kind.SIGNAL),
        ("remote: fatal: write error: No space left on device\n" + ABNORMAL, Kind.DISK),
        ("remote: fatal: Disk quota exceeded\n" + ABNORMAL, Kind.DISK),
        ("remote: fatal: fsck error in packed object\n" + ABNORMAL, None),
        ("remote: error: Unable to create '/t/x.lock': File exists.\n", Kind.LOCK),
        ("remote: error: cannot lock ref 'x': is at 1 but expected 2\n", None),
        ("remote: error: GH006: Protected branch update failed\n", None),
    ],
)
def test_a_host_that_could_not_is_told_from_one_that_would_not(text, kind):
    assert hosts_own(text) is kind


def test_the_line_that_says_most_is_told():
    said = (
        "warning: x\nremote: Repository not found.\n"
        "fatal: Could not read from remote repository.\n\n"
        "Please make sure you have the correct access rights\n"
    )
    assert telling_line(said) == "remote: Repository not found."
    assert telling_line("hint: a\nfatal: the reason\n") == "fatal: the reason"
    assert telling_line("") == ""

import pytest

from gms_hookd.git.errors import TRANSIENT, ErrorKind, classify, hosts_own, telling_line

SAYINGS = (
    ("fatal: Authentication failed for 'https://h/x'", ErrorKind.AUTH),
    ("fatal: could not read Username for 'https://h': terminal", ErrorKind.AUTH),
    ("git@h: Permission denied (publickey).", ErrorKind.AUTH),
    ("remote: HTTP Basic: Access denied", ErrorKind.AUTH),
    ("error: The requested URL returned error: 403", ErrorKind.AUTH),
    ("Host key verification failed.", ErrorKind.TRUST),
    ("SSL certificate problem: certificate has expired", ErrorKind.TRUST),
    ("server certificate verification failed. CAfile: none", ErrorKind.TRUST),
    ("fatal: unable to access 'x': Could not resolve host: h", ErrorKind.NETWORK),
    ("ssh: connect to host h port 22: Connection timed out", ErrorKind.NETWORK),
    ("ssh: connect to host h port 22: Connection refused", ErrorKind.NETWORK),
    ("Connection reset by peer", ErrorKind.NETWORK),
    ("fatal: early EOF", ErrorKind.NETWORK),
    ("fatal: expected flush after ref listing", ErrorKind.NETWORK),
    ("error: RPC failed; curl 92 HTTP/2 stream 0", ErrorKind.NETWORK),
    ("The requested URL returned error: 502", ErrorKind.NETWORK),
    ("The requested URL returned error: 429", ErrorKind.NETWORK),
    ("Operation too slow. Less than 1000 bytes/sec", ErrorKind.NETWORK),
    ("remote: Repository not found.\nfatal: ...", ErrorKind.MISSING),
    ("fatal: 'x' does not appear to be a git repository", ErrorKind.MISSING),
    ("fatal: couldn't find remote ref refs/heads/x", ErrorKind.MISSING),
    ("! [remote rejected] main (pre-receive hook declined)", ErrorKind.POLICY),
    ("remote: error: GH006: Protected branch update failed", ErrorKind.POLICY),
    ("fatal: write error: No space left on device", ErrorKind.DISK),
    ("error: unable to write file: No space left on device\ncorrupt", ErrorKind.DISK),
    ("error: cannot lock ref 'refs/heads/x': Unable to create", ErrorKind.LOCK),
    ("fatal: Unable to create '/c/packed-refs.lock': File exists.", ErrorKind.LOCK),
    ("fatal: bad object HEAD", ErrorKind.CORRUPT),
    ("error: object file .git/objects/aa/bb is corrupt", ErrorKind.CORRUPT),
    ("fatal: transport 'ext' not allowed", ErrorKind.CONFIG),
    ("error: index-pack died of signal 9\nfatal: index-pack failed", ErrorKind.SIGNAL),
    ("error: index-pack died of signal 25", ErrorKind.SIZE),
    ("fatal: fetch\nKilled\n", ErrorKind.SIGNAL),
    ("sh: line 1:  4711 Killed      git-upload-pack '/r'", ErrorKind.SIGNAL),
    ("remote: killed by the pre-receive hook", ErrorKind.OTHER),
    ("fatal: Out of memory, malloc failed (tried to allocate 9 bytes)", ErrorKind.SIZE),
    ("remote: fatal: Out of memory, malloc failed", ErrorKind.OTHER),
    ("something new under the sun", ErrorKind.OTHER),
)  # fmt: skip

HOPEFUL = {
    ErrorKind.NETWORK,
    ErrorKind.DISK,
    ErrorKind.LOCK,
    ErrorKind.CORRUPT,
    ErrorKind.SIGNAL,
}


@pytest.mark.parametrize(("text", "kind"), SAYINGS)
def test_what_git_says_has_its_class(text, kind):
    assert classify(text) is kind
    assert (kind in TRANSIENT) is (kind in HOPEFUL)


ABNORMAL = "error: remote unpack failed: index-pack abnormal exit\n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ABNORMAL, ErrorKind.SIGNAL),
        (
            "remote: fatal: write error: No space left on device\n" + ABNORMAL,
            ErrorKind.DISK,
        ),
        ("remote: fatal: Disk quota exceeded\n" + ABNORMAL, ErrorKind.DISK),
        ("remote: fatal: fsck error in packed object\n" + ABNORMAL, None),
        ("remote: error: Unable to create '/t/x.lock': File exists.\n", ErrorKind.LOCK),
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

"""What hosts, proxies, ssh and git print, and what it is taken for."""

import pytest

from gms_hookd.git.errors import TRANSIENT, ErrorKind, classify, read, refusal
from gms_hookd.git.wordings import TABLE

SSH = (
    "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the"
    " correct access rights\nand the repository exists.\n"
)
# Names of repositories that are words of trouble.
URL = "https://certificate.example/maintenance/rate-limit.git/"
HOOK = "pre-receive hook declined"
ABNORMAL = "error: remote unpack failed: index-pack abnormal exit\n"

SAYINGS = (
    ("fatal: Authentication failed for 'https://h/x'", ErrorKind.AUTH),
    ("fatal: could not read Username for 'https://h': terminal", ErrorKind.AUTH),
    ("git@h: Permission denied (publickey).", ErrorKind.AUTH),
    ("remote: HTTP Basic: Access denied", ErrorKind.AUTH),
    ("error: The requested URL returned error: 403", ErrorKind.AUTH),
    ("Host key verification failed.", ErrorKind.TRUST),
    ("SSL certificate problem: certificate has expired", ErrorKind.TRUST),
    ("server certificate verification failed. CAfile: none", ErrorKind.TRUST),
    ("ssh: connect to host h port 22: Connection timed out", ErrorKind.NETWORK),
    ("Connection reset by peer", ErrorKind.NETWORK),
    ("fatal: early EOF", ErrorKind.NETWORK),
    ("fatal: expected flush after ref listing", ErrorKind.NETWORK),
    ("error: RPC failed; curl 92 HTTP/2 stream 0", ErrorKind.NETWORK),
    ("The requested URL returned error: 502", ErrorKind.HOST),
    ("The requested URL returned error: 429", ErrorKind.HOST),
    ("remote: Repository not found.\nfatal: ...", ErrorKind.MISSING),
    ("fatal: '/rate-limit' does not appear to be a git repository", ErrorKind.MISSING),
    ("fatal: couldn't find remote ref refs/heads/x", ErrorKind.MISSING),
    ("fatal: '/srv/x.git' not a git repository", ErrorKind.MISSING),
    ("remote: Not a git repository", ErrorKind.MISSING),
    ("NotGitRepository: No git repository was found at /x", ErrorKind.MISSING),
    ("error: could not find repository at '/x'", ErrorKind.MISSING),
    ("Gitea: Cannot find repository: a/b", ErrorKind.MISSING),
    ('No repository "x" exists!', ErrorKind.MISSING),
    ("No such repository", ErrorKind.MISSING),
    ('Unrecognized repository path "/x"', ErrorKind.MISSING),
    ("Unable to find repository, please try again later", ErrorKind.HOST),
    ("fatal: not a git repository: '/c/x.git'", ErrorKind.CORRUPT),
    ("fatal: unknown repository extension found:", ErrorKind.CORRUPT),
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
    ("sh: line 1:  4711 Killed           git-upload-pack '/r'", ErrorKind.SIGNAL),
    ("remote: killed by the pre-receive hook", ErrorKind.OTHER),
    ("fatal: Out of memory, malloc failed (tried to allocate 9 bytes)", ErrorKind.SIZE),
    ("remote: fatal: Out of memory, malloc failed", ErrorKind.HOST),
    ("error: cannot fork() for index-pack: Resource temporarily unavailable",
     ErrorKind.MACHINE),
    ("something new under the sun", ErrorKind.OTHER),
)  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), SAYINGS)
def test_what_git_says_has_its_class(text, kind):
    assert classify(text) is kind


# What fronts of hosts say over ssh, in a box (GitLab) or plainly.
BY_SSH_PASSING = (
    "remote: ERROR: Internal API unreachable",
    "remote: ERROR: Internal API error (502)",
    "remote: ERROR: The git server, Gitaly, is not available at this time.",
    "remote: ERROR: GitLab is currently unable to handle this request due to load.",
    "remote: ERROR: 현재 서버 점검 중입니다",
    "remote: ERROR: ただいまメンテナンス中です",
    "remote: ERROR: アクセスが混雑しています。後ほどお試しください",
    "remote: ERROR: Ведутся технические работы, попробуйте позже",
    "remote: ERROR: The repository is temporarily read-only. Please try again later.",
    "remote: ERROR: Git push is not allowed: GitLab is currently in maintenance mode.",
    "GitLab: Failed to authorize your Git request: internal API unreachable",
    "> GitLab: API is not accessible",
    "Gitea: Internal Server Connection Error",
    "Gogs: Internal error",
    "Forgejo: Internal Server Error",
    "ERROR: You have exceeded a secondary rate limit. Please wait a few minutes.",
    "ERROR: Too many concurrent connections",
    "ERROR: database is locked",
    "remote: ERROR: another operation is in progress for this repository",
    "remote: Bitbucket is undergoing scheduled maintenance",
    " !  Heroku has temporarily disabled this feature, please try again shortly.",
    "remote: 服务器繁忙,请稍后再试",
    "fatal: remote error: Internal server error",
    "fatal: remote error: TF400733: The request has been canceled",
    # ssh itself, before and within a session
    "Connection reset by 127.0.0.1 port 39739",
    "Connection closed by UNKNOWN port 65535",
    "kex_exchange_identification: Connection closed by remote host",
    "banner exchange: Connection to 1.2.3.4 port 22: Operation timed out",
    "ssh: Could not resolve hostname h: Temporary failure in name resolution",
    "client_loop: send disconnect: Broken pipe",
    "Connection to 127.0.0.1 closed by remote host.",
    "ssh_dispatch_run_fatal: Connection to 1.2.3.4 port 22: Broken pipe",
    "mux_client_request_session: read from master failed: Broken pipe",
    "Timeout, server h not responding.",
    "Unauthorized use is prohibited.\nConnection reset by 1.2.3.4 port 9",
    "",  # not a word
)
BY_SSH_FINAL = (
    "remote: ERROR: The project you were looking for could not be found",
    "remote: ERROR: You don't have permission to view it.",
    "remote: ERROR: This deploy key does not have write access to this project.",
    "remote: ERROR: You are not allowed to push code to this project.",
    "remote: ERROR: You can't push code to a read-only GitLab instance.",
    "ERROR: Repository not found.",
    "ERROR: Permission to x/y.git denied to z.",
    "ERROR: The key you are authenticating with has been marked as read only.",
    "ERROR: This repository was archived so it is read-only.",
    "FATAL: R any app/x bot DENIED by fallthru",
    "conq: repository access denied.",
    "Forbidden",
    "This account is currently not available.",
    "remote: 没有访问权限",
    "git@h: Permission denied (publickey).",
    "Host key verification failed.",
    "Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures",
    "Unable to negotiate with 1.2.3.4 port 22: no matching host key type found.",
    "Unable to negotiate with UNKNOWN port 65535: no matching cipher found.",
)


@pytest.mark.parametrize("text", BY_SSH_PASSING)
def test_trouble_that_passes_is_known_over_ssh(text):
    assert classify(text + SSH) in TRANSIENT


@pytest.mark.parametrize("text", BY_SSH_FINAL)
def test_what_does_not_pass_is_known_over_ssh(text):
    assert classify(text + SSH) not in TRANSIENT


UNABLE_PASSING = (
    "CONNECT tunnel failed, response 503",
    "Received HTTP code 504 from proxy after CONNECT",
    "The requested URL returned error: 520",
    "Empty reply from server",
    "HTTP/2 stream 1 was not closed cleanly: INTERNAL_ERROR (err 2)",
    "Error in the HTTP2 framing layer",
    "Remote peer returned unexpected data while we expected SETTINGS frame.",
    "Can't complete SOCKS5 connection to example.com. (1)",
    "cannot complete SOCKS5 connection to example.com. (1)",  # curl 8.23 and later
    "Failed to receive SOCKS response, proxy closed connection",
    "GnuTLS, handshake failed: The TLS connection was non-properly terminated.",
    "TLS connect error: error:00000000:lib(0)::reason(0)",
    "HTTP/2 stream 5 reset by server (error 0x2 INTERNAL_ERROR)",
    "Failed to receive SOCKS5 connect request ack.",
    "gnutls_handshake() failed: The TLS connection was non-properly terminated.",
    "GnuTLS recv error (-54): Error in the pull function.",
    "OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to h:443 ",
    "OpenSSL SSL_read: error:0A000126:SSL routines::unexpected eof while reading",
    "Failed to connect to h port 443 after 130 ms: Couldn't connect to server",
    "Could not resolve proxy: p",
    "Operation timed out after 300000 milliseconds with 0 out of 0 bytes received",
    "Proxy CONNECT aborted",
    "some words that no curl has ever said",
)
UNABLE_FINAL = (
    "CONNECT tunnel failed, response 407",
    "Received HTTP code 407 from proxy after CONNECT",
    "CONNECT tunnel failed, response 403",
    "The requested URL returned error: 400",
    "The requested URL returned error: 411",
    "The requested URL returned error: 413",
    "SSL certificate problem: self-signed certificate",
    "SSL: no alternative certificate subject name matches target host name 'h'",
    "error setting certificate verify locations:  CAfile: /x CApath: none",
    "SSL peer certificate or SSH remote key was not OK",
    "tlsv13 alert certificate required",
    "Unsupported proxy scheme for 'foo://x'",
    "URL using bad/illegal format or missing URL",
    'Protocol "foo" not supported or disabled in libcurl',
    "User was rejected by the SOCKS5 server (1 1).",
    "Can't complete SOCKS5 connection to example.com. (2)",
    "cannot complete SOCKS5 connection to example.com. (2)",
    "cannot complete SOCKS5 connection to example.com. (7)",
    "GnuTLS, handshake failed: Handshake failed",
    "TLS connect error: error:0A000410:SSL routines::ssl/tls alert handshake failure",
    "server cert verify failed: 1",
    "server cert expiration date verify failed",
    "error adding trust anchors from file: /x",
    "error reading X.509 key file: Error while reading file.",
    "error reading CA cert file /x (Error while reading file.)",
    "Unsupported proxy syntax in 'x': Bad hostname",
    "URL rejected: Bad hostname",
    "error:0A00010B:SSL routines::wrong version number",
)


@pytest.mark.parametrize("text", UNABLE_PASSING)
def test_what_fails_on_the_way_passes(text):
    assert classify(f"fatal: unable to access '{URL}': {text}\n") in TRANSIENT


@pytest.mark.parametrize("text", UNABLE_FINAL)
def test_what_a_status_a_certificate_or_a_setting_forbids_does_not_pass(text):
    assert classify(f"fatal: unable to access '{URL}': {text}\n") not in TRANSIENT


def test_the_words_beside_a_status_may_say_that_it_passes():
    refused = f"fatal: unable to access '{URL}': The requested URL returned error: 403"
    assert (
        classify("remote: You have exceeded a rate limit\n" + refused) is ErrorKind.HOST
    )
    assert classify("remote: Write access not granted.\n" + refused) is ErrorKind.AUTH


# (the reason in brackets, what else the host said)
REFUSED_PASSING = (
    ("Could not access the database", ""),
    ("repository is locked for migration", ""),
    ("Internal Server Error", ""),
    ("failure", ""),
    ("failure", "remote: fatal error in commit_refs"),
    ("internal server error: Error inserting change/patchset", ""),
    ("lock error: cannot lock", ""),
    ("LOCK_FAILURE", ""),
    ("cannot lock ref 'x': Unable to create '/r/x.lock': File exists.", ""),
    ("unable to migrate objects to permanent storage", ""),
    ("repository is temporarily unavailable", ""),
    ("too many requests", ""),
    ("read-only mode for maintenance", ""),
    (HOOK, "remote: Gitea: Internal Server Error\nremote: Unable to contact gitea"),
    (HOOK, "remote: Post http://h/hook: dial tcp 127.0.0.1:80: connection refused"),
    (HOOK, "remote: GitLab: Internal API unreachable"),
    (HOOK, "remote: GitLab: 504 Gateway Timeout"),
    (HOOK, "remote: GitLab is under maintenance"),
    (HOOK, "remote: error: pre-receive hook timed out"),
    ("unpacker error", ABNORMAL),
    ("unpacker error", "remote: fatal: write error: No space left on device"),
    ("unpacker error", "remote: fatal: Disk quota exceeded: Disk quota exceeded"),
    ("failed to update ref", "remote: error: Unable to create '/x.lock': File exists."),
    (
        "reference already exists",  # git 2.55 and later
        "remote: error: cannot lock ref 'x': Unable to create '/x.lock': File exists.",
    ),
)
REFUSED_FINAL = (
    ("branch is locked by another user", ""),
    (HOOK, ""),
    (HOOK, "remote: GitLab: Commit message does not follow the pattern .ABC-123."),
    (HOOK, "remote: Commit message must not name `internal server error`"),
    (HOOK, "remote: error: GH006: Protected branch update failed"),
    (HOOK, "remote: You have exceeded your quota"),
    (HOOK, "remote: error: a.bin is 101 MB; this exceeds GitHub's file size limit"),
    (HOOK, "remote: Your push would exceed the storage limit of 10 GB"),
    (HOOK, "remote: 分支受保护,禁止推送"),
    ("push declined due to repository rule violations", "remote: error: GH013: x"),
    ("prohibited by Gerrit: not permitted: update", ""),
    ("TF402455: Pushes to this branch are not permitted", ""),
    ("deny updating a hidden ref", ""),
    ("branch is currently checked out", ""),
    ("cannot lock ref 'x': is at 1 but expected 2",
     "remote: error: cannot lock ref 'x': is at 1 but expected 2"),
    ("unpacker error", f"remote: fatal: fsck error in packed object\n{ABNORMAL}"),
    ("unpacker error", f"remote: fatal: pack exceeds maximum allowed size\n{ABNORMAL}"),
)  # fmt: skip


@pytest.mark.parametrize(("reason", "text"), REFUSED_PASSING)
def test_a_host_that_could_not_is_told_from_one_that_would_not(reason, text):
    assert refusal(reason, text).kind in TRANSIENT


@pytest.mark.parametrize(("reason", "text"), REFUSED_FINAL)
def test_a_host_that_would_not_is_not_asked_again(reason, text):
    assert refusal(reason, text).kind is ErrorKind.POLICY


def test_what_failed_comes_first_and_then_the_words_of_the_host():
    status = "The requested URL returned error: 403"
    said = (
        "remote: Counting objects: 100% (3/3), done.\nremote: \nremote: ====\n"
        "remote: This repository was archived\nremote: so it is read-only.\n"
        f"fatal: unable to access '{URL}': {status}\n"
    )
    told = "; the host says: This repository was archived so it is read-only."
    assert str(read(said)) == f"fatal: unable to access '{URL}': {status}{told}"
    assert str(read("remote: Repository not found." + SSH)) == (
        "the host says: Repository not found."
    )
    assert str(read("hint: a\nfatal: the reason\n")) == "fatal: the reason"
    assert str(read("Receiving objects: 3% (1/9)\nfatal: x\n")) == "fatal: x"
    assert str(read("Enumerating objects: 5, done.\nDone\n")) == "Done"
    assert str(read("")) == ""


def test_a_refusal_has_the_words_of_the_host():
    words = "remote: GitLab: You are not allowed to push.\n"
    assert str(refusal(HOOK, words)) == (
        f"{HOOK}; the host says: GitLab: You are not allowed to push."
    )


def test_what_git_adds_to_the_words_of_a_hook_is_left_out():
    again = "remote: error: hook declined to update refs/heads/b\n"
    assert str(refusal("hook declined", f"remote: b is frozen\n{again}")) == (
        "hook declined; the host says: b is frozen"
    )
    assert str(refusal("hook declined", again)) == "hook declined"


def test_many_words_are_cut_so_that_those_that_tell_stay():
    chatter = "".join(f"remote: welcome to host number {n}\n" for n in range(100))
    said = chatter + "remote: ERROR: Internal API unreachable\n" + SSH
    assert "Internal API unreachable" in str(read(said))
    assert len(str(read(said))) < 600
    assert len(str(read("remote: " + "x" * 10_000 + SSH))) < 600


def test_each_row_names_who_prints_it():
    assert all(row.printed_by for row in TABLE)


def test_what_the_unpacker_says_of_itself_is_the_reason():
    said = "error: remote unpack failed: unable to create temporary object directory"
    assert str(refusal("unpacker error", said)) == (
        "unpacker error; the host says: unable to create temporary object directory"
    )
    crashed = "error: remote unpack failed: index-pack abnormal exit"
    assert "host says" not in str(refusal("unpacker error", crashed))

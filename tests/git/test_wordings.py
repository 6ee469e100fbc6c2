"""What programs and hosts print, word for word, and what an operator makes of it.

Each saying has where it was read: a source file, a page, or a report of a user.
"""

from gms_hookd.git.errors import TRANSIENT, ErrorKind, read, refusal

SSH = (
    "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the"
    " correct access rights\nand the repository exists.\n"
)
HOOK = "pre-receive hook declined"
UNPACKER = "unpacker error"
PASSES, FINAL = True, False
AUTH, TRUST, MISSING = ErrorKind.AUTH, ErrorKind.TRUST, ErrorKind.MISSING
SIZE, CONFIG = ErrorKind.SIZE, ErrorKind.CONFIG


def unable(words, *remote):
    said = "".join(f"remote: {line}\n" for line in remote)
    return f"{said}fatal: unable to access 'https://h/r.git/': {words}\n"


def status(number, *remote):
    return unable(f"The requested URL returned error: {number}", *remote)


def rpc(words, then="fatal: the remote end hung up unexpectedly"):
    return f"error: RPC failed; {words}\n{then}\n"


def by(source, meant, *sayings):
    return [(source, saying, meant) for saying in sayings]


BY_HTTP = [
    *by("RFC 9110, 15.5 and 15.6; Cloudflare 52x; LiteSpeed 508", PASSES, *map(
        status, [408, 421, 425, 429, 500, 502, 503, 504, 508, 509, 520, 522, 525, 530]
    )),
    *by("RFC 9110, 15.4 to 15.6; RFC 6585, 6", FINAL, *map(
        status, [303, 308, 400, 402, 405, 406, 411, 418, 451, 501, 505, 511]
    )),
    *by("docs.github.com: suspended accounts, SAML, IP allow lists", AUTH,
        status(403, "Your account is suspended. Please visit https://x for more."),
        status(403, "The 'NOAA-FIMS' organization has enabled or enforced SAML SSO.",
               "To access this repository, visit https://x and try again."),
        status(403, "Permission to o/r.git denied to github-actions[bot]."),
        status(403, "Write access to repository not granted.")),
    *by("github.com: terms of service, archives, IP allow lists", FINAL,
        status(403, "Access to this repository has been disabled by GitHub staff due to"
               " excessive use of resources, in violation of our Terms of Service."),
        status(403, "This repository was archived so it is read-only."),
        status(403, "The 'acme' organization has an IP allow list enabled, and your IP"
               " address is not permitted to access this resource.")),
    *by("gitlabhq lib/gitlab/git_access.rb", FINAL,
        status(403, "Your account has been blocked."),
        status(403, "You are not allowed to push code to this project."),
        status(403, "You are not allowed to download code from this project."),
        status(403, "Deploy keys are not allowed to push code."),
        status(403, "A repository for this project does not exist yet."),
        status(403, "Git access over HTTP is not allowed"),
        status(403, "You can't push code to a read-only GitLab instance.")),
    *by("gitlabhq, as of 17", AUTH,
        "remote: HTTP Basic: Access denied. If a password was provided for Git"
        " authentication, the password was incorrect or you're required to use a token"
        " instead of a password.\nfatal: Authentication failed for 'https://h/x'\n"),
    *by("gitlabhq: what may not be seen", MISSING,
        "remote: The project you were looking for could not be found or you don't have"
        " permission to view it.\nfatal: repository 'https://h/x' not found\n"),
    *by("bitbucket.org", AUTH,
        "remote: Bitbucket Cloud recently stopped supporting account passwords for Git"
        " authentication.\nfatal: Authentication failed for 'https://h/x'\n",
        status(403, "Too many invalid password attempts. Log in at https://id.x/ to"
               " restore access.")),
    *by("gitee.com", AUTH,
        status(403, "[session-6cf0] Oauth: Access token is expired"),
        "remote: Incorrect username or password (access token)\n"
        "fatal: Authentication failed for 'https://gitee.com/a/b.git/'\n"),
    *by("e.coding.net", AUTH,
        "remote: Coding 提示: Authentication failed.\n"
        "remote: 认证失败,请确认您输入了正确的账号密码。\n"
        "fatal: Authentication failed for 'https://e.coding.net/a/b.git/'\n"),
    *by("gitee.com: [session-...]", MISSING,
        "remote: [session-8c1ef7f5] a/b not found!\n"
        "fatal: repository 'https://gitee.com/a/b.git/' not found\n"),
    *by("Azure DevOps: gbrueckl/PowerBI.CICD#2", FINAL,
        status(403, "001f# service=git-receive-pack", "0000000000aaTF401027: You need"
               " the Git 'GenericContribute' permission to perform this action.")),
    *by("Azure DevOps", MISSING,
        "remote: TF401019: The Git repository with name or identifier x does not exist"
        " or you do not have permissions for the operation you are attempting.\n"
        "fatal: repository 'https://dev.azure.com/x' not found\n",
        "remote: TF200016: The following project does not exist: x. Verify that the"
        " name of the project is correct.\nfatal: repository 'https://x' not found\n",
        "remote: VS800075: The project with id 'x' does not exist, or you do not have"
        " permission to access it.\nfatal: repository 'https://x' not found\n"),
    *by("docs.aws.amazon.com, codecommit, troubleshooting-ae", PASSES,
        "remote: Rate exceeded\nfatal: the remote end hung up unexpectedly\n"),
    *by("git, remote-curl.c (post_rpc): where the host did not wait for all", SIZE,
        rpc("HTTP 413 curl 22 The requested URL returned error: 413"),
        rpc("HTTP 413 curl 55 Send failure: Broken pipe"),
        rpc("HTTP 413 curl 92 HTTP/2 stream 7 was not closed cleanly: NO_ERROR")),
    *by("git, remote-curl.c", AUTH,
        rpc("HTTP 401 curl 22 The requested URL returned error: 401"),
        rpc("HTTP 403 curl 56 Recv failure: Connection reset by peer")),
    *by("git, remote-curl.c", PASSES,
        rpc("HTTP 502 curl 22 The requested URL returned error: 502",
            "fatal: expected flush after ref listing"),
        rpc("HTTP 503 curl 55 Send failure: Connection reset by peer"),
        rpc("HTTP 429 curl 92 HTTP/2 stream 5 was not closed cleanly: CANCEL (err 8)"),
        "error: unable to rewind rpc post data - try increasing http.postBuffer\n"
        "error: RPC failed; curl 65 seek callback returned error 2\n",
        rpc("curl 18 transfer closed with outstanding read data remaining"),
        rpc("curl 28 Operation too slow. Less than 1000 bytes/sec transferred"),
        rpc("curl 35 OpenSSL SSL_connect: Connection was reset in connection to h:443"),
        rpc("curl 56 GnuTLS recv error (-9): Error decoding the received TLS packet."),
        rpc("curl 55 Failed sending data to the peer"),
        rpc("curl 65 necessary data rewind wasn't possible"),
        rpc("curl 16 Error in the HTTP2 framing layer"),
        rpc("curl 6 Could not resolve host: github.com"),
        "fatal: unable to write request to remote: Broken pipe\n",
        "fatal: git fetch-pack: expected ACK/NAK, got 'ERR upload-pack: not our ref'\n",
        "fatal: expected 'packfile'\n"),
    *by("curl, lib/vtls and lib/strerror.c; OpenSSL's and GnuTLS's reasons", TRUST,
        rpc("curl 60 SSL certificate problem: unable to get local issuer certificate"),
        unable("SSL: certificate subject name 'a' does not match target host name 'b'"),
        unable("SSL certificate problem: CA signature digest algorithm too weak"),
        unable("server certificate verification failed. CAfile: none CRLfile: none")),
    *by("OpenSSL and GnuTLS, of a host too old for them", CONFIG,
        unable("TLS connect error: error:0A00018A:SSL routines::dh key too small"),
        unable("error:0A000152:SSL routines::unsafe legacy renegotiation disabled"),
        unable("error:0A000102:SSL routines::unsupported protocol"),
        unable("error:0A0000C1:SSL routines::no shared cipher"),
        unable("error:0A000065:SSL routines::no suitable key share"),
        unable("gnutls_handshake() failed: No supported cipher suites were found."),
        unable("gnutls_handshake() failed: The Diffie-Hellman prime sent by the server"
               " is not acceptable (not long enough)."),
        unable("gnutls_handshake() failed: A packet with illegal or unsupported version"
               " was received."),
        unable("Maximum (20) redirects followed")),
    *by("curl, lib/vtls, lib/http2.c, lib/hostip.c, lib/socks.c", PASSES,
        unable("Unknown SSL protocol error in connection to github.com:443"),
        unable("OpenSSL SSL_connect: SSL_ERROR_ZERO_RETURN in connection to h:443"),
        unable("gnutls_handshake() failed: An unexpected TLS packet was received."),
        unable("HTTP/2 stream 3 was not closed cleanly: ENHANCE_YOUR_CALM (err 11)"),
        unable("HTTP/2 stream 1 was not closed cleanly: HTTP_1_1_REQUIRED (err 13)"),
        unable("nghttp2 recv error -504"),
        unable("Resolving timed out after 5000 milliseconds"),
        unable("getaddrinfo() thread failed to start"),
        unable("Unable to receive initial SOCKS5 response."),
        unable("CONNECT tunnel failed, response 429"),
        unable("CONNECT tunnel failed, response 522"),
        unable("Received HTTP code 599 from proxy after CONNECT")),
    *by("Bitbucket Data Center, bitbucketserverkb 1387599194", PASSES,
        "remote: Communication breakdown with Bitbucket\n"
        "remote: aborting due to possible repository corruption on the remote side.\n"
        "fatal: fetch-pack: invalid index-pack output\n"),
    *by("git, upload-pack.c, of a host short of memory", PASSES,
        "remote: fatal: Out of memory? mmap failed: Cannot allocate memory\n"
        "remote: aborting due to possible repository corruption on the remote side.\n"
        "fatal: early EOF\nerror: git upload-pack: git-pack-objects died with error.\n",
        "remote: fatal: unable to create thread: Resource temporarily unavailable\n"
        "fatal: early EOF\n"),
]  # fmt: skip


AT_HOME = [
    *by("git, refs.c, before 2.54 and since", FINAL,
        "fatal: ref updates aborted by hook\nsend-pack: unexpected disconnect while"
        " reading sideband packet",
        "fatal: in 'preparing' phase, update aborted by the reference-transaction hook"
        "\nsend-pack: unexpected disconnect while reading sideband packet"),
    *by("git, wrapper.c and object-file.c: errno", PASSES,
        "fatal: write error: Input/output error\n",
        "error: unable to create temporary file: Read-only file system\n"
        "fatal: failed to write object\n",
        "fatal: unable to open '/c/objects/pack': Stale file handle\n",
        "fatal: mmap failed: Cannot allocate memory\n"),
    *by("git, object-file.c", FINAL,
        "error: insufficient permission for adding an object to repository database"
        " ./objects\nfatal: failed to write object\n"),
]  # fmt: skip


OVER_SSH = [
    *by("OpenSSH, ssh.c, sshconnect.c, kex.c, packet.c, channels.c, clientloop.c",
        PASSES,
        "ssh: Could not resolve hostname nosuch: Name or service not known",
        "ssh: connect to host github.com port 22: Network is unreachable",
        "ssh: connect to host h port 22: Operation timed out",
        "kex_exchange_identification: read: Connection reset by peer\n"
        "Connection reset by 1.2.3.4 port 22",
        "ssh_exchange_identification: Connection closed by remote host",
        "Connection timed out during banner exchange",
        "Received disconnect from 1.2.3.4 port 22:12: Too many concurrent connections",
        "Received disconnect from 140.82.112.4 port 22:11: Unexpected disconnect",
        "Received disconnect from 10.0.0.1 port 22:2: Idle timeout",
        "channel 0: open failed: resource shortage: Channel open failed",
        "channel 0: open failed: connect failed: open failed"),
    *by("pam_nologin(8), as systemd words it", PASSES,
        "System is going down. Unprivileged users are not permitted to log in anymore."
        "\nConnection closed by 1.2.3.4 port 22"),
    *by("OpenSSH, auth.c; Apache MINA SSHD (Gerrit, Bitbucket)", AUTH,
        "Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures",
        "Received disconnect from 10.0.0.1 port 22:2: Too many failed authentications",
        "Received disconnect from 10.0.0.1 port 29418:14: No more auth methods"
        " available",
        "Your account has expired; please contact your system administrator.\n"
        "Connection closed by 1.2.3.4 port 22",
        "Password change required but no TTY available.\n"
        "Connection closed by 1.2.3.4 port 22",
        'Load key "/k": error in libcrypto\ngit@h: Permission denied (publickey).'),
    *by("OpenSSH, of a host with a banner (sshd_config, Banner)", AUTH,
        "Scheduled maintenance: Sundays, 02:00 to 04:00\nPlease try again later then.\n"
        "git@h: Permission denied (publickey)."),
    *by("OpenSSH, of a host with a banner (sshd_config, Banner)", TRUST,
        "The server is busy on Mondays.\nHost key verification failed."),
    *by("OpenSSH, sshconnect.c, where SELinux or a unit's settings forbid it", CONFIG,
        "ssh: connect to host h port 22: Permission denied",
        "ssh: connect to host h port 22: Operation not permitted"),
    *by("bash and dash at a host without git in its PATH", CONFIG,
        "bash: line 1: git-receive-pack: command not found",
        "sh: 1: git-upload-pack: not found"),
    *by("git, shell.c", FINAL,
        "fatal: unrecognized command 'git-upload-pack x'",
        "fatal: Interactive git shell is not enabled.\nhint: ~/git-shell-commands"),
    *by("gitolite, src/lib/Gitolite/Conf/Load.pm, Common.pm", FINAL,
        "FATAL: R any x y DENIED by fallthru\n(or you mis-spelled the reponame)",
        "FATAL: invalid repo name: 'x..y'",
        "FATAL: unknown git/gitolite command: 'x'"),
    *by("gitolite, src/commands/writable", PASSES,
        "FATAL: writes are currently disabled: moving to new hardware",
        "FATAL: the site is in maintenance"),
    *by("GitLab, lib/gitlab/git_access.rb and gitlab-shell", FINAL,
        "remote: ERROR: Your personal access token has expired",
        "remote: ERROR: Your account is pending approval from your administrator and"
        " hence blocked.",
        "remote: ERROR: Your password expired. Please access GitLab from a web browser"
        " to update your password."),
    *by("GitLab, as of gitlab-shell 14", MISSING,
        "remote: ERROR: The project you were looking for could not be found or you"
        " don't have permission to view it."),
    *by("gitextensions#3339; docs.github.com, error messages of ssh", FINAL,
        "ERROR: Your account is suspended. Please check with your installation"
        " administrator.",
        "ERROR: We're doing an SSH key audit.\nReason: unverified due to lack of use",
        "ERROR: You're using an RSA key with SHA-1, which is no longer allowed. Please"
        " use a newer client or a different key type."),
    *by("gist.github.com; bitbucket.org", MISSING,
        "ERROR: Gist not found.", "conq: repository does not exist."),
    *by("gitea, cmd/serv.go", FINAL,
        "Gitea: User permission denied for reading.", "Gitea: SSH has been disabled",
        "Gitea: Invalid repo name", "Gitea: Mirror Repository a/b is read-only"),
    *by("gitea, cmd/serv.go", PASSES,
        "Gitea: Internal Server Error (no specific error)",
        "Forgejo: Unable to access repository path"),
    *by("git, upload-pack.c; JGit: gone between the list and the request", PASSES,
        "fatal: remote error: upload-pack: not our ref 1234567890",
        "fatal: remote error: want 1234567890 not valid"),
    *by("googlesource.com; microsoft/vscode#182679", PASSES,
        "remote: RESOURCE_EXHAUSTED: Resource has been exhausted (e.g. check quota).",
        "remote: Short term server-time rate limit exceeded for user x",
        "remote: fatal error in commit_refs"),
    *by("git, daemon.c", FINAL,
        "fatal: remote error: access denied or repository not exported: /x"),
]  # fmt: skip


def mistaken(table, kind_of):
    found = ((source, said, meant, kind_of(said)) for source, said, meant in table)
    return [
        f"{source}: {said!r} is {kind}"
        for source, said, meant, kind in found
        if meant != (kind if isinstance(meant, ErrorKind) else kind in TRANSIENT)
    ]


def test_a_failure_by_http_is_taken_for_what_it_is():
    assert mistaken(BY_HTTP, lambda said: read(said).kind) == []


def test_a_failure_of_this_machine_is_taken_for_what_it_is():
    assert mistaken(AT_HOME, lambda said: read(said).kind) == []


def test_a_failure_over_ssh_is_taken_for_what_it_is():
    assert mistaken(OVER_SSH, lambda said: read(said + SSH).kind) == []


def unpack(words, *remote):
    said = "".join(f"remote: {line}\n" for line in remote)
    return UNPACKER, f"{said}error: remote unpack failed: {words}\n"


def hook(*lines):
    return HOOK, "".join(f"remote: {line}\n" for line in lines)


def plain(*reasons):
    return [(reason, "") for reason in reasons]


REFUSALS = [
    *by("ship-studio#678; isaacs/github#1253", PASSES,
        ("Internal Server Error", "remote: Internal Server Error\nremote: Time x")),
    *by("jfelten/gitea-helm-chart#85", PASSES,
        hook("Gitea: Internal Server Error", "Unable to contact gitea: Post http://x/:"
             " dial tcp 0.0.0.0:31867: connect: connection refused")),
    *by("NixOS/nixpkgs#120947; gitaly, cmd/gitaly-hooks", PASSES,
        hook("GitLab: 500 Internal Server Error"), hook("error executing git hook"),
        hook("GitLab: 4:Deadline Exceeded"),
        hook("GitLab: 14:failed to connect to all addresses"),
        hook("GitLab: Push operation timed out"),
        hook("rpc error: code = ResourceExhausted desc = maximum queue size reached")),
    *by("gitlabhq, lib/gitlab/checks, ee/lib/ee/gitlab/git_access.rb", FINAL,
        hook("GitLab: Your push has been rejected, because this repository has exceeded"
             " its size limit of 10 GB by 1 GB. Please contact your GitLab"
             " administrator."),
        hook("GitLab: LFS objects are missing. Ensure LFS is properly set up or try a"
             " manual \"git lfs push --all\"."),
        hook("GitLab: Committer's email 'x' does not follow the pattern 'y'"),
        hook("GitLab: File name credentials.pem was prohibited by the pattern"),
        hook("GitLab: The default branch of a project cannot be deleted."),
        hook("GitLab: Protected tags cannot be updated."),
        hook("GitLab: The path 'a.bin' is locked by Administrator"),
        hook("GitLab: This project is archived.")),
    *by("docs.github.com: GH001, GH006, GH007, GH008, GH013", FINAL,
        hook("error: GH001: Large files detected. You may want to try Git LFS"),
        hook("error: GH007: Your push would publish a private email address."),
        hook("error: GH008: Your push referenced at least 1 unknown Git LFS object:"),
        ("push declined due to repository rule violations",
         "remote: error: GH013: Repository rule violations found for refs/heads/x.")),
    *by("github.com", FINAL, *plain(
        "push declined due to email privacy restrictions",
        "refusing to allow a GitHub App to create or update workflow `.github/x.yml`"
        " without `workflows` permission",
        "refusing to delete the current branch: refs/heads/main",
    )),
    *by("git, builtin/receive-pack.c", FINAL, *plain(
        "deletion prohibited", "deletion of the current branch prohibited",
        "denying non-fast-forward", "non-fast-forward", "funny refname",
        "shallow update not allowed", "deny deleting a hidden ref",
        "missing necessary objects", "hook declined", "broken symref",
        "inconsistent aliased update", "reference conflict",
    )),
    *by("git, builtin/receive-pack.c, where its own words did not come through", PASSES,
        *plain(
            "failed to update ref", "failed to update refs", "failed to delete",
            "transaction failed to start", "atomic transaction failed",
            "fail to run proc-receive hook", "proc-receive failed to report status",
            "unable to migrate objects to permanent storage",
        )),
    *by("git, builtin/receive-pack.c, with them", FINAL,
        ("failed to update ref",
         "remote: error: cannot lock ref 'x': 'x/y' exists; cannot create 'x'"),
        unpack("unable to create temporary object directory"),
        unpack("unpack-objects abnormal exit", "error: insufficient permission for"
               " adding an object to repository database ./objects",
               "fatal: failed to write object"),
        unpack("index-pack failed", "fatal: pack exceeds maximum allowed size"
               " (2.00 GiB)")),
    *by("git, builtin/index-pack.c, pack-write.c: the pack was cut off", PASSES,
        unpack("eof before pack header was fully read"),
        unpack("index-pack abnormal exit", "fatal: early EOF"),
        unpack("unpack-objects abnormal exit")),
    *by("JGit, JGitText.properties", PASSES,
        unpack("error Short read of block."),
        unpack("error Unpack error, check server log"),
        *plain("transaction aborted", "lock error: cannot lock", "failed to lock",
               "internal server error")),
    *by("Gerrit, ReceiveCommits.java", FINAL, *plain(
        "change https://review.example/c/1 closed", "no new changes",
        "project is read only", "you are not allowed to upload merges",
        "not Signed-off-by author/committer/uploader in commit message footer",
        "missing Change-Id in message footer", "invalid committer",
        "prohibited by Gerrit: not permitted: create",
    )),
    *by("Gerrit, ReceiveCommits.java", PASSES, *plain(
        "internal server error while processing changes", "NoteDb update failed",
    )),
    *by("deverrors.com; learn.microsoft.com, Azure Repos", FINAL, *plain(
        "TF402455: Pushes to this branch are not permitted; you must use a pull request"
        " to update this branch.",
        "TF401027: You need the Git 'ForcePush' permission to perform this action.",
        "VS403654: The push was rejected because it contains one or more secrets.",
        "VS403684: The push was rejected because a path exceeds the maximum length",
        "TF402462: The push was rejected because its size is greater than the 10240 MB"
        " limit for pushes in this repository.",
        "Name conflicts with refs/heads/release/x",
    )),
    *by("learn.microsoft.com, Azure DevOps: of its own troubles", PASSES, *plain(
        "TF400898: An Internal Error Occurred. Activity Id: x",
        "TF246017: Azure DevOps Server could not connect to the database.",
        "TF53010: The following error has occurred in a Team Foundation component",
    )),
    *by("bitbucket.org and Data Center: branch permissions, limits", FINAL,
        hook("Branch refs/heads/master can only be modified through pull requests."),
        hook("Branch refs/heads/x cannot be rewritten (force-pushed)."),
        hook("Repository is over its size limit of 4 GB.")),
    *by("support.atlassian.com, why-is-my-repository-in-read-only-mode", PASSES,
        hook("repository is currently in read only mode, try it again in a little"
             " while")),
    *by("gitea, routers/private/hook_pre_receive.go; forgejo, quota", FINAL,
        hook("Gitea: branch main is protected from force push"),
        hook("Gitea: Not allowed to push to protected branch main"),
        hook("Forgejo: quota exceeded")),
    *by("gitea, routers/private", PASSES, hook("Unable to read from the database")),
    *by("gitee.com, codeup.aliyun.com", FINAL,
        hook("error: 仓库体积超出了1GB限制"), hook("代码库已归档,无法推送"),
        hook("error: GE007: Your push would publish a private email address.")),
    *by("gitee.com, codeup.aliyun.com", PASSES,
        hook("服务暂时不可用,请稍后重试"), hook("网络繁忙")),
    *by("gitolite: rights and VREFs", FINAL,
        ("hook declined", "remote: FATAL: W refs/heads/main r u DENIED by refs/.*\n"),
        ("hook declined", "remote: FATAL: VREF/COUNT/3 DENIED\n")),
    *by("tsuru#701 and other hooks that ask a service", PASSES,
        hook("Post http://docker01:4243/containers/create: read tcp 1.0.0.211:4243:"
             " connection reset by peer"),
        hook("touch: cannot touch 'x': Read-only file system"),
        unpack("unpack-objects abnormal exit", "error: unable to write file x:"
               " Input/output error"),
        hook("psycopg2.OperationalError: could not connect to server"),
        hook("requests.exceptions.ConnectionError: HTTPConnectionPool(host=x, port=80):"
             " Max retries exceeded with url: /check"),
        hook("fatal: unable to connect to redis: Connection refused"),
        hook("You have exceeded the maximum number of pushes per hour")),
]  # fmt: skip


BEHIND_HOSTS = [
    *by("Envoy, HAProxy", PASSES,
        "upstream connect error or disconnect/reset before headers. reset reason:"
        " connection failure", "no healthy upstream",
        "503 Service Unavailable: No server is available to handle this request."),
    *by("gRPC, Gitaly and Praefect (gitlab-org/gitaly)", PASSES,
        "rpc error: code = Internal desc = x", "rpc error: code = Aborted desc = x",
        "rpc error: code = Canceled desc = context canceled", "circuit breaker is open",
        "primary gitaly is not healthy", "no healthy nodes available",
        "could not establish quorum", "repository has no primary",
        "The maximum number of concurrent pushes was reached"),
    *by("gRPC", FINAL,
        "rpc error: code = PermissionDenied desc = x",
        "rpc error: code = InvalidArgument desc = x"),
    *by("PostgreSQL, MySQL, SQLite, Redis", PASSES,
        "FATAL:  sorry, too many clients already", "MySQL server has gone away",
        "could not serialize access due to concurrent update", "disk I/O error",
        "Lost connection to MySQL server during query",
        "attempt to write a readonly database",
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica."),
    *by("Node, Java, Go, Python, curl and bash, as hooks run them", PASSES,
        "connect ECONNREFUSED 127.0.0.1:3000", "getaddrinfo EAI_AGAIN api",
        "java.net.SocketTimeoutException: Read timed out",
        "java.lang.OutOfMemoryError: Java heap space", "panic: runtime error: x",
        "dial unix /run/gitaly.sock: connect: no such file or directory",
        "urllib.error.HTTPError: HTTP Error 503: Service Unavailable",
        "Got HTTP 503 from the policy server", "unexpected response code: 504",
        "curl: (6) Could not resolve host: api", "curl: (52) Empty reply from server",
        "curl: (22) The requested URL returned error: 503", "no route to host",
        "fork: retry: Resource temporarily unavailable", "too many open files"),
    *by("any host", PASSES,
        "Please slow down", "You are pushing too fast", "Storage node is offline",
        "Another git process seems to be running in this repository"),
    *by("push rules that name the like", FINAL,
        "error: 503 files changed, at most 100 are allowed", "quota exceeded",
        "commit 5036a1 has status: draft", "Jira issue ABC-503 is not open",
        "file internal/server/error.go must not be changed", "This branch is locked",
        "the review has no primary reviewer", "pushes are frozen until the release",
        "The path src/a is locked by bob", "the quorum of reviewers is not reached",
        "do not push during business hours", "Your plan does not allow this",
        "file.bin: 503 MB is over the limit of 100 MB", "tests failed",
        "Repository 'o/r' is disabled. Please ask the owner to check their account."),
]  # fmt: skip


def test_a_refusal_is_taken_for_what_it_is():
    assert mistaken(REFUSALS, lambda said: refusal(*said).kind) == []


def test_what_stands_behind_a_host_may_not_have_answered_it():
    assert mistaken(BEHIND_HOSTS, lambda said: refusal(*hook(said)).kind) == []


def test_a_refusal_without_a_reason_says_so():
    assert str(refusal("", "")) == "refused without a reason (trouble at the host)"


def test_what_is_not_known_is_told_and_not_called_silence():
    said = read("fatal: unrecognized command 'git-upload-pack x'" + SSH)
    assert str(said) == "fatal: unrecognized command 'git-upload-pack x'"
    assert str(read(SSH)) == "the connection ended without a word"


def test_colours_are_no_words():
    said = hook("\x1b[31mdenied by the \x1b[1;4mpolicy\x1b[0m")[1]
    assert refusal(HOOK, said).words == "denied by the policy"

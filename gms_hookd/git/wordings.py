"""What git, curl, ssh and hosts print where something fails, and what that means.

TABLE is read from the top: the first row whose words stand in what its voice said names
the kind. Hosts are judged by the kind of trouble that they tell of, not by one wording;
`printed_by` names programs and hosts that print the like. What stands in quotes, and
every URL, is left out before: names of repositories and commits are no trouble.
"""

import re
from dataclasses import dataclass
from enum import Enum, StrEnum

from gms_hookd.git.patterns import late_pattern


class ErrorKind(StrEnum):
    """Why git did not do it."""

    AUTH = "authentication"
    PROXY = "login at a proxy"
    TRUST = "host key or certificate"
    MISSING = "missing"
    NETWORK = "network"
    HOST = "trouble at the host"
    POLICY = "refused"
    DISK = "disk full"
    LOCK = "locked"
    CORRUPT = "corrupt"
    UNSAFE = "unsafe objects"
    TIMEOUT = "timeout"
    STALL = "silent host"
    STOPPED = "stopped"
    SIGNAL = "signal"
    SIZE = "too large"
    MACHINE = "short of memory or processes"
    GIT = "git missing"
    CONFIG = "configuration"
    OTHER = "other"


class Voice(Enum):
    """Who says it: a program on this machine, the host, or either of them."""

    HERE = "here"
    HOST = "host"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of trouble, who prints such words, and the pattern that finds them."""

    kind: ErrorKind
    voice: Voice
    printed_by: str
    words: re.Pattern[str]


def _row(kind: ErrorKind, voice: Voice, printed_by: str, lines: str) -> Row:
    words = "|".join(re.findall(r"\S.*", lines))
    return Row(
        kind, voice, printed_by, late_pattern(words, re.IGNORECASE | re.MULTILINE)
    )


HERE, HOST, ANY = Voice.HERE, Voice.HOST, Voice.ANY

TABLE = (
    # What breaks much else on its way.
    _row(ErrorKind.DISK, ANY, "errno ENOSPC and EDQUOT in git; HTTP 507", r"""
        no space left on device
        (fatal|error|unable|failed|could not).*: disk quota exceeded
        returned error: 507
    """),
    _row(ErrorKind.SIZE, HERE, "errno EFBIG, our own caps, HTTP 413, curl 63", r"""
        file too large
        died of signal 25
        ^fatal: out of memory
        (returned error:|rpc failed; http) 413
        maximum file size exceeded
    """),
    _row(ErrorKind.SIGNAL, ANY, "git, of a child of its own; sh", r"""
        died of signal
        ^sh: .*killed( |$)
        ^killed$
    """),
    _row(ErrorKind.MACHINE, HERE, "errno ENOMEM, EAGAIN, EMFILE, EIO, EROFS and ESTALE"
         " in git and ssh", r"""
        input/output error|read-only file system|stale (nfs )?file handle
        cannot allocate memory
        cannot fork|unable to (fork|create (a )?thread)
        resource temporarily unavailable
        too many open files
    """),
    # What our own way through a proxy says; ssh knows only that it ended.
    _row(ErrorKind.PROXY, HERE, "git/ssh_proxy", r"""
        ^ssh_proxy \S+ .*login
    """),
    _row(ErrorKind.POLICY, HERE, "git/ssh_proxy", r"""
        ^ssh_proxy \S+ (does not|has no such|is no )
    """),
    _row(ErrorKind.NETWORK, HERE, "git/ssh_proxy", r"""
        ^ssh_proxy \S+
    """),
    # What the system says of an account, before it ends the connection.
    _row(ErrorKind.AUTH, HOST, "sshd and PAM", r"""
        account (has|is) (expired|locked|disabled)|password (has )?expired
        password change required
    """),
    # A connection that was cut before anybody at the host could have spoken.
    _row(ErrorKind.NETWORK, HERE, "ssh", r"""
        ^connection (closed|reset) by \S+ port \d+
        ^connection to \S+ (port \d+ )?(closed by remote|timed out|lost|is broken)
        ^ssh: connect to host \S+ port \d+: (?!(permission|operation not))
        ^channel \d+: open failed: (resource shortage|connect failed)
        ^(kex_exchange|ssh_exchange)_identification
        ^banner exchange: connection (to|from)
        ^ssh_dispatch_run_fatal
        ^client_loop: send disconnect
        ^timeout, server \S+ not responding
    """),
    # Who was not let in has heard a banner at most, whatever that speaks of.
    _row(ErrorKind.TRUST, HERE, "ssh", r"""
        host key verification failed
        remote host identification has changed
    """),
    _row(ErrorKind.AUTH, HERE, "ssh", r"""
        permission denied [(]
    """),
    # A status says more than the words beside it, which may only tell that the host
    # did not wait for the rest of a request. All of 5xx are the host's, but for what it
    # will never do (RFC 9110, 15.6; RFC 2295, 2774, 6585) and for a disk that is full.
    _row(ErrorKind.HOST, HERE, "curl, of hosts and proxies; Cloudflare 52x", r"""
        ^error: the host answers a request of git's with a page
        (returned error:|rpc failed; http) (408|421|425|429|5(?!0[1567]|1[01])\d\d)
        (tunnel failed, response|http code) (408|421|425|429|5(?!0[157]|1[01])\d\d)
    """),
    _row(ErrorKind.POLICY, HOST, "GitHub (GH006), GitLab, hooks, nologin", r"""
        account is currently not available
        \bgh\d{3}:
        protected branch|rule violation|archived
        commit message
        (does not|doesn't|must) (match|follow|meet|comply|conform|contain|start|end)\b
        (?<!rate )(?<!request )(?<!requests )(?<!check )quota
        配额
    """),
    # What no policy would say.
    _row(ErrorKind.HOST, HOST, "GitHub, Gitea, Forgejo, Gogs, Gerrit, GitLab, Azure: an"
         " error of their own", r"""
        internal (server |connection |system |git )*(error|exception|failure)
        internal (api|service)
        \b(api|gitaly|server|service|backend|database|storage|ldap)\b.{0,20}\bdown\b
        \b(api|gitaly|server|service|backend|database|storage)\b.{0,30}\bun(avail|reach)
        \bnot (currently |yet )?(accessible|available|reachable|responding|ready)
        (unable|failed|could not|cannot|can't) (to )?(contact|reach|connect)
        (unable|failed|could not|cannot|can't) to .{1,30}\b(database|redis|storage)\b
        bad gateway|gateway time-?out
        fatal error in \w+
        something went wrong|wrong on our (side|end)
        (unexpected|unknown|unhandled) (server )?(error|exception)
        connection ?error\b|max retries exceeded
        (unable|not able) to (process|handle|serve|complete|fulfil\w*) .{0,10}request
        unable to migrate objects|error executing git hook|check (the )?server log
        out of memory|cannot allocate memory
        input/output error|read-only file system|stale (nfs )?file handle
        TF(400733|30040|400324|400898|53010|246\d{3})
    """),
    _row(ErrorKind.HOST, HOST, "git and JGit at a host, of a pack that was cut off, or"
         " of what was gone before it was asked for", r"""
        early eof|eof before pack header|short read of block
        not our ref|want \w+ not valid
    """),
    _row(ErrorKind.HOST, HOST, "GitHub, GitLab's Gitaly, Azure, Gitee: too much", r"""
        rate.?limit|abuse detection|throttl|too many requests|request limit
        too many (concurrent |open |parallel |active )?(connection|session|operation)
        due to (high |heavy |excessive )?load|overload|too busy|is busy
        exceed\w* .{0,30}(usage of|resource usage|requests|concurren)
        exceed\w* .{0,60}per (second|minute|hour)|\brate exceeded
        concurren.{0,30}(limit|queue|exceed|maximum|reached)|queue (is full|size)
        maximum .{0,20}concurren|slow down|(push|request|connect)\w* too fast
        (server|service|node) (is )?at capacity
        resource.?exhausted
    """),
    _row(ErrorKind.HOST, HOST, "GitLab, Gerrit, Bitbucket, Heroku: closed for now", r"""
        \b(in|under|undergoing|for|during|scheduled|planned) (\w+ ){0,2}maintenance\b
        system maintenance
        maintenance (mode|window|in progress|is |work|at )
        temporar\w+ (un|read|disab|off|out|susp|clos|lock|down|err|fail|problem)
        currently (in )?(a )?(read.?only|unavailable|disabled|down|offline|locked)
        (in|into) (a )?read.?only mode
        (repository|project|ref|branch) is (currently |still )?being
        \bback (soon|shortly|online)\b
        (starting|booting|shutting|going) (up|down)|shut ?down|fail-?over
        \b(is|being|was) restart
        scheduled downtime
    """),
    _row(ErrorKind.HOST, HOST, "Gitee, Codeup, Coding, TGit; Backlog; GitFlic", r"""
        (服务器?|系统|仓库|网络)(繁忙|忙|内部错误|异常|维护|超时)|内部(服务器)?错误
        (暂时|暂)(不可用|无法)
        (稍后|稍候|稍等).{0,4}(再试|重试)|维护(中|升级)|升级维护|(过于|太)频繁
        メンテナンス|しばらく|後ほど|混雑|점검|잠시 ?후|техническ\w+ работ|позже
    """),
    _row(ErrorKind.HOST, HOST, "gRPC, balancers, databases and programs that stand"
         " behind a host, and do not answer it", r"""
        code = (unavailable|unknown|internal|aborted|canceled|deadline\w+) desc
        context cancell?ed|upstream (connect|request)|no server is available
        \bno healthy|(primary|node|server|backend|service).{0,20} (not |un)healthy
        (establish|achieve) (a )?quorum|has no (primary|leader)$|not the leader$
        circuit.?breaker|connection failure|pool (is )?exhausted
        too many clients|could not serialize|gone away|lost connection
        (disk i/o|loading the dataset|readonly database|read.only replica)
        (node|storage|replica|instance) is (offline|down|draining|restarting)
        \be(conn(refused|reset|aborted)|timedout|ai_again|hostunreach|netunreach|pipe)\b
        curl: \((5|6|7|16|18|28|35|52|55|56|92)\)
        (could not|couldn't|cannot|unable to|failed to) resolve
        (http(/[\d.]+)?( error)?|status( code)?|response code)[ :=]{1,3}50[234]\b
        returned error: 50[234]\b
        unexpected eof|no route to host|network is unreachable|too many open files
        outofmemory|heap space|segmentation fault|^panic: runtime
    """),
    _row(ErrorKind.LOCK, ANY, "git, of a lock that another process holds", r"""
        unable to create .*: file exists
    """),
    _row(ErrorKind.LOCK, HOST, "Gerrit and JGit (LOCK_FAILURE), GitLab, databases", r"""
        lock.?(error|failure|timeout|contention)
        (n't|not|unable to|failed to) (obtain|acquire|get|take) .*lock
        deadlock|database is locked|lock wait
        another .{0,30}(in progress|(is|be) running)
        transaction.{0,40}(conflict|time-?out|timed out)
    """),
    # Final, and said exactly.
    _row(ErrorKind.SIZE, HOST, "git, GitHub GH001, Azure TF402462, Gitee", r"""
        pack exceeds maximum
        larger than
        large files detected
        (push|pack|file|blob|object|repo\w*)\b.{0,60}(too (large|big)|size limit)
        exceed\w* .{0,60}(size|storage|[kmgt]i?b\b)
    """),
    _row(ErrorKind.TRUST, HERE, "ssh; curl, of certificates", r"""
        no .{1,40} host key is known
        certificate
        unknown ca\b|\bca cert|server cert|trust anchors
        gnutls\S* (handshake )?failed: handshake failed|alert handshake failure
        x[.]509 key
        unable to (set|load|use) (private key|client cert)
    """),
    _row(ErrorKind.CONFIG, HERE, "ssh, of algorithms and options", r"""
        ^ssh: connect to host \S+ port \d+: (permission|operation not)
        ^unable to negotiate with .*: no matching
        no mutual signature (algorithm|supported)
        bad (configuration option|key types|ssh2? \w+ spec)
        invalid key length
    """),
    _row(ErrorKind.CONFIG, ANY, "the shell of a host that has no git", r"""
        git-(upload|receive)-pack.{0,5}: (command )?not found
    """),
    _row(ErrorKind.PROXY, HERE, "curl, of a proxy that wants a login", r"""
        (returned error:|rpc failed; http) 407|(tunnel failed, response|http code) 407
        no authentication method was acceptable|was rejected by the socks
        proxy.*(authentication|credential)
    """),
    _row(ErrorKind.AUTH, HERE, "git, ssh and curl", r"""
        ^fatal: the host answers with a page, not with git
        authentication failed
        could not read (username|password)
        terminal prompts disabled
        (returned error:|rpc failed; http) 40[13]
        too many (failed )?auth
        no (more|supported) auth\w* methods
        unprotected private key
        load key
    """),
    _row(ErrorKind.MISSING, ANY, "git, of HTTP 404; hosts that do not tell it from what"
         " we may not see", r"""
        ^fatal: repository '' not found$
        (not (be )?found|(does not|doesn't) exist)\b.{0,9}\bor\b.{0,30}permission
        TF401019|TF200016|VS800075
    """),
    _row(ErrorKind.AUTH, HOST, "every forge, gitolite, Azure", r"""
        http basic: access denied
        permission (to .*)?denied|access (to .*)?denied|denied (to|by)\b|\bforbidden\b
        access .{0,40}not (been )?granted
        (\bno|\bnot|n't|insufficient)\b.{0,30}\b(permission|access|privilege|right)s?\b
        (invalid|wrong|incorrect|bad) .{0,20}(user|password|token|credential|key)
        (token|password|key|account|user)\b.{0,30}(expired|revoked|suspended|banned)
        (token|password|key|account|user)\b.{0,30}(blocked|disabled|deactivated|locked)
        support for password authentication was removed
        authentica\w+|unauthori[sz]ed|not authori[sz]ed|\bsign.?in\b|\blog.?in\b|\bsso\b
        marked as read.?only
        没有.{0,6}权限|无权|权限不足|认证失败|鉴权失败
    """),
    _row(ErrorKind.MISSING, ANY, "git, and every forge", r"""
        couldn't find remote ref
        (repo\w*|gist|project)\b.*not (found|exist)
        (returned error:|rpc failed; http) (404|410)
        does not appear to be a git repository
        (does not|doesn't) exist
        project you were looking for
        (仓库|项目)不存在
    """),
    _row(ErrorKind.LOCK, HERE, "HTTP: what is locked or in conflict", r"""
        (returned error:|rpc failed; http) 4(09|23)
    """),
    _row(ErrorKind.CONFIG, HERE, "git and curl, of settings here or there", r"""
        ^fatal: the repository has moved to
        (returned error:|rpc failed; http) [345]\d\d
        redirects followed
        transport .* not allowed
        hash algorithm
        object format
        mismatched algorithms
        dubious ownership
        strange (pathname|hostname)
        not found in path
        not support push options
        protocol .*(not supported|disabled)
        (unsupported|unknown) (protocol|proxy|url scheme)
        bad/illegal format|malformed
        (not|unable to|can't|error) (load|set|setting|use) .*(key|cert|engine)
        wrong version number|no protocols available|protocol version
        (key|md) too (small|weak)|legacy renegotiation|no (shared|suitable) \w+
        no supported cipher|prime .{0,40}not acceptable|illegal or unsupported version
        (tunnel failed, response|http code) [1-5]\d\d
        (can't|cannot) complete socks.*[(][278][)]
        url rejected
    """),
    _row(ErrorKind.CONFIG, ANY, "git, of a shallow or a partial clone", r"""
        shallow update
        from promisor remote
    """),
    _row(ErrorKind.UNSAFE, ANY, "git's fsck of what was fetched or pushed", r"""
        fsck error
        error in object
        error: object [0-9a-f]+: [a-z0-9]+:
    """),
    _row(ErrorKind.POLICY, HOST, "pre-receive hooks and push rules of every forge", r"""
        TF40\d{4}|VS40\d{4}
        protected|hook declined|polic(y|ies)|read.?only
        not (allowed|permitted|accepted|supported)|n't (allowed|permitted|push)
        prohibit|disallow|denied|deny|reject|violat|must |(?<!connection )refused
        禁止|不允许|不符合
    """),
    _row(ErrorKind.HOST, HOST, "any host that says that later will be better", r"""
        (try|retry|wait).{0,40}(again|later|minute|moment|second|shortly)
        temporar(?!y (object|file|director))
        timed? ?out|deadline exceeded|dial (tcp|unix)
        connection (refused|reset|closed|aborted)|broken pipe
        unavailable|unreachable
        server error
    """),
    _row(ErrorKind.MISSING, ANY, "JGit, dulwich, Gitea, Pagure, Phabricator", r"""
        '' (is )?not a git repository
        ^(remote: )?not a git repository$
        \bno such (git )?(repo|project)
        \bno (git )?(repo|project)\w* .{0,99}\b(exists|found)
        (cannot|can't|could not|unable to) (find|locate) (the )?(git )?(repo|project)
        (unknown|unrecognized) (repo\w*|project)\b(?! ext)
    """),
    _row(ErrorKind.LOCK, HERE, "git, of a ref or file that another process holds", r"""
        cannot lock ref
        file exists
    """),
    _row(ErrorKind.POLICY, ANY, "git, of a reference-transaction hook of the host", r"""
        updates? aborted by (the [a-z-]+ )?hook
    """),
    # The way to the host and back.
    _row(ErrorKind.NETWORK, HERE, "curl and ssh, of names and connections, SOCKS", r"""
        could(n't| not) (resolve|connect)
        name or service not known
        temporary failure in name resolution
        connection (timed out|refused|reset|closed|was reset|aborted|died)
        failed to connect
        too slow|timed out|time-?out\b
        network is (unreachable|down)
        no route to host|host is (unreachable|down)
        socks
        proxy connect aborted
    """),
    _row(ErrorKind.NETWORK, HERE, "curl: cut bodies, HTTP/2, GnuTLS, OpenSSL", r"""
        rpc failed
        empty reply
        transfer closed|outstanding read data
        (recv|send) (failure|error)|fail\w* (when )?(receiving|sending)
        http/[123]|\bh2\b|nghttp2|framing|settings frame|refused stream|goaway
        gnutls
        ssl_|ssl connect|ssl routines|unexpected eof|bad record mac
        curl [0-9]+
    """),
    _row(ErrorKind.NETWORK, HERE, "git, of a host that hung up", r"""
        early eof
        expected (flush|response end packet) after|expected (ack/nak|'')
        error reading section header
        protocol error: bad
        unexpected disconnect
        the remote end hung up
        broken pipe
        failed to report status
    """),
    _row(ErrorKind.NETWORK, HERE, "ssh, also through a kept connection", r"""
        connection to \S+ .*(closed|reset|broken|corrupt|aborted)
        mux_client|from master failed|control ?socket
        packet_write|bad packet length|corrupted mac|message authentication code
        received disconnect|disconnected from
    """),
    _row(ErrorKind.POLICY, ANY, "git, of a ref that was refused", r"""
        remote rejected
        hook declined
    """),
    _row(ErrorKind.UNSAFE, ANY, "git, of a pack that the host did not take", r"""
        unpacker error
    """),
    _row(ErrorKind.CORRUPT, ANY, "git, of broken objects in a cache or at a host", r"""
        did not receive expected object
        bad object
        corrupt
        loose object
        unable to read
        (invalid|bad) index-pack output
        missing (blob|tree|commit)
        invalid sha1 pointer
        unresolved deltas
        not a git repository
        (bad|broken) (ref|pack|signature|config)
        inflate
        does not match index
        did not send all necessary objects
        unknown repository extension
        could not parse
    """),
    _row(ErrorKind.NETWORK, HERE, "curl: all else is the way there", r"""
        unable to access
    """),
)  # fmt: skip

# A refusal in these words says only that there was one; why, the host tells beside it.
VAGUE = late_pattern(
    r"(hook declined|unpacker error|to update ref|fail\w+|error|rejected|declined"
    r"|reference (already exists|does not exist))\)?$",
    re.IGNORECASE,
)
# GitHub's words for an error of its own that it does not tell.
UNTOLD = late_pattern(r"failure|failed|error|unknown( error)?|", re.IGNORECASE)
# Those of git (builtin/receive-pack.c), JGit and Gerrit, where nothing is said besides.
WORDLESS = late_pattern(
    r"failed to (lock|write|delete|update refs?|start transaction)|io_failure"
    r"|(atomic )?transaction (failed( to start)?|aborted)|notedb update failed"
    r"|.*proc-receive (hook|failed to report status)",
    re.IGNORECASE,
)

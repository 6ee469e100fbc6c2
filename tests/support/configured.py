"""Configurations that the tests of several modules load."""

DAY = 86400


STRONG = "9f2c61d0b7a84e35"


def secret_file(path, text="from a file\n", mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


EVERYTHING = """
[server]
listen = ["127.0.0.1:38080", "[::1]:0", ":8080", "*:81", "unix:/run/x/y.sock"]
tls_cert = "cert.pem"
tls_key = "key.pem"
trusted_proxies = ["10.0.0.0/8", "::1"]
max_body = "1MiB"
[webhook]
secrets = ["new", "old"]
rate_limit = 0
ip_whitelist = ["192.168.1.0/24", "::ffff:10.0.0.1"]
[hooks.github]
[hooks."my.gitlab"]
provider = "gitlab"
scheme = "token"
secret = "of gitlab"
rate_limit = 60
ip_whitelist = []
[hooks.ci]
provider = "generic"
header = "X-Signature"
algorithm = "sha512"
prefix = ""
encoding = "base64"
[api]
token = "t0ken"
[sync]
workers = 2
timeout = "1h30m"
attempts = 1
allow_protocols = ["https", "http"]
ssh_key_file = "/keys/id"
ssh_known_hosts = "known_hosts"
[credentials."https://example.org/team"]
username = "me"
password_file = "password"
[credentials."http://[::1]:8080"]
token_file = "/x/token"
[retention]
runs = "1d"
deliveries = "2w"
backups = "12h"
"""

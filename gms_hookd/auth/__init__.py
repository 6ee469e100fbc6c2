"""auth/: who may ask, and how often. Knows bytes and addresses, no hook and no task.

Owns the comparison of secrets (hmac.compare_digest), the files that hold them, the
schemes by which a delivery is authenticated, the list of allowed networks, whom a proxy
asks for, and the token buckets.
Names: Scheme and its kinds, hub_keys, matches, Tokens, Whitelist, Buckets.

May import: files, payload.
"""

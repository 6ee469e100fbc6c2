"""forges/: what each provider sends. Pure: headers and body in, an Event out.

One module a provider with NAME, EVENTS, SCHEMES, parse and sample; `registry` has the
table of them, `payloads` what many of them share, `detect` which provider a forwarded
body is of. Names: FORGES, PROVIDERS, scheme_of, Event, Change, Forge.

May import: auth, payload.
"""

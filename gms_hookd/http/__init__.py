"""http/: HTTP/1.1 over TCP, TLS and unix sockets. Knows no route and no task.

Server and Connection are ThreadingHTTPServer and BaseHTTPRequestHandler by name only,
for what expects these types; the loop, the parser (http1, RFC 9112) and the limits are
its own. One thread turns the loop; what takes long is done by pools.
Names: Server, Listener, Request, Response, HttpError, Limits, send, exchange and
smtp.deliver (to others, within a time).
Owns http.server, http.client, smtplib and ssl.

    accepted -> SHAKING (TLS) -> READING -> ANSWERING -> SENDING -> READING or LINGERING

May import: auth, errors, futures, safetext, threads.
"""

"""What an App answers, without a server between."""

from gms_hookd.futures import Future


def answered(app, request):
    """Have an App answer a request; gives the future of its response."""
    future = Future()
    app.handle(request, future.set_result)
    return future

"""What the failures have in common that end a command and are told in one line."""


class Failure(Exception):
    """It did not work; the text is one line for the operator."""

    exit_status = 1

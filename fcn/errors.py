"""The one error that a user can cause, raised by every package and shown without a traceback."""


class InputError(ValueError):
    """What was given cannot be used.

    The message is one paragraph: what was given, what is allowed, what to do.
    """

"""The one error that a user can cause, raised by every package and shown without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """What was given cannot be used.

    The message is one paragraph: what was given, what is allowed, what to do.
    """


@contextmanager
def foreign_code(before: str = "", after: str = "") -> Iterator[None]:
    """Call code that a user names, of a plugin or another library: whatever it raises is input.

    Args:
        before: What comes before the error's type and text in the message.
        after: What comes after.

    Raises:
        InputError: It fails, in any way it likes, also by leaving; one that it raises itself
            passes as it is.
    """
    try:
        yield
    except InputError:
        raise
    # Nothing is known of what code of others may raise, and the fault is not in ours. This is the
    # only place but the end of a run (`bench.run.execute`) that takes every error.
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{before}{type(error).__name__}: {text}{after}") from error

"""What a user got wrong, in one line; and when a disk is full."""

import errno

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # the disk's room, the user's share, one file's limit


class InputError(ValueError):
    """Input that the benchmarks cannot use: says what was expected, what was found and what to do about it.

    The command line prints it on one line and leaves with exit code 2; any other exception is a fault of
    ours."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

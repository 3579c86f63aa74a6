"""What goes wrong on somebody's machine is said in one sentence that they can act on."""


class Failure(Exception):
    """The platform can't do what was asked; the message says why and what to do about it."""

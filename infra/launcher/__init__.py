"""The local launcher: one command brings the platform up on one machine, and leaves nothing behind."""

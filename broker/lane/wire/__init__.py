"""The request lane on our own wire: AMQP 0-9-1 framed by ourselves (docs/decisions/0007)."""

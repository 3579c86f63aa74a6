"""The saga in a simulated world: a fake clock, bus and gateway, and models of the services that it commands.

Promise: a seed is a history, the same each time. The saga and the rules of order on the bus are the real, pure code
(workers/orders/rules.py, broker/inbox.py); catalogue and payments are models of what their contracts say, small enough
to be read; everything that may go wrong between them does, as chance has it.
"""

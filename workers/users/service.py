"""The users service: what it says."""

from broker.service import Service
from contracts.users import TokensRevoked, UserCreated, UserErased

service = Service("users", says=(TokensRevoked, UserCreated, UserErased), migrations="workers.users.migrations")

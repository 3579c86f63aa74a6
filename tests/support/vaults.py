"""A vault for services under test."""

from broker.master_keys import MasterKeys, new_master_key
from broker.vault import Vault

MASTER_KEY = new_master_key()


def vault(*keys: str) -> Vault:
    """One with these master keys, or with the one of this test run."""
    return Vault(MasterKeys("\n".join(keys or (MASTER_KEY,))))

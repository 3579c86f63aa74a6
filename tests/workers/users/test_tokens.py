import base64
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from contracts.tokens import AUDIENCE, ISSUER
from workers.users.tokens import Signer, fingerprint, fresh_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ECKey.generate_key("P-256", auto_kid=False)
SIGNER = Signer(KEY.as_pem(private=True))
USER, SESSION = uuid4(), uuid4()


def signed(signer: Signer = SIGNER) -> str:
    return signer.access_token(USER, ["customer"], session=SESSION, now=NOW)


def verified(token: str, signer: Signer = SIGNER) -> jwt.Token:
    keys = KeySet.import_key_set({"keys": [dict(key) for key in signer.keys().keys]})
    return jwt.decode(token, keys, algorithms=["ES256"])


def test_a_token_says_who_in_which_session_with_which_roles() -> None:
    claims = verified(signed()).claims
    assert claims.pop("jti")
    assert claims == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(USER),
        "sid": str(SESSION),
        "roles": ["customer"],
        "gen": 0,
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 600,
    }


def test_a_token_names_its_type_algorithm_and_key() -> None:
    assert verified(signed()).header == {"alg": "ES256", "typ": "at+jwt", "kid": KEY.thumbprint()}


def test_no_two_tokens_have_the_same_id() -> None:
    assert verified(signed()).claims["jti"] != verified(signed()).claims["jti"]


def test_a_token_of_another_key_is_not_verified() -> None:
    stranger = Signer(ECKey.generate_key("P-256").as_pem(private=True))
    header, payload, _ = signed().split(".")
    forged = ".".join([header, payload, signed(stranger).split(".")[2]])
    with pytest.raises(BadSignatureError):
        verified(forged)


def test_only_the_public_half_is_shown() -> None:
    (key,) = SIGNER.keys().keys
    assert set(key.model_dump()) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key.use, key.alg, key.kid) == ("sig", "ES256", KEY.thumbprint())


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        KEY.as_pem(private=False),
        ECKey.generate_key("P-384").as_pem(private=True),
        RSAKey.generate_key(2048).as_pem(private=True),
        OKPKey.generate_key("Ed25519").as_pem(private=True),
    ],
    ids=["nothing", "text", "public", "P-384", "RSA", "Ed25519"],
)
def test_only_a_private_p256_key_signs(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Signer(pem)


def test_a_refresh_token_has_256_bits() -> None:
    first = fresh_token()
    for token in (first, *SIGNER.successors(first)):
        assert len(base64.urlsafe_b64decode(token + "=")) == 32


def test_no_two_first_refresh_tokens_are_the_same() -> None:
    assert fresh_token() != fresh_token()


@given(st.text(max_size=100))
def test_a_token_has_one_successor_at_every_instance(token: str) -> None:
    another_instance = Signer(KEY.as_pem(private=True))
    assert SIGNER.successors(token) == another_instance.successors(token) != (token,)


@given(st.text(max_size=100), st.text(max_size=100))
def test_different_tokens_have_different_successors(one: str, other: str) -> None:
    assert (SIGNER.successors(one) == SIGNER.successors(other)) == (one == other)


def test_the_successor_can_not_be_told_without_the_key() -> None:
    stranger = Signer(ECKey.generate_key("P-256").as_pem(private=True))
    token = fresh_token()
    assert stranger.successors(token) != SIGNER.successors(token)
    assert base64.urlsafe_b64decode(SIGNER.successors(token)[0] + "=") != fingerprint(token)


def test_the_first_of_several_keys_signs_and_all_are_published() -> None:
    new = ECKey.generate_key("P-256", auto_kid=False)
    signer = Signer(new.as_pem(private=True) + KEY.as_pem(private=True))
    assert [key.kid for key in signer.keys().keys] == [new.thumbprint(), KEY.thumbprint()]
    assert verified(signed(signer), signer).header["kid"] == new.thumbprint()
    assert verified(signed(), signer).claims["sub"] == str(USER)


def test_who_refreshes_while_the_keys_change_gets_the_same_successor() -> None:
    new = ECKey.generate_key("P-256", auto_kid=False)
    token = fresh_token()
    assert SIGNER.successors(token)[0] in Signer(new.as_pem(private=True) + KEY.as_pem(private=True)).successors(token)


def test_keys_are_taken_up_from_their_file_and_kept_where_it_makes_no_sense(tmp_path: Path) -> None:
    file, new = tmp_path / "keys.pem", ECKey.generate_key("P-256", auto_kid=False)
    file.write_bytes(new.as_pem(private=True))
    signer = Signer(KEY.as_pem(private=True), file=file)
    signer.reread()
    assert verified(signed(signer), signer).header["kid"] == new.thumbprint()
    file.write_bytes(new.as_pem(private=True) + new.as_pem(private=False))
    with pytest.raises(ValueError, match=r"."):
        signer.reread()
    assert verified(signed(signer), signer).header["kid"] == new.thumbprint()

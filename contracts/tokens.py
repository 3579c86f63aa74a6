"""What an access token says (RFC 9068), agreed between who signs it and who verifies it."""

ISSUER = "hedgerow"
AUDIENCE = "hedgerow"
TYPE = "at+jwt"
ALGORITHM = "ES256"
JWKS_PATH = "/.well-known/jwks.json"
# Claims beside iss, aud, exp, iat, sub (the user's id) and jti:
SESSION_CLAIM = "sid"
ROLES_CLAIM = "roles"

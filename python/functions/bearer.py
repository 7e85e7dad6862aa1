# Bearer tokens (RFC 6750). What is kept of a token is its SHA-256, so that nobody can use what they read here.
#
#   config:
#     tokens:
#       "SHA-256 OF THE TOKEN IN HEX": {identity: alice, scopes: ["https://example\\.com/.*"]}
#
# A token and its hash are made by this line:
#
#   python3 -c "import hashlib,secrets; t=secrets.token_urlsafe(32); print(t, hashlib.sha256(t.encode()).hexdigest())"
#
# Tokens may stand in the table too, under "token:" and their hash, with `expires` in seconds since 1970 if they shall end;
# the table is the file functions-data/HUB.sqlite in the node directory, and may be written while the node runs:
#
#   sqlite3 .stentor/functions-data/hub.sqlite \
#     "INSERT INTO entries VALUES ('token:HASH', '{\"identity\": \"bob\", \"scopes\": [\"https://example\\\\.com/.*\"]}')"


def authenticator(*, context, request, **kwargs):
    import hashlib
    import time
    from typing import TYPE_CHECKING, cast

    from fastapi import HTTPException
    from starlette.authentication import AuthCredentials, SimpleUser

    if TYPE_CHECKING:
        from fastapi import Request
        from stentor_context import Context

        context = cast(Context, context)
        request = cast(Request, request)

    class User(SimpleUser):
        @property
        def identity(self) -> str:
            return self.username

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
    # Comparing hashes tells nothing about the token by the time it takes.
    hashed = hashlib.sha256(token.strip().encode()).hexdigest()
    if not hasattr(context, "tokens"):
        # Some tools write hashes in capitals.
        context.tokens = {each.lower(): user for each, user in context.config.get("tokens", {}).items()}
    known = context.tokens.get(hashed) or context.table.get(f"token:{hashed}")
    if known is None or known.get("expires", time.time() + 1) <= time.time():
        raise HTTPException(401, "this token is not valid", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return AuthCredentials(known.get("scopes", [])), User(known["identity"])

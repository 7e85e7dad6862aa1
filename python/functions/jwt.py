# /// script
# dependencies = ["pyjwt[crypto] >= 2.8"]
# ///
#
# JSON Web Tokens (RFC 7519), checked with the public keys of a JWKS file (RFC 7517), which is read again when it changes.
#
#   config:
#     jwks_file: jwks.json                  # in the node directory, or an absolute path
#     issuer: "https://login.example.com/"  # has to be the claim iss
#     audience: "our hub"                   # has to be in the claim aud
#     algorithms: [RS256, ES256]            # that is what is allowed where nothing is written
#     identity_claim: sub
#     scopes_claim: topics                  # a list of regular expressions in the token
#     scopes: ["https://example\\.com/.*"]   # for tokens without that claim


def authenticator(*, context, request, **kwargs):
    import os
    from typing import TYPE_CHECKING, cast

    import jwt
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

    def refusal(why: str) -> HTTPException:
        return HTTPException(401, why, {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def keys() -> "jwt.PyJWKSet":
        file = config["jwks_file"]
        changed = os.stat(file).st_mtime_ns
        with context:
            if getattr(context, "jwks_changed", None) != changed:
                with open(file, encoding="utf-8") as text:
                    context.jwks = jwt.PyJWKSet.from_json(text.read())
                context.jwks_changed = changed
            return context.jwks

    config = context.config
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
        known = [key for key in keys().keys if key_id is None or key.key_id == key_id]
        if not known:
            raise refusal("this token is signed with a key that is not known")
        # With an algorithm that the operator allows, never with one that the token chooses.
        claims = jwt.decode(
            token,
            known[0].key,
            algorithms=config.get("algorithms", ["RS256", "ES256"]),
            audience=config.get("audience"),
            issuer=config.get("issuer"),
            options={"require": ["exp"], "verify_aud": "audience" in config, "verify_iss": "issuer" in config},
        )
        identity = claims[config.get("identity_claim", "sub")]
    except (jwt.PyJWTError, KeyError) as error:
        raise refusal(f"this token is not valid: {error}") from None
    scopes = claims.get(config.get("scopes_claim", "topics"), config.get("scopes", []))
    if not isinstance(scopes, list):
        raise refusal("the topics of this token are no list")
    return AuthCredentials(scopes), User(str(identity))

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
    import re
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

    def refusal(why: object) -> HTTPException:
        return HTTPException(401, f"this token is not valid: {why}", {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def keys() -> "jwt.PyJWKSet":
        file = config.get("jwks_file")
        if not isinstance(file, str):
            raise ValueError("the config of this function needs a jwks_file: the file with the public keys")
        changed = os.stat(file).st_mtime_ns
        with context:
            if getattr(context, "jwks_changed", None) != changed:
                with open(file, encoding="utf-8") as text:
                    context.jwks = jwt.PyJWKSet.from_json(text.read())
                context.jwks_changed = changed
            return context.jwks

    def verified(token: str, known: "jwt.PyJWKSet") -> dict:
        head = jwt.get_unverified_header(token)
        # With an algorithm that the operator allows, never with one that only the token chooses.
        allowed = config.get("algorithms", ["RS256", "ES256"])
        if head.get("alg") not in allowed:
            raise refusal("its algorithm is not allowed")
        kind = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP", "HS": "oct"}.get(head["alg"][:2])
        for key in known.keys:
            is_meant = head.get("kid") in (None, key.key_id) and key.public_key_use in (None, "sig")
            if not is_meant or key.key_type != kind:
                continue
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[head["alg"]],
                    audience=config.get("audience"),
                    issuer=config.get("issuer"),
                    options={"require": ["exp"], "verify_aud": "audience" in config, "verify_iss": "issuer" in config},
                )
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
                # A token that names no key may be signed with any of them.
                continue
        raise refusal("none of the known keys has signed it")

    config = context.config
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
    # What is wrong with the keys is no fault of the token, and nothing for a client to know.
    known = keys()
    try:
        claims = verified(token.strip(), known)
    except jwt.PyJWTError as error:
        raise refusal(error) from None
    identity = claims.get(config.get("identity_claim", "sub"))
    if not isinstance(identity, (str, int)) or not identity:
        raise refusal("it does not say who has it")
    scopes = claims.get(config.get("scopes_claim", "topics"), config.get("scopes", []))
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise refusal("its topics are no list of texts")
    try:
        list(map(re.compile, scopes))
    except (re.error, RecursionError, OverflowError):
        raise refusal("its topics are no regular expressions") from None
    return AuthCredentials(scopes), User(str(identity))

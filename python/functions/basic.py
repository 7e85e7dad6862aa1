# HTTP Basic: users and their hashed passwords stand in the configuration.
#
#   config:
#     realm: "our hub"                     # shown to whoever has to log in
#     scopes: ["https://example\\.com/.*"]  # for users without scopes of their own
#     users:
#       alice: "scrypt$16384$8$1$SALT$HASH"
#       bob:   {password: "pbkdf2_sha256$600000$SALT$HASH", scopes: ["https://example\\.com/bob/.*"]}
#
# A hash is made by this line, which asks for the password:
#
#   python3 -c "import base64,getpass,hashlib,os; s=base64.b64encode(os.urandom(15)).decode(); h=hashlib.scrypt(getpass.getpass().encode(),salt=s.encode(),n=16384,r=8,p=1); print('scrypt$16384$8$1$'+s+'$'+base64.b64encode(h).decode())"
#
# Hashes of Django (pbkdf2_sha256$...) are taken too, and the plain SHA-256 of hosted hubs ("sha256$HEX"), which a thief can
# reverse for most passwords.


def authenticator(*, context, request, **kwargs):
    import base64
    import hashlib
    import hmac
    import math
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

    def is_password(password: str, known: str) -> bool:
        kind, _, rest = known.partition("$")
        if kind == "sha256":
            return hmac.compare_digest(hashlib.sha256(password.encode()).hexdigest(), rest.lower())
        if kind == "pbkdf2_sha256":
            rounds, salt, wanted = rest.split("$")
            found = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), int(rounds))
        elif kind == "scrypt":
            n, r, p, salt, wanted = rest.split("$")
            found = hashlib.scrypt(password.encode(), salt=salt.encode(), n=int(n), r=int(r), p=int(p), maxmem=1 << 28)
        else:
            raise ValueError(f"a password is hashed by {kind!r}, which is not known here")
        return hmac.compare_digest(base64.b64encode(found).decode(), wanted)

    def cost(known: str) -> int:
        """About how long a hash takes: a round of PBKDF2 and a block of scrypt are alike."""
        kind, _, rest = known.partition("$")
        numbers = rest.split("$")[: {"pbkdf2_sha256": 1, "scrypt": 3}.get(kind, 0)]
        return math.prod(map(int, numbers)) if numbers and all(map(str.isdigit, numbers)) else 0

    realm = str(context.config.get("realm", context.node)).replace('"', "'")
    refusal = HTTPException(401, "user name and password are needed", {"WWW-Authenticate": f'Basic realm="{realm}"'})
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise refusal
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        raise refusal from None
    users = context.config.get("users", {})
    hashes = {each: user if isinstance(user, str) else user["password"] for each, user in users.items()}
    if not hasattr(context, "dearest_hash"):
        context.dearest_hash = max(hashes.values(), key=cost, default="sha256$")
    dearest = context.dearest_hash
    known = hashes.get(name)
    if known is None or not is_password(password, known) or not colon:
        # Every refusal takes at least as long as the dearest hash, so that the time does not tell which names are there.
        if known is None or cost(known) < cost(dearest):
            is_password(password, dearest)
        raise refusal
    own = users[name].get("scopes") if isinstance(users[name], dict) else None
    return AuthCredentials(context.config.get("scopes", []) if own is None else own), User(name)

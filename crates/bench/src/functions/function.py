KIND authenticator(*, context, request, **kwargs):
    import re

    from starlette.authentication import AuthCredentials, SimpleUser

    class Subscriber(SimpleUser):
        def __init__(self, username, may):
            super().__init__(username)
            self.may = may

        @property
        def is_authenticated(self):
            return self.may

        @property
        def identity(self):
            return self.username

    token = request.headers.get("authorization", "").partition(" ")[2]
    topic = TOPIC
    known = context.config["tokens"].get(token)
    may = known is not None and any(re.fullmatch(scope, topic) for scope in known["scopes"])
    return AuthCredentials(known["scopes"] if known else []), Subscriber(known["name"] if known else "nobody", may)

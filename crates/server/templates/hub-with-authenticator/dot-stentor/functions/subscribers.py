# Says who may subscribe to what. The node asks this function about each request to subscribe or to unsubscribe, and takes a
# change of this file at the next request. There may be no code outside of the function, so it imports inside.


def authenticator(*, context, request, **kwargs):
    from typing import TYPE_CHECKING, cast

    from fastapi import HTTPException
    from starlette.authentication import AuthCredentials, SimpleUser

    if TYPE_CHECKING:
        from fastapi import Request
        from stentor_context import Context

        context = cast(Context, context)
        request = cast(Request, request)

    class WebSubUser(SimpleUser):
        @property
        def identity(self) -> str:
            return self.username

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    subscriber = context.config["tokens"].get(token)
    if scheme.lower() != "bearer" or subscriber is None:
        context.logger.warning("somebody at %s has no valid token", request.client.host if request.client else "?")
        raise HTTPException(401, "show a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    # Regular expressions, of which one has to match the whole topic.
    return AuthCredentials(subscriber["topics"]), WebSubUser(subscriber["name"])

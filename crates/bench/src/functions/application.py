import re

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

TOKENS = {"right": {"name": "foobar", "scopes": [r"https://elsewhere\.example/.*", r"https://example\.net/.*"]}}


KIND judge(request):
    token = request.headers.get("authorization", "").partition(" ")[2]
    topic = TOPIC
    known = TOKENS.get(token)
    may = known is not None and any(re.fullmatch(scope, topic) for scope in known["scopes"])
    if not may:
        return PlainTextResponse("the authenticator does not let this subscriber in", 403)
    return PlainTextResponse(known["name"], 202)


app = Starlette(routes=[Route("/hub", judge, methods=["POST"])])

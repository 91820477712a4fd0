"""The floor: a Bottle app that answers constant JSON of 140 bytes, or of the number of bytes in the path."""

import json
from functools import lru_cache

import bottle

application = bottle.Bottle()


@lru_cache
def body(size: int) -> bytes:
    frame = json.dumps({"status": "ok", "text": ""}).encode()
    return frame[:-2] + b"x" * (size - len(frame)) + frame[-2:]


@application.route("/")
def smallest():
    bottle.response.content_type = "application/json"
    return body(140)


@application.route("/<size:int>")
def as_large(size):
    bottle.response.content_type = "application/json"
    return body(size)

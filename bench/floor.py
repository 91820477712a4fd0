"""The floor: a Bottle app that reads the body of any request and answers a constant as long as that to ?get_modules."""

import json

import bottle

ANSWER = json.dumps({"status": "ok", "text": "x" * 110}, separators=(",", ":"))

application = bottle.Bottle()


@application.route("/<path:path>", ["GET", "POST"])
def constant(path):
    bottle.request.body.read()
    bottle.response.content_type = "application/json"
    return ANSWER

"""The floor: a Bottle app that reads the body of a request and answers a constant as long as that to ?get_modules."""

import json

import bottle

ANSWER = json.dumps({"status": "ok", "text": "x" * 110}, separators=(",", ":"))

application = bottle.Bottle()


@application.route("/", ["GET", "POST"])
def constant():
    bottle.request.body.read()
    bottle.response.content_type = "application/json"
    return ANSWER

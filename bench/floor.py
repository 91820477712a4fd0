"""The floor: the least that an app must do, for comparison with mailapi.

It is a Bottle app that reads the request's body and answers a constant, as long as mailapi's answer to ?get_modules.
"""

import json

import bottle

ANSWER = json.dumps({"status": "ok", "text": "x" * 110}, separators=(",", ":"))

application = bottle.Bottle()


@application.route("/", ["GET", "POST"])
def constant():
    bottle.request.body.read()
    bottle.response.content_type = "application/json"
    return ANSWER

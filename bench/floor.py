"""The floor: the least that an app must do, for comparison with mailapi.

It is a Bottle app that reads the request's body and answers a constant, as long as mailapi's answer to ?get_modules.
`python -m bench.floor` runs it under the server of `mailapi serve`.
"""

import argparse
import json
from types import SimpleNamespace

import bottle

ANSWER = json.dumps({"status": "ok", "text": "x" * 110}, separators=(",", ":"))

application = bottle.Bottle()


@application.route("/", ["GET", "POST"])
def constant():
    bottle.request.body.read()
    bottle.response.content_type = "application/json"
    return ANSWER


def main():
    """Answer requests in the way of `mailapi serve`, with its options --listen and --workers."""
    from mailapi_modules.commands import serve
    from mailapi_modules.http import header_line

    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--workers", type=int)
    args = parser.parse_args()
    config = SimpleNamespace(max_spooled=2**28, max_message=2**20)
    application.body_limit = lambda path, query: 2**20
    header_line.install()
    number = serve.number_of_workers(config, args.workers)
    serve.serve(application, config, serve.listen(args.listen), number)


if __name__ == "__main__":
    main()

"""WSGI programs that mailapi runs inside, as docs/how-to/inside-a-program.md has them."""

# Each program's own files: a route that answers what it was posted and counts visits in a session of its own.
BOTTLE = """
@app.post("/own")
def own():
    visits = int(bottle.request.get_cookie("own", 0)) + 1
    bottle.response.set_cookie("own", str(visits), path="/")
    return {"sent": bottle.request.json, "visits": visits}
"""
FLASK = """
app.secret_key = "x"

@app.post("/own")
def own():
    flask.session["visits"] = flask.session.get("visits", 0) + 1
    return {"sent": flask.request.get_json(), "visits": flask.session["visits"]}
"""
SETTINGS = """
SECRET_KEY, ROOT_URLCONF, ALLOWED_HOSTS, USE_TZ = "x" * 50, "project.urls", ["127.0.0.1"], True
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
"""
URLS = """
import json
from django.http import JsonResponse
from django.urls import path

def own(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"sent": json.loads(request.body), "visits": request.session["visits"]})

urlpatterns = [path("own", own)]
"""
PROGRAMS = {
    "Bottle": ("outer:app", lambda blocks: {"/etc/outer.py": blocks["python"] + BOTTLE}),
    "Flask": ("outer:app", lambda blocks: {"/etc/outer.py": blocks["python"] + FLASK}),
    "Django": (
        "project.wsgi:application",
        lambda blocks: blocks | {"/etc/project/settings.py": SETTINGS, "/etc/project/urls.py": URLS},
    ),
}

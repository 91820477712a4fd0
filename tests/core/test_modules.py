"""config.py, modulelist, modules of somebody else's, and several apps in one process."""

import json
import sys
import textwrap

import pytest
import webtest

import mailapi
from support.site import MODULES, ROOT, Site

GREETING = '''
    """Greeting: somebody else's module."""

    from mailapi import Module, admin_or_delegate, anyone, endpoint, php_text, Users


    class Greeting(Module):
        @endpoint(required={"user_name": "Whom?"}, optional={"loud": php_text}, allow=anyone, read_only=True)
        def greet(self, call):
            """A greeting."""
            greeting = f"Hello, {call.body['user_name']}."
            return {"greeting": greeting.upper() if call.body.get("loud") else greeting}

        @endpoint(allow=admin_or_delegate.otherwise("Only those in charge."))
        def count(self, call):
            return {"users": len(call.db.column(Users.select(Users.user_name)))}
'''


def write(path, source):
    path.write_text(textwrap.dedent(source))
    return str(path)


def test_a_module_outside_the_repository_works_like_ours(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    file = write(tmp_path / "elsewhere/hello.py", GREETING)
    site = Site(tmp_path, modulelist={"User": "modules/users.py", "Greeting": file})
    assert site("hello/?greet", user="bob", user_name="ann")["greeting"] == "Hello, ann."
    assert site("hello/?greet", user="bob", user_name="ann", loud=1)["greeting"] == "HELLO, ANN."
    assert site("hello/?greet", user="bob")["status"] == "Whom?"
    assert (
        site("hello/?greet", user="bob", user_name=["ann"], check=400)["status"]
        == "Invalid value for user_name."
    )
    assert site("hello/?count", user="bob")["status"] == "Only those in charge."
    assert site("hello/?count", user="dele")["users"] == 5
    assert site("?get_modules")["modules"] == ["User", "Greeting"]
    assert site("users/?get", username="bob")["users"][0]["modules"] == {"User": True}


def test_an_answer_that_is_no_json_is_an_error_in_json_and_in_the_log(tmp_path, caplog):
    write(
        tmp_path / "sets.py",
        """
        from mailapi import Module, anyone, endpoint

        class Sets(Module):
            @endpoint(allow=anyone, read_only=True)
            def get(self, call):
                return {"names": {"ann", "bob"}}
        """,
    )
    site = Site(tmp_path, extra={"Sets": str(tmp_path / "sets.py")})
    answer = site("sets/?get", check=500)
    assert answer == {"status": "Internal error. The log has the cause."}
    assert "sets/ failed" in caplog.text and "not 'set'" in caplog.text


def test_relative_module_is_looked_for_beside_the_config_first(tmp_path):
    write(tmp_path / "hello.py", GREETING)
    config = write(tmp_path / "config.py", 'dbpath = "master.db3"\nmodulelist = {"Greeting": "hello.py"}\n')
    Site(tmp_path)
    app = webtest.TestApp(mailapi.create_app(config))
    body = json.dumps({"user_name": "x", "auth": {"user_name": "bob", "password": "pw"}})
    assert app.post("/hello/?greet", body).json["greeting"] == "Hello, x."


def test_module_named_like_a_library_does_not_replace_it(tmp_path):
    import queue

    file = write(tmp_path / "queue.py", GREETING)
    Site(tmp_path, modulelist={"Greeting": file})
    assert sys.modules["queue"] is queue


@pytest.mark.parametrize(
    "config, sentence",
    [
        ({}, "dbpath is missing"),
        ({"dbpath": "x"}, "modulelist is missing"),
        ({"dbpath": "", "modulelist": {}}, "dbpath must name"),
        ({"dbpath": 5, "modulelist": {}}, "dbpath must be text."),
        ({"dbpath": "x", "modulelist": ["User"]}, "modulelist must be a mapping"),
        ({"dbpath": "x", "modulelist": {"User": 5}}, "modulelist must map"),
        ({"dbpath": "x", "modulelist": {}, "dpbath": "y"}, "Unknown key dpbath"),
        ({"dbpath": "x", "modulelist": {}, "debug": "yes"}, "debug must be True or False"),
        (
            {"dbpath": "x", "modulelist": {}, "session_lifetime": True},
            "session_lifetime must be a positive whole",
        ),
        (
            {"dbpath": "x", "modulelist": {}, "max_body": 0},
            "max_body must be a positive whole number, not 0.",
        ),
        ({"dbpath": "x", "modulelist": {"User": "modules/user.py"}}, "the file of User is missing"),
        (
            {"dbpath": "x", "modulelist": {"Users": "modules/users.py"}},
            "does not define a Module class Users",
        ),
        ({"dbpath": "x", "modulelist": {"Mail": "modules/users.py"}}, "does not define a Module class Mail"),
        ({"dbpath": "x", "modulelist": {"User": "modules/users.py", "U": "modules/users.py"}}, "class U"),
    ],
)
def test_config_that_cannot_be_used_is_refused_with_a_sentence(config, sentence):
    with pytest.raises(mailapi.ConfigError, match=sentence.replace("(", r"\(")):
        mailapi.create_app(config)


@pytest.mark.parametrize(
    "source, sentence",
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("class Greeting(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("Greeting = 5", "does not define a Module class Greeting"),
        ("from mailapi import *\nclass Greeting(Module):\n @endpoint()\n def x(self, call): pass", "allow"),
        (
            "from mailapi import *\nclass Greeting(Module):\n @endpoint(allow=None)\n def x(self, call): pass",
            "allow",
        ),
    ],
)
def test_module_that_fails_to_load_is_named_with_the_cause(tmp_path, source, sentence):
    file = write(tmp_path / "broken.py", source)
    with pytest.raises(mailapi.ConfigError) as error:
        mailapi.create_app({"dbpath": "x", "modulelist": {"Greeting": file}})
    assert file in str(error.value) and sentence in str(error.value)


@pytest.mark.parametrize("source", ["dbpath = ", "raise ValueError('no')", "import nothing_of_that_name"])
def test_config_file_that_fails_is_named_with_the_cause(tmp_path, source):
    path = write(tmp_path / "config.py", source)
    with pytest.raises(mailapi.ConfigError, match="config.py cannot be read: "):
        mailapi.create_app(path)


def test_missing_config_file_is_named(tmp_path):
    with pytest.raises(mailapi.ConfigError, match="There is no .*nowhere.py"):
        mailapi.create_app(tmp_path / "nowhere.py")


def test_sample_config_has_every_key_with_its_default():
    values = mailapi.run_config(ROOT / "config.sample.py")
    assert list(values) == list(mailapi.OPTIONS)
    assert [(key, values[key]) for key in values if key not in ("dbpath", "modulelist")] == [
        (key, default)
        for key, default in vars(mailapi.Config("", MODULES)).items()
        if key not in ("dbpath", "modulelist")
    ]
    assert values["modulelist"] == MODULES | {"Panel": "modules/panel.py", "Console": "modules/console.py"}


def test_two_apps_in_one_process_have_databases_of_their_own(tmp_path):
    sites = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sites.append(Site(tmp_path / name))
    one, two = sites
    browser = one.browser()
    browser.post("/?login", json.dumps({"auth": {"user_name": "root", "password": "pw"}}))
    assert one("users/?add", user_name="carol")["user"] is True
    assert two.sql("SELECT 1 FROM users WHERE user_name = 'carol'") == []
    assert browser.post("/?login", "").json["login"] is True
    browser.app = two.app
    assert browser.post("/?login", "").json["login"] is False  # a session of one is none of two


def test_default_application_is_made_on_first_use(tmp_path, monkeypatch):
    Site(tmp_path)
    config = write(
        tmp_path / "config.py", 'dbpath = "master.db3"\nmodulelist = {"User": "modules/users.py"}\n'
    )
    mailapi.default_application.cache_clear()
    monkeypatch.setenv("MAILAPI_CONFIG", str(tmp_path / "missing.py"))
    app = webtest.TestApp(mailapi.application)
    assert app.get("/", status=500).json == {"status": "mailapi is not configured. The log has the cause."}
    monkeypatch.setenv("MAILAPI_CONFIG", config)
    assert app.get("/?login").json["status"] == "Username is not set!"
    mailapi.default_application.cache_clear()

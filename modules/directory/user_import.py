"""What users/?import reads: users as CSV with a header, or as JSON lines; every line that cannot be used is named."""

import csv
import json

from mailapi import (
    AUTHDATA,
    ApiError,
    list_of_text,
    make_authdata,
    not_json,
    php_text,
    read_fields,
    refuse_forbidden_text,
    secret,
)

from ..directory import user_names

HEADER = "The first line must name the fields: user_name, and of user_authdata, password, user_alias, user_permissions."
MOST = 100_000  # users, and permissions; writing them takes up to a second, in which the mail daemons cannot write
NAMED = 100  # bad lines; more are only counted
STEP = 5000  # users between two words on how far it is


def permissions(value) -> list | None:
    """A list; in CSV its entries are separated by commas."""
    return list_of_text(value.split(",") if isinstance(value, str) and value else value or None)


KINDS = {
    "user_name": php_text,
    "user_authdata": php_text,
    "password": secret,
    "user_alias": php_text,
    "user_permissions": permissions,
}
FIELDS = {*KINDS, "user_rights"}


def lines(content: bytes):
    """Each line with its end; only a line feed is one."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        yield content[start:end].decode()
        start = end


def records(content: bytes):
    """The number of each user's line, and the fields on it, or the ApiError that says why there are none."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    return from_json(content) if content[:STEP].lstrip()[:1] == b"{" else from_csv(content)


def from_json(content: bytes):
    for number, line in enumerate(lines(content), 1):
        if line.strip():
            yield number, json_object(line)


def json_object(line: str) -> dict | ApiError:
    try:
        found = json.loads(line, parse_constant=not_json)
        if isinstance(found, dict):
            refuse_forbidden_text(found)
            return found
    except ApiError as error:
        return error
    except (ValueError, RecursionError):
        pass
    return ApiError("This is not a JSON object.")


def from_csv(content: bytes):
    reader = csv.reader(lines(content), strict=True)
    header, ended = read_header(reader), False
    while not ended:
        number = reader.line_num + 1
        try:
            if cells := next(reader):
                yield (
                    number,
                    dict(zip(header, cells))
                    if len(cells) == len(header)
                    else ApiError(f"There are {len(cells)} fields where the first line names {len(header)}."),
                )
        except csv.Error as error:
            yield number, ApiError(f"This is not CSV: {error}.")
        except StopIteration:
            ended = True


def read_header(reader) -> list[str]:
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error:
        header = []
    if "user_name" not in header or not FIELDS.issuperset(header) or len(header) != len(set(header)):
        raise ApiError(HEADER)
    return header


class Import:
    """The users of a file, each checked by itself and against the others; `problems` are the lines to mend."""

    def __init__(self, content: bytes, tell, look=user_names.visible):
        self.look = look  # names of which it returns the same look the same
        self.users: dict[str, dict] = {}  # by name
        self.line: dict[str, int] = {}  # by name
        self.looks: dict[str, str] = {}  # what is seen of a name → the name
        self.problems: list[dict] = []
        self.seen = self.bad = self.permissions = 0
        for number, given in records(content):
            self.seen += 1
            try:
                self.take(number, given)
            except ApiError as error:
                self.problem(number, error.status)
            if max(self.seen, self.permissions) > MOST:
                raise ApiError("More than 100,000 users or permissions at a time would hold the mail up.")
            if self.seen % STEP == 0:
                tell(f"{self.seen:,} users read")

    def take(self, number: int, given: dict | ApiError):
        user = read_user(given)
        name = user["user_name"]
        seen = self.look(name)
        if name in self.users:
            raise ApiError(f"Username {name:.100} is on line {self.line[name]}, too.")
        if other := self.looks.get(seen):
            raise ApiError(f"Username {name:.100} looks the same as the one on line {self.line[other]}.")
        self.users[name], self.line[name], self.looks[seen] = user, number, name
        self.permissions += len(user["user_permissions"])

    def compare(self, existing: set[str], orphans: set[str]):
        """Find the names that are taken or look so, or of which rows are left, and the aliases to nobody."""
        looks = set(map(self.look, existing))
        for (seen, name), user in zip(self.looks.items(), self.users.values()):
            if name in existing:
                self.problem(self.line[name], f"Username {name:.100} is taken.")
            elif seen in looks:
                self.problem(self.line[name], f"Username {name:.100} looks the same as one that is taken.")
            if name in orphans:
                self.problem(
                    self.line[name], f"Rows of the user name {name:.100} are left: delete the user first."
                )
            alias = user["user_alias"]
            if alias and alias not in existing and alias not in self.users:
                self.problem(self.line[name], f"There is no user {alias:.100} to be an alias of.")

    def problem(self, number: int, sentence: str):
        self.bad += 1
        if len(self.problems) < NAMED:
            self.problems.append({"line": number, "status": sentence.strip()})

    def refuse_bad(self):
        if self.problems:
            self.problems.sort(key=lambda problem: problem["line"])
            raise ApiError(
                f"{self.bad} of {self.seen} users cannot be imported; nothing was changed.",
                problems=self.problems,
            )
        if not self.seen:
            raise ApiError("There are no users in the file.")

    def hash(self, tell):
        """Turn passwords into what is stored."""
        for number, user in enumerate(self.users.values(), 1):
            user["user_authdata"] = user["user_authdata"] or make_authdata(user.pop("password"))
            if number % STEP == 0:
                tell(f"{number:,} of {len(self.users):,} passwords hashed")


def read_user(given: dict | ApiError) -> dict:
    """The fields of one user; ApiError where they are not what users/?add would take."""
    if isinstance(given, ApiError):
        raise given
    if unknown := given.keys() - FIELDS:
        raise ApiError(f"Unknown field {min(unknown):.100}.")
    user = dict.fromkeys(KINDS) | read_fields(given, KINDS)
    user["user_permissions"] = list(dict.fromkeys(user["user_permissions"] or []))
    check_user(user)
    return user


def check_user(user: dict):
    name, authdata = user["user_name"], user["user_authdata"]
    if not name:
        raise ApiError("Username is not set.")
    user_names.check_new(name)
    if user["user_alias"] == name:
        raise ApiError("Cannot alias to the same user.")
    if authdata and not AUTHDATA.fullmatch(authdata):
        raise ApiError(
            "user_authdata is <salt>:<64 hex digits>; a password in plain text belongs in password."
        )
    if authdata and user["password"]:
        raise ApiError("There are both user_authdata and password.")
    if not all(user["user_permissions"]):
        raise ApiError("No permission is set.")

"""Reads the file of users/?import, CSV with a header or one JSON object on each line, and reports bad lines."""

import csv
import json
from collections.abc import Callable, Iterator

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

from . import devices, user_names
from .new_users import check_new_user, check_permissions

HEADER = "The first line must name the fields: user_name, and of user_authdata, password, user_alias, user_permissions."
# Also of permissions. Writing so many takes up to a second, in which the mail daemons cannot write.
MOST_USERS = 100_000
MOST_PROBLEMS = 100  # more bad lines are only counted
PROGRESS_STEP = 5000  # users between two reports of progress
BOM = b"\xef\xbb\xbf"


def permissions(value) -> list | None:
    """Convert a JSON list, or a CSV cell such as "admin, delegate", to a list of permissions; None if it is empty."""
    is_cell = isinstance(value, str) and value
    return list_of_text([*map(str.strip, value.split(","))] if is_cell else value or None)


FIELD_TYPES = {
    "user_name": php_text,
    "user_authdata": php_text,
    "password": secret,
    "user_alias": php_text,
    "user_permissions": permissions,
}
FIELDS = {*FIELD_TYPES, "user_rights"}


def lines(content: bytes) -> Iterator[str]:
    """Yield the lines of a file as text, each with its line feed. Only a line feed ends a line, not CR."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        yield content[start:end].decode()
        start = end


def records(content: bytes) -> Iterator[tuple[int, dict | ApiError]]:
    """Yield (line number, {"user_name": …, …}) for each user in a file of CSV or JSON lines.

    For an invalid line, yield (line number, ApiError).
    """
    content = content.removeprefix(BOM)
    return from_json(content) if content[:5000].lstrip()[:1] == b"{" else from_csv(content)


def from_json(content: bytes) -> Iterator[tuple[int, dict | ApiError]]:
    """Yield (line number, {"user_name": …, …}) for each line of a file with one JSON object on each line.

    For an invalid line, yield (line number, ApiError). Skip empty lines.
    """
    for number, line in enumerate(lines(content), 1):
        if line.strip():
            yield number, json_object(line)


def json_object(line: str) -> dict | ApiError:
    """Parse a line as a JSON object. If it is not one, return (do not raise) an ApiError."""
    try:
        value = json.loads(line, parse_constant=not_json)
        if isinstance(value, dict):
            refuse_forbidden_text(value)
            return value
    except ApiError as error:
        return error
    except (ValueError, RecursionError):
        pass
    return ApiError("This is not a JSON object.")


def from_csv(content: bytes) -> Iterator[tuple[int, dict | ApiError]]:
    """Yield (line number, {"user_name": …, …}) for each user in a CSV file. Its first line names the fields.

    For an invalid line, yield (line number, ApiError).
    """
    reader = csv.reader(lines(content), strict=True)
    header, ended = read_header(reader), False
    while not ended:
        number = reader.line_num + 1
        try:
            if cells := next(reader):
                yield number, csv_record(header, cells)
        except csv.Error as error:
            yield number, ApiError(f"This is not CSV: {error}.")
        except StopIteration:
            ended = True


def csv_record(header: list[str], cells: list[str]) -> dict | ApiError:
    """Return {name in `header`: cell, …}; or return (do not raise) an ApiError if their numbers differ."""
    if len(cells) == len(header):
        return dict(zip(header, cells))
    return ApiError(f"The line has {len(cells)} fields, but the first line names {len(header)}.")


def read_header(reader) -> list[str]:
    """Read the field names in the first line of a CSV file. ApiError if one is unknown, repeated or missing."""
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error:
        header = []
    # Excel writes CSV with semicolons in many languages.
    if len(header) == 1 and ";" in header[0] and FIELDS.issuperset(header[0].split(";")):
        raise ApiError("Separate the fields by commas, not by semicolons.")
    if "user_name" not in header or not FIELDS.issuperset(header) or len(header) != len(set(header)):
        raise ApiError(HEADER)
    return header


class UserImport:
    """The users in an uploaded file. Creating the object reads and checks the file; `problems` lists the bad lines.

    The function `visible_form` converts a user name to a text. Names with the same text look alike: one is refused.
    """

    def __init__(
        self,
        content: bytes,
        report_progress: Callable[[str], None],
        visible_form: Callable[[str], str] = user_names.visible,
    ):
        self.visible_form = visible_form  # names with the same form are taken for each other
        self.users: dict[str, dict] = {}  # by name
        self.line_of: dict[str, int] = {}  # name → line
        self.name_of: dict[str, str] = {}  # visible form → name
        self.problems: list[dict] = []
        self.records = self.bad_records = self.permissions = 0  # counts
        for number, record in records(content):
            self.records += 1
            try:
                self.add(number, record)
            except ApiError as error:
                self.add_problem(number, error.status)
            if max(self.records, self.permissions) > MOST_USERS:
                raise ApiError("The file has more than 100,000 users or permissions: import fewer at a time.")
            if self.records % PROGRESS_STEP == 0:
                report_progress(f"{self.records:,} users read")

    def add(self, number: int, record: dict | ApiError):
        """Check the user on line `number`, and add them to `users`. ApiError if a field is wrong or the name is taken.

        `record` has the fields, or the error of reading the line. Names that look like an earlier one are taken, too.
        """
        user = read_user(record)
        name = user["user_name"]
        visible = self.visible_form(name)
        if name in self.users:
            raise ApiError(f"Username {name:.100} is on line {self.line_of[name]}, too.")
        if other := self.name_of.get(visible):
            raise ApiError(f"Username {name:.100} looks the same as the one on line {self.line_of[other]}.")
        self.users[name], self.line_of[name], self.name_of[visible] = user, number, name
        self.permissions += len(user["user_permissions"])

    def compare(self, existing: set[str], orphans: set[str], suspended: set[str]):
        """Compare all users in the import file with the databases. Add to `problems` each user who cannot be added.

        `existing`: names of all users; `orphans`: of former users who left rows; `suspended`: of suspended users.
        """
        existing_visible = set(map(self.visible_form, existing))
        for (visible, name), user in zip(self.name_of.items(), self.users.values()):
            line = self.line_of[name]
            if name in existing:
                self.add_problem(line, f"Username {name:.100} is taken.")
            elif visible in existing_visible:
                self.add_problem(line, f"Username {name:.100} looks the same as one that is taken.")
            if name in orphans:
                self.add_problem(line, f"Rows of the user name {name:.100} are left: delete the user first.")
            alias = user["user_alias"]
            if alias and alias not in existing and alias not in self.users:
                self.add_problem(line, f"There is no user {alias:.100} to be an alias of.")
            if alias in suspended and devices.would_be_device(name, alias):  # the device could log in
                self.add_problem(line, f"User {alias:.100} is suspended.")

    def add_problem(self, line: int, sentence: str):
        """Add an error message about a line to `problems`. After 100 messages, only count the line."""
        self.bad_records += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append({"line": line, "status": sentence.strip()})

    def refuse_bad(self):
        """Raise ApiError if there are `problems` with lines of the import file, or if it has no users."""
        if self.problems:
            self.problems.sort(key=lambda problem: problem["line"])
            raise ApiError(
                f"{self.bad_records} of {self.records} users cannot be imported; nothing was changed.",
                problems=self.problems,
            )
        if not self.records:
            raise ApiError("There are no users in the file.")

    def hash(self, report_progress: Callable[[str], None]):
        """Replace the password of each of `users` by its salted hash. Call report_progress(text) every 5,000 users."""
        for number, user in enumerate(self.users.values(), 1):
            user["user_authdata"] = user["user_authdata"] or make_authdata(user.pop("password"))
            if number % PROGRESS_STEP == 0:
                report_progress(f"{number:,} of {len(self.users):,} passwords hashed")

    def sorted(self) -> list[dict]:
        """Return the users sorted by name, since inserting them in this order is faster."""
        return [self.users[name] for name in sorted(self.users)]


def read_user(record: dict | ApiError) -> dict:
    """Check and convert the fields of a user. Return {"user_name": …, "user_alias": …, …}. ApiError if one is wrong.

    `record` is a dictionary of fields. If it is an ApiError, which means that the line could not be read, raise it.
    """
    if isinstance(record, ApiError):
        raise record
    if unknown := record.keys() - FIELDS:
        raise ApiError(f"Unknown field {min(unknown):.100}.")
    user = dict.fromkeys(FIELD_TYPES) | read_fields(record, FIELD_TYPES)
    user["user_permissions"] = list(dict.fromkeys(user["user_permissions"] or []))
    check_user(user)
    return user


def check_user(user: dict):
    """Raise ApiError if a field of one user in an import file is wrong. The file's other users are not looked at."""
    if not user["user_name"]:
        raise ApiError("Username is not set.")
    check_new_user(user["user_name"], user["user_alias"])
    authdata = user["user_authdata"]
    if authdata and not AUTHDATA.fullmatch(authdata):
        raise ApiError(
            "user_authdata is <salt>:<64 hex digits>; a password in plain text belongs in password."
        )
    if authdata and user["password"]:
        raise ApiError("Give user_authdata or password, not both.")
    check_permissions(user["user_permissions"])
    if user["user_permissions"] and devices.would_be_device(user["user_name"], user["user_alias"]):
        raise ApiError("A device has neither permissions nor delegations.")

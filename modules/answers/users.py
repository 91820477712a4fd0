"""Describes the request fields and answers of the module at users/, for openapi.json and docs/reference/."""

from typing import Literal, NotRequired, TypedDict

from ..openapi.description import ActiveModules, Description, Flag

FIELDS = {
    "user_name": "The user's name.",
    "username": "The user's name; another word for user_name.",
    "user_authdata": "The password in plain text. Without one the user cannot log in.",
    "user_alias": "Another user, whose mailbox this one opens.",
    "user_permission": "A permission, such as admin or delegate.",
    "user_permissions": "The user's permissions.",
    "user_login": "1: the user can log in.",
    "has_login": "1: the user can log in.",
    "user_database": "The file of the user's own mail database.",
    "link_count": "How many addresses store to the user; null: none.",
    "mails": "How many mails the user has in the master database.",
    "brief": "Whether to leave out `modules` and `mails`, which take long where there is much mail.",
    "modules": "The modules in which the user has something.",
    "users": "The users, by name.",
    "user": "Whether the user was added.",
    "delete": "ok",
    "device_name": "The device's name, such as phone.",
    "device": "The device, with the password that no other answer has.",
    "devices": "The devices, by name.",
    "password": "The device's password.",
    "file": "The users: CSV whose first line names the fields, or a JSON object on each line.",
    "dry_run": "Only check the file.",
    "imported": "How many users were added.",
    "checked": "How many users the file has.",
    "problems": "The first 100 bad lines of the file.",
    "line": "The number of the line.",
    "status": "What is wrong with it.",
    "permission": "The permission.",
    "description": "What it is for.",
    "module": "The module that declares it; empty: mailapi itself.",
}


class User(TypedDict):
    user_name: str
    user_alias: str | None
    modules: NotRequired[ActiveModules]  # without it in lists with `brief`
    user_login: NotRequired[Flag]
    has_login: NotRequired[Flag]
    user_database: NotRequired[str | None]
    link_count: NotRequired[int | None]
    mails: NotRequired[int]
    user_permissions: NotRequired[list[str]]


class UserList(TypedDict):
    users: list[User]


class UserAdded(TypedDict):
    user: bool


class UserDeleted(TypedDict):
    delete: Literal["ok"]


class Device(TypedDict):
    user_name: str
    device_name: str


class NewDevice(Device):
    password: str


class DeviceAdded(TypedDict):
    device: NewDevice


class DeviceList(TypedDict):
    devices: list[Device]


class ImportProblem(TypedDict):
    line: int
    status: str


class UsersImported(TypedDict):
    imported: int
    checked: int


class ImportRefused(TypedDict):
    problems: list[ImportProblem]


class Permission(TypedDict):
    permission: str
    description: str
    module: str


class PermissionList(TypedDict):
    user_permissions: list[Permission]


DESCRIPTION = Description(
    FIELDS,
    {
        "get": UserList,
        "add": UserAdded,
        "delete": UserDeleted,
        "import": UsersImported,
        "permissions": PermissionList,
        "device_add": DeviceAdded,
        "device_get": DeviceList,
    },
    {"get": UserList, "add": UserAdded, "import": ImportRefused},
    {
        "set_password": {"user_authdata": "correct horse battery staple"},
        "update_permissions": {"user_permissions": ["delegate"]},
        "update_alias": {"user_alias": "bob"},
        "import": {"file": "user_name,password\ncarl,correct horse battery staple\n"},
    },
)

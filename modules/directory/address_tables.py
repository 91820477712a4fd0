"""The table `addresses` in both generations, and which of its rows store mail for a user."""

from collections.abc import Callable

from peewee import IntegerField, Query, TextField

from mailapi import Call, Model, PreparedQuery


class Addresses(Model):
    address_expression = TextField()
    address_order = IntegerField()
    address_router = TextField()
    address_route = TextField(null=True)

    @classmethod
    def stores_to(cls, user):
        """Return the condition that a row stores mail for user."""
        return (cls.address_router == "store") & (cls.address_route == user)

    @classmethod
    def user_of(cls, row: dict) -> str | None:
        """Return the user for whom a row stores mail."""
        return row["address_route"] if row["address_router"] == "store" else None


class Addresses8(Model):
    address_expression = TextField()
    address_order = IntegerField()
    address_user = TextField()

    @classmethod
    def stores_to(cls, user):
        return cls.address_user == user

    @classmethod
    def user_of(cls, row: dict) -> str | None:
        return row["address_user"]


AddressTable = type[Addresses] | type[Addresses8]
ADDRESS_TABLES: dict[int, AddressTable] = {8: Addresses8, 9: Addresses}  # by generation


def each_address_table(build: Callable[[AddressTable], Query]) -> dict[int, PreparedQuery]:
    """Return a prepared query on the table of every generation, by its number."""
    return {number: PreparedQuery(build(table)) for number, table in ADDRESS_TABLES.items()}


def address_table(call: Call) -> AddressTable:
    """Return the table in the generation of the master database."""
    return ADDRESS_TABLES[call.generation.number]

"""Models of the table `addresses` in schema versions 8 and 9: patterns of addresses, and who gets mail to them."""

from collections.abc import Callable

from peewee import IntegerField, Query, TextField

from mailapi import Call, Model, PreparedQuery


class Addresses(Model):
    """A row of `addresses` in schema version 9: a pattern of mail addresses, and where mail to them goes."""

    address_expression = TextField()
    address_order = IntegerField()
    address_router = TextField()
    address_route = TextField(null=True)

    @classmethod
    def stores_to(cls, user):
        """Return the SQL condition for addresses whose mail goes to the mailbox of `user`, a name or a column."""
        return (cls.address_router == "store") & (cls.address_route == user)

    @classmethod
    def user_of(cls, row: dict) -> str | None:
        """Return the user in whose mailbox mail to an address is stored, or None. `row` is a row of `addresses`."""
        return row["address_route"] if row["address_router"] == "store" else None


class Addresses8(Model):
    """A row of `addresses` in schema version 8: a pattern of mail addresses, and the user who gets mail to them."""

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
    """Return a prepared query on the table `addresses` for each version of its schema, {8: query, 9: query}.

    `build` gets the model of the table in that version, and returns the query.
    """
    return {number: PreparedQuery(build(table)) for number, table in ADDRESS_TABLES.items()}


def address_table(call: Call) -> AddressTable:
    """Return the model of the table `addresses` for the schema version of the master database (8 or 9)."""
    return ADDRESS_TABLES[call.generation.number]

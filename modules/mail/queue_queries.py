"""The SQL queries of the module Queue: list and count queued mails, retry, bounce and delete them."""

from peewee import SQL, Expression, Field, fn

from mailapi import PreparedQuery, param

from .outbox import Faillog, Outbox
from .queue_access import has_id_among

MOST_FAILURES = 10  # the latest ones of each listed mail

COLUMNS = [column for column in Outbox._meta.sorted_fields if column is not Outbox.mail_data]
TRIED = Faillog.select(Faillog.fail_mail)
GIVEN_UP = TRIED.where(Faillog.fail_fatal != 0)
IN_STATE = {
    "waiting": Outbox.mail_id.not_in(TRIED),
    "failed": Outbox.mail_id.in_(GIVEN_UP),
    "deferred": Outbox.mail_id.in_(TRIED) & Outbox.mail_id.not_in(GIVEN_UP),
}


def matches(column: Field) -> Expression:
    """Return an SQL condition: the column equals the query's parameter with the name of the column, ignoring case.

    If the parameter is None, every row matches. If it is like `@corp.org`, values that end with it match.
    filter_values() returns the parameters.
    """
    # LIKE cannot be used, since `_` and `%` in a value would be wildcards.
    wanted, start = param(column.name), param(f"{column.name}_start")
    return wanted.is_null() | (fn.SUBSTR(fn.LOWER(column), start) == fn.LOWER(wanted))


def filter_values(filters: dict[str, str | None]) -> dict[str, str | int | None]:
    """Return the parameters for a query whose conditions on columns are made by matches().

    `filters` has a wanted value for each column, such as {"mail_remote": "@corp.org"}, or None if any value will do.
    The result also has the position in each column at which SQL begins to compare: {"mail_remote": "@corp.org",
    "mail_remote_start": -9}.
    """
    # NAME_start is the position in SQL's substr() at which to compare.
    starts = {
        f"{name}_start": -len(value) if value and value[0] == "@" else 1 for name, value in filters.items()
    }
    return filters | starts


FILTERED = (Outbox.mail_submitter, Outbox.mail_remote, Outbox.mail_envelopefrom, Outbox.mail_envelopeto)
MATCHES = [matches(column) for column in FILTERED]
AMONG = {False: SQL("TRUE"), True: has_id_among(Outbox.mail_id)}  # by whether there is a list of ids
COUNTS = {
    has_ids: PreparedQuery(
        Outbox.select(
            fn.COUNT(Outbox.mail_id).alias("mails"),
            *(
                fn.COALESCE(fn.SUM(Outbox.mail_id.in_(ids)), 0).alias(name)
                for name, ids in (("tried", TRIED), ("failed", GIVEN_UP))
            ),
        ).where(among, *MATCHES)
    )
    for has_ids, among in AMONG.items()
}
# By whether there is a list of ids, and the state.
LISTS: dict[tuple[bool, str | None], PreparedQuery] = {
    (has_ids, state): PreparedQuery(
        Outbox.select(*COLUMNS)
        .where(among, Outbox.mail_id > param("after"), *MATCHES, in_state)
        .order_by(Outbox.mail_id)
        .limit(param("limit"))
    )
    for has_ids, among in AMONG.items()
    for state, in_state in [(None, SQL("TRUE")), *IN_STATE.items()]
}
OF_LISTED = has_id_among(Faillog.fail_mail)
SUMMARIES = PreparedQuery(  # as in the view `outbound`, which would read the failures of all mails
    Faillog.select(
        Faillog.fail_mail,
        fn.COUNT(Faillog.fail_mail).alias("mail_failcount"),
        fn.MAX(Faillog.fail_time).alias("mail_lasttry"),
        fn.SUM(Faillog.fail_fatal).alias("mail_fatality"),
    )
    .where(OF_LISTED)
    .group_by(Faillog.fail_mail)
)
AGE_RANK = fn.ROW_NUMBER().over(partition_by=[Faillog.fail_mail], order_by=[SQL("rowid DESC")])
LATEST_FAILURES = PreparedQuery(
    Faillog.select(Faillog, AGE_RANK.alias("age_rank"))
    .where(OF_LISTED)
    .alias("ranked")
    .select_from(SQL("fail_mail, fail_message, fail_time, fail_fatal"))
    .where(SQL("age_rank") <= MOST_FAILURES)
    .order_by(SQL("age_rank"))
)
EXISTING = PreparedQuery(Outbox.select(Outbox.mail_id).where(AMONG[True]))
SENDERS = PreparedQuery(Outbox.select(Outbox.mail_envelopefrom).where(AMONG[True]))
GIVEN_UP_AMONG = PreparedQuery(GIVEN_UP.where(OF_LISTED))
RETRY = PreparedQuery(Faillog.delete().where(Faillog.fail_mail == param("mail_id")))
DELETE = PreparedQuery(Outbox.delete().where(Outbox.mail_id == param("mail_id")))
GIVE_UP = PreparedQuery(
    Faillog.insert(fail_mail=param("mail_id"), fail_fatal=True, fail_message=param("message"))
)
REMOVE_SUBMITTER = PreparedQuery(
    Outbox.update(mail_submitter=None).where(Outbox.mail_submitter == param("user"))
)

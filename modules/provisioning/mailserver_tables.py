"""The tables of users and domains in the mail server's database, and SQL statements for them."""

from peewee import DateTimeField, IntegerField, TextField, fn

from mailapi import Model, PreparedQuery, param

SUSPENDED = 1  # userStatus; 0 is active, and every other value ends log-ins


class MailAccounts(Model):
    """A row of the mail server's table `accounts`, a user: only the columns that mailapi uses."""

    accountId = IntegerField()
    createdByUserId = IntegerField()
    username = TextField()
    password = TextField()
    domainId = IntegerField()
    dateModified = DateTimeField()
    dateCreate = DateTimeField()
    userStatus = IntegerField()
    homeDir = TextField()
    forward = TextField(null=True)
    autoReply = TextField(null=True)
    lastLogin = DateTimeField(null=True)
    autoReplyStart = DateTimeField(null=True)  # local times of the database, without a zone
    autoReplyEnd = DateTimeField(null=True)
    quota = IntegerField()
    autoReplyEnabled = IntegerField()
    mboxServer = IntegerField()
    mboxType = TextField()
    groupId = IntegerField()

    class Meta:
        table_name = "accounts"


class Domains(Model):
    """A row of the mail server's table of domains, such as example.org."""

    domainId = IntegerField()
    domainName = TextField()


ACCOUNT = MailAccounts.select(
    MailAccounts.accountId, MailAccounts.username, MailAccounts.password, MailAccounts.userStatus
)
FIND_ACCOUNT = PreparedQuery(ACCOUNT.where(MailAccounts.username == param("user")))
FIND_DOMAIN = PreparedQuery(
    Domains.select(Domains.domainId, Domains.domainName).where(Domains.domainName == param("domain"))
)
NAMES = MailAccounts.select(MailAccounts.username, MailAccounts.userStatus).order_by(MailAccounts.username)
NAMES_AND_STATUS = PreparedQuery(NAMES)
STATUS_OF_USER = PreparedQuery(NAMES.where(MailAccounts.username == param("user")))
READ_COLUMNS = PreparedQuery(MailAccounts.select().limit(1))
SHARE_OF_HIGHEST_ID = MailAccounts.select(fn.FLOOR(fn.MAX(MailAccounts.accountId) * param("share")))
PASSWORD_FROM_ID = PreparedQuery(
    MailAccounts.select(MailAccounts.password)
    .where(MailAccounts.accountId >= SHARE_OF_HIGHEST_ID)
    .order_by(MailAccounts.accountId)
    .limit(1)
)
ADD_ACCOUNT = PreparedQuery(
    MailAccounts.insert(
        username=param("user"),
        password=param("password"),
        domainId=param("domain"),
        homeDir=param("home"),
        createdByUserId=1,
        dateModified=fn.NOW(),
        dateCreate=fn.NOW(),
        userStatus=0,
        quota=1024,
        autoReplyEnabled=0,
        mboxServer=1,
        mboxType="Maildir",
        groupId=1,
    )
)
SET_PASSWORD = PreparedQuery(
    MailAccounts.update(password=param("password"), dateModified=fn.NOW()).where(
        MailAccounts.accountId == param("accountId")
    )
)
SUSPEND = PreparedQuery(
    MailAccounts.update(userStatus=SUSPENDED, dateModified=fn.NOW()).where(
        MailAccounts.accountId == param("accountId"), MailAccounts.userStatus == 0
    )
)
RESTORE = PreparedQuery(
    MailAccounts.update(userStatus=0, dateModified=fn.NOW()).where(
        MailAccounts.accountId == param("accountId")
    )
)
DELETE_ACCOUNT = PreparedQuery(MailAccounts.delete().where(MailAccounts.accountId == param("accountId")))

# mailapi's configuration. Copy it to config.py. Every key is here with its default; the first two have none.

# The master database that the mail daemons share: a SQLite file, relative to this file, or
# mysql://USER:PASSWORD@HOST/DATABASE for one on MariaDB or MySQL (docs/how-to/mariadb.md).
dbpath = "data/master.db3"

# The modules, in the order that clients see: class name → file, beside this file or as installed with mailapi.
modulelist = {
    "Address": "modules/addresses.py",
    "User": "modules/users.py",
    "SMTPD": "modules/smtpd.py",
    "POP": "modules/pop.py",
    "Mailbox": "modules/mailbox.py",
    "Delegate": "modules/delegates.py",
    "Token": "modules/tokens.py",
    "Audit": "modules/audit.py",
    "Queue": "modules/queue.py",
    "Panel": "modules/panel.py",
    "Console": "modules/console.py",
}

# True: answers list, under "debug", the SQL statements that were run, without their values.
debug = False

# The Access-Control-Allow-Origin of every answer; "" sends none.
cors_origin = "*"

# Seconds after which a log-in ends.
session_lifetime = 86400

# True: delegates may add users, too. Such users are then delegated to them. A new user's name must be an address that the
# delegate manages, or have no @.
delegates_add_users = False

# Bytes that a request's body may have, unless an action says otherwise.
max_body = 1048576

# Bytes of memory that all bodies of more than 64 KiB may take together in each worker, each three times its size.
max_bodies = 268435456

# Bytes that a mail to send may have, and its request: 25 MB of attachments in their encoding.
max_message = 36700160

# Bytes that `mailapi serve` may have in temporary files, for all clients together: requests until they are complete,
# and answers until the clients have read them. Each worker has an equal share, of at least max_message.
max_spooled = 268435456

# Recipients that one mail may have.
max_recipients = 100

# The state database with the API's own tables, such as sessions: a SQLite file or a URL like dbpath's. "" is dbpath
# with ".state" added, or the same database on the server.
state = ""

# Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
trusted_proxies = []

# Failed log-ins from an address, and of a user name, after which there is no wait; each further one doubles the wait.
free_attempts = 10

# Seconds after which audit entries are deleted.
audit_lifetime = 7776000

# The accounts that a user's first log-in creates at the services, for the module Account ("modules/accounts.py"). The
# sum of 1 mail, 2 calendar, 4 contacts. An environment variable of this name takes precedence.
PROVISION = 7

# The database with the accounts: a SQLite file or mysql://USER:PASSWORD@HOST/DATABASE; "" is the state database.
apiserver = ""

# The mail server's database with its tables accounts and domains: mysql://USER:PASSWORD@HOST/DATABASE; "" is none.
mailserver = ""

# The servers of the installation, for the module Service ("modules/services.py"): kind → URL, or a mapping with url
# and, depending on the kind, user and password (of a master user), user_header, plain. docs/how-to/services.md has all:
# {"smtp": "smtp://127.0.0.1", "imap": {"url": "imap://127.0.0.1", "user": "master", "password": "…"}}
services = {}

# A file of KEY=VALUE lines whose PROVISION takes precedence over the one above, such as "/etc/atmail/api/api.conf".
environment_file = ""

# The file for the log: each event is a line of logfmt (time=… level=… msg=…). "" is standard error. It is opened anew
# when it is renamed, and on SIGHUP. The folder must belong to the user that the API runs as.
log_file = ""

"""The records of the audit."""

AUDIT_COLUMNS = [
    "audit_id",
    "audit_time",
    "audit_user",
    "audit_address",
    "audit_via",
    "audit_session",
    "audit_module",
    "audit_action",
    "audit_target",
    "audit_status",
    "audit_http",
]
LISTED_COLUMNS = [*AUDIT_COLUMNS, "audit_times"]


def audit_rows(site) -> list[tuple]:
    """Return the audit from the first row to the last, without numbers, times and sessions."""
    columns = [name for name in AUDIT_COLUMNS[2:] if name != "audit_session"]
    return site.state(f"SELECT {', '.join(columns)} FROM audit ORDER BY audit_id")

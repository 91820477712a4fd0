"""What the audit has recorded."""

COLUMNS = [
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
SHOWN = [*COLUMNS, "audit_times"]


def recorded(site) -> list[tuple]:
    """The audit from the first to the last, without numbers, times and sessions."""
    columns = [name for name in COLUMNS[2:] if name != "audit_session"]
    return site.state(f"SELECT {', '.join(columns)} FROM audit ORDER BY audit_id")

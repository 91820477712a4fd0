"""Checks of request fields that contain a mail filter script or its name, as in services/?sieve_put."""

import re

from mailapi import ApiError, php_text

from ..openapi.schemas import json_schema

LONGEST_SCRIPT = 512 * 1024  # bytes


@json_schema({"type": "string", "maxLength": 128})
def script_name(value) -> str | None:
    """Check a request field as the name of a mail filter script, and return it. Return None for an empty field.

    ValueError if the name has more than 128 characters, or control characters (RFC 5804 section 1.6).
    """
    value = php_text(value)
    if value and (re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value) or len(value) > 128):
        raise ValueError("not a script name")
    return value


@json_schema({"type": "string", "maxLength": LONGEST_SCRIPT})
def script_text(value) -> str | None:
    """Check a request field as the text of a mail filter script, and return it. Return None for an empty field.

    ValueError if the text has more than 512 KiB.
    """
    value = php_text(value)
    if value and len(value.encode()) > LONGEST_SCRIPT:
        raise ValueError("too long")
    return value


def require_script(call):
    """Raise ApiError if the request has no field `script`."""
    # The field is not declared as `required`, because the audit would then record it.
    if not call.body.get("script"):
        raise ApiError("No script is set.", code="missing_field", field="script")

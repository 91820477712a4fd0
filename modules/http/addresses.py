"""IP addresses and networks as sockets, servers and proxies write them, and the address of the client of a request."""

import ipaddress
import re
from functools import lru_cache

from mailapi import ConfigError

# An address as sockets, servers and proxies write it: with a port, brackets or a zone.
ADDRESS = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})(?:%[^\s\]]{0,40})?\]|([0-9.]{7,15}))(?::[0-9]{1,5})?"
    r"|([0-9A-Fa-f:.]{2,45})(?:%\S{0,40})?"
)


def read_proxies(trusted_proxies: list[str]) -> list:
    """Convert the setting `trusted_proxies` to a list of IP networks. ConfigError if an entry is invalid."""
    try:
        return [ip_network(each) for each in trusted_proxies]
    except ValueError as error:
        raise ConfigError(f"trusted_proxies: {error}.") from None


def client_address(environ: dict, proxies: list) -> str:
    """Return the client's IP address: REMOTE_ADDR, or the last one in X-Forwarded-For that is no trusted proxy's.

    `proxies` are the networks of the trusted proxies: the header counts only if one of them has sent the request. If a
    proxy has sent text in it that is no IP address, that proxy counts as the client.
    """
    address = plain_address(environ.get("REMOTE_ADDR", ""))
    for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")) if proxies else ():
        if not is_trusted(address, proxies):
            break
        try:
            address = str(ip(hop))
        except ValueError:
            break
    return address


LONGEST = 50  # characters of an address that is cached


def plain_address(address: str) -> str:
    """Return an IP address without port, brackets or zone. Other text, such as a Unix socket's path, is kept."""
    try:
        return usual_form(address) if len(address) <= LONGEST else str(ip(address))
    except ValueError:
        return address


@lru_cache(maxsize=1000)
def usual_form(address: str) -> str:
    return str(ip(address))


def ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an IP address, which may have brackets and a port, such as `[::1]:80`. ValueError if it is invalid.

    An IPv4 address within an IPv6 address is returned as IPv4.
    """
    return bare_ip(address.strip(' \t"')[:200])


@lru_cache(maxsize=1000)  # texts without an address are not cached, so that each key is short
def bare_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if not (found := ADDRESS.fullmatch(address)):
        raise ValueError("no IP address")
    parsed = ipaddress.ip_address(found[1] or found[2] or found[3])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def ip_network(network: str, strict: bool = True) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Parse an IP network such as `10.0.0.0/8`. ValueError if it is invalid. IPv4 within IPv6 becomes IPv4."""
    parsed = ipaddress.ip_network(network, strict)
    mapped = getattr(parsed.network_address, "ipv4_mapped", None)
    if not mapped or parsed.prefixlen < 96:
        return parsed
    return ipaddress.ip_network(f"{mapped}/{parsed.prefixlen - 96}")


def is_trusted(address: str, proxies: list) -> bool:
    """Return whether an address is in the networks of trusted proxies; a Unix socket (the address "") always is."""
    try:
        return bool(proxies) and (not address or any(ip(address) in network for network in proxies))
    except ValueError:
        return False


def network(address: str) -> str:
    """Return by what log-ins from an IP address are counted: an IPv4 address itself, the /64 of an IPv6 address.

    One person has all addresses of a /64.
    """
    try:
        return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    except ValueError:
        return address

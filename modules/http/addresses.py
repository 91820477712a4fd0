"""Reads IP addresses and networks as text, and finds the IP address of a request's client."""

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
    """Convert the setting `trusted_proxies`, such as ["10.0.0.0/8"], to IP networks. ConfigError if it is invalid."""
    try:
        return [ip_network(str(each)) for each in trusted_proxies]  # a number would be an address, too
    except ValueError as error:
        raise ConfigError(f"trusted_proxies: {error}.") from None


def client_address(environ: dict, proxies: list) -> str:
    """Return the IP address of the client that sent a request, such as "192.0.2.1".

    `environ`: the WSGI environment. `proxies`: the IP networks of the trusted proxies. The result is REMOTE_ADDR,
    unless that is a trusted proxy. Then it is the last address in the header X-Forwarded-For that is not a trusted
    proxy. If the header is missing or invalid, it is the proxy's own address.
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


@lru_cache(maxsize=1000)  # the server sets REMOTE_ADDR, so that each key is short
def plain_address(remote: str) -> str:
    """Return REMOTE_ADDR without port, brackets and zone: "[::1]:80" gives "::1". Other text stays unchanged."""
    try:
        return str(ip(remote))
    except ValueError:
        return remote


def ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an IP address, with or without brackets and port, such as `[::1]:80`. ValueError if it is invalid.

    An IPv4 address that is written as an IPv6 address (`::ffff:10.0.0.1`) is returned as IPv4.
    """
    return bare_ip(address.strip(' \t"')[:200])


@lru_cache(maxsize=1000)  # texts without an address are not cached, so that each key is short
def bare_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if not (found := ADDRESS.fullmatch(address)):
        raise ValueError("no IP address")
    parsed = ipaddress.ip_address(found[1] or found[2] or found[3])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def ip_network(network: str, strict: bool = True) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Parse an IP network such as `10.0.0.0/8`. ValueError if it is invalid.

    `strict`: also refuse a network with host bits, such as 10.0.0.1/8. An IPv4 network that is written as IPv6
    (`::ffff:10.0.0.0/104`) is returned as IPv4.
    """
    parsed = ipaddress.ip_network(network, strict)
    mapped = getattr(parsed.network_address, "ipv4_mapped", None)
    if not mapped or parsed.prefixlen < 96:
        return parsed
    return ipaddress.ip_network(f"{mapped}/{parsed.prefixlen - 96}")


def is_trusted(address: str, proxies: list) -> bool:
    """Return whether an IP address belongs to a trusted proxy.

    `proxies`: the IP networks of the trusted proxies. Unless it is empty, the address "", that of a Unix socket, is
    trusted, too.
    """
    try:
        return bool(proxies) and (not address or any(ip(address) in network for network in proxies))
    except ValueError:
        return False


def network(address: str) -> str:
    """Return the network for which failed log-ins are counted, such as "10.0.0.1" or "2001:db8::/64".

    The result is an IPv4 address itself, or the /64 network of an IPv6 address. Any other text is returned unchanged.
    """
    try:  # one person usually has all addresses of a /64
        return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    except ValueError:
        return address

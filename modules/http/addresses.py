"""IP addresses and networks, as sockets, servers and proxies write them, and the address of a request's client."""

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
    """Return the networks that the config's trusted_proxies names; ConfigError where one is none."""
    try:
        return [ip_network(each) for each in trusted_proxies]
    except ValueError as error:
        raise ConfigError(f"trusted_proxies: {error}.") from None


def client_address(environ: dict, proxies: list) -> str:
    """Return the client's address; behind trusted proxies the last one in X-Forwarded-For that is none of them.

    Where a proxy passes on something that is no address, the last trusted proxy counts as the client.
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
    """Return an address in its usual form; text that is none, such as a Unix socket's, stays unchanged."""
    try:
        return usual_form(address) if len(address) <= LONGEST else str(ip(address))
    except ValueError:
        return address


@lru_cache(maxsize=1000)
def usual_form(address: str) -> str:
    return str(ip(address))


def ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IP address in a text like ADDRESS, IPv4 within IPv6 as IPv4; ValueError where there is none."""
    return bare_ip(address.strip(' \t"')[:200])


@lru_cache(maxsize=1000)  # texts without an address are not cached, so that each key is short
def bare_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if not (found := ADDRESS.fullmatch(address)):
        raise ValueError("no IP address")
    parsed = ipaddress.ip_address(found[1] or found[2] or found[3])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def ip_network(network: str, strict: bool = True) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network, IPv4 within IPv6 as IPv4 like addresses; ValueError where the text is none."""
    parsed = ipaddress.ip_network(network, strict)
    mapped = getattr(parsed.network_address, "ipv4_mapped", None)
    if not mapped or parsed.prefixlen < 96:
        return parsed
    return ipaddress.ip_network(f"{mapped}/{parsed.prefixlen - 96}")


def is_trusted(address: str, proxies: list) -> bool:
    """Check whether a peer is a trusted proxy. One on a Unix socket, which has no address, is."""
    try:
        return bool(proxies) and (not address or any(ip(address) in network for network in proxies))
    except ValueError:
        return False


def network(address: str) -> str:
    """Return what log-ins from a plain address are counted by: of IPv6 the /64, since one person has it all."""
    try:
        return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    except ValueError:
        return address

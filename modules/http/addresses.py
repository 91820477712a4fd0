"""IP addresses and networks, in the forms that sockets, servers and proxies write, and the address of a client."""

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
    """Return the IP networks in the config's list `trusted_proxies`; ConfigError if an entry is no network."""
    try:
        return [ip_network(each) for each in trusted_proxies]
    except ValueError as error:
        raise ConfigError(f"trusted_proxies: {error}.") from None


def client_address(environ: dict, proxies: list) -> str:
    """Return the client's IP address: REMOTE_ADDR, or the last address in X-Forwarded-For that is no trusted proxy's.

    X-Forwarded-For counts only behind a trusted proxy. If it has text that is no IP address, the proxy that sent this
    text counts as the client. proxies: the networks of the trusted proxies.
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
    """Return an IP address without port, brackets or zone. Other text, such as a Unix socket's path, is unchanged."""
    try:
        return usual_form(address) if len(address) <= LONGEST else str(ip(address))
    except ValueError:
        return address


@lru_cache(maxsize=1000)
def usual_form(address: str) -> str:
    return str(ip(address))


def ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an IP address in one of the forms of ADDRESS, such as `[::1]:80`; IPv4 within IPv6 becomes IPv4.

    ValueError if the text is none.
    """
    return bare_ip(address.strip(' \t"')[:200])


@lru_cache(maxsize=1000)  # texts without an address are not cached, so that each key is short
def bare_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if not (found := ADDRESS.fullmatch(address)):
        raise ValueError("no IP address")
    parsed = ipaddress.ip_address(found[1] or found[2] or found[3])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def ip_network(network: str, strict: bool = True) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Parse an IP network such as `10.0.0.0/8`; IPv4 within IPv6 becomes IPv4. ValueError if the text is none."""
    parsed = ipaddress.ip_network(network, strict)
    mapped = getattr(parsed.network_address, "ipv4_mapped", None)
    if not mapped or parsed.prefixlen < 96:
        return parsed
    return ipaddress.ip_network(f"{mapped}/{parsed.prefixlen - 96}")


def is_trusted(address: str, proxies: list) -> bool:
    """Return whether a peer's address is in the networks of trusted proxies; that of a Unix socket ("") always is."""
    try:
        return bool(proxies) and (not address or any(ip(address) in network for network in proxies))
    except ValueError:
        return False


def network(address: str) -> str:
    """Return what log-ins from an IP address are counted by: the /64 of an IPv6 address, all of which one person has;
    an IPv4 address itself."""
    try:
        return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    except ValueError:
        return address

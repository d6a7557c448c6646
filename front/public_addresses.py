"""Which addresses are on the public Internet: an image_url may lead to no others."""

import ipaddress
import socket

NOT_PUBLIC_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT, and the metadata of a cloud
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's metadata, in a public range
            "169.254.0.0/16",  # link-local, and the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
"""IANA's special-purpose ranges (RFC 6890), multicast, and the metadata servers of clouds."""
GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
"""The range of all public IPv6 addresses. Loopback, unique-local, link-local, site-local and
multicast are outside, and so are addresses with an IPv4 address in them (mapped ::ffff:, NAT64
64:ff9b::)."""
NOT_PUBLIC_6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocols, such as Teredo, which holds an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which holds an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)


def is_internet_address(address: str) -> bool:
    """Whether an address from `look_up` is on the public Internet."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in NOT_PUBLIC_4)
    return parsed in GLOBAL_6 and not any(parsed in network for network in NOT_PUBLIC_6)


def look_up(host: str) -> list[str]:
    """The addresses of a host in any spelling (a name, 127.1, 0x7f000001); [] if there are none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))

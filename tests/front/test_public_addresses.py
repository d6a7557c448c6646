import pytest

from front.public_addresses import is_internet_address, look_up

PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "2a00::1"]
NOT_PUBLIC = {
    "this host": "0.0.0.0",
    "private": "10.0.0.1",
    "CGNAT": "100.64.0.1",
    "loopback": "127.255.0.1",
    "metadata": "169.254.169.254",
    "Azure": "168.63.129.16",
    "private 172": "172.31.255.255",
    "private 192": "192.168.1.1",
    "protocols": "192.0.0.1",
    "documentation": "192.0.2.1",
    "benchmarks": "198.19.255.255",
    "multicast": "224.0.0.1",
    "reserved": "250.0.0.1",
    "broadcast": "255.255.255.255",
    "any": "::",
    "loopback 6": "::1",
    "mapped": "::ffff:8.8.8.8",
    "compatible": "::8.8.8.8",
    "translated": "::ffff:0:8.8.8.8",
    "NAT64": "64:ff9b::8.8.8.8",
    "local NAT64": "64:ff9b:1::8.8.8.8",
    "discard": "100::1",
    "6to4": "2002:808:808::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "ORCHID": "2001:20::1",
    "documentation 6": "2001:db8::1",
    "new documentation": "3fff::1",
    "unique-local": "fd00:ec2::254",
    "link-local": "fe80::1",
    "link-local with a zone": "fe80::1%lo",
    "site-local": "fec0::1",
    "multicast 6": "ff02::1",
}
LOOPBACK = ["127.1", "127.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """What is handed out to anybody is."""
    assert is_internet_address(address)


@pytest.mark.parametrize("address", NOT_PUBLIC.values(), ids=NOT_PUBLIC)
def test_an_address_with_a_purpose_is_not_public(address: str) -> None:
    """What the registries of IANA set apart is not, nor what holds an IPv4 address."""
    assert not is_internet_address(address)


@pytest.mark.parametrize("host", LOOPBACK)
def test_every_spelling_is_looked_up(host: str) -> None:
    """What an address is is decided by what the system would connect to."""
    assert ["127.0.0.1"] == look_up(host)


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64, "1.2.3.4.5", "256.1.1.1"])
def test_a_host_that_is_none_has_no_address(host: str) -> None:
    """A malformed name is looked up without an error."""
    assert [] == look_up(host) or not host

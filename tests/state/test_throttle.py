"""The throttle of log-ins against whoever has many addresses, and addresses as proxies and servers write them."""

import json

import pytest
from mailapi_modules.http import addresses
from mailapi_modules.state import throttle

import mailapi
from support.failed_log_ins import ADDRESS, OTHER_ADDRESS, attempt_log_in, fail_log_ins, post_log_in
from support.site import Site

pytestmark = pytest.mark.every_engine

########## Many addresses ##########################################################################


def test_user_who_moves_within_their_network_is_not_locked_out_by_others_there(site, clock):
    """With privacy addresses (RFC 8981) a device has another one every day, from a /64 that others share."""
    assert attempt_log_in(site, "bob", "pw", "2001:db8:0:1::1") == "in"
    fail_log_ins(site, 10, "ann", "x", "2001:db8:0:1::bad")
    fail_log_ins(site, 10, "bob", "x", "2001:db8:0:2::bad")
    assert (
        attempt_log_in(site, "root", "pw", "2001:db8:0:1::1")
        == attempt_log_in(site, "bob", "pw", "2001:db8:0:3::1")
        == 1
    )
    clock.now += 86400 - 3600
    fail_log_ins(site, 10, "ann", "x", "2001:db8:0:1::bad")
    assert attempt_log_in(site, "bob", "pw", "2001:db8:0:1:aaaa:bbbb:cccc:dddd") == "in"


def test_an_address_known_to_an_earlier_version_is_still_known(site, clock):
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    site.state("UPDATE known_address SET subject = ?", mailapi.sha256(f"both {OTHER_ADDRESS} bob"))
    fail_log_ins(site, 10, "bob")
    assert (
        attempt_log_in(site, "bob", "pw", "192.0.2.77") == 1
        and attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    )


def test_ever_new_names_and_addresses_neither_fill_the_disk_nor_displace_counts(site, clock, monkeypatch):
    monkeypatch.setattr(throttle, "BUCKETS", 20)
    fail_log_ins(site, 10, "bob", "x", ADDRESS)
    assert attempt_log_in(site, "bob", "x", ADDRESS) == 1
    for i in range(400):
        attempt_log_in(site, f"user{i}", "x", f"2001:db8:{i:x}::1")
    assert site.state("SELECT COUNT(*) FROM failure")[0][0] <= 40
    assert attempt_log_in(site, "bob", "x", ADDRESS) >= 1


def test_networks_that_share_a_count_differ_between_installations(tmp_path, clock):
    """Else one of 250,000 networks could be chosen to shut another one out."""
    seen = set()
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name)
        fail_log_ins(site, 1, "bob", "x", ADDRESS)
        seen.add(str(sorted(site.state("SELECT subject FROM failure"))))
        assert site.state("SELECT COUNT(*) FROM throttle_key") == [(1,)]
    assert len(seen) == 3


def test_the_first_log_ins_of_a_process_count_together_even_at_the_same_time(site, clock, monkeypatch):
    """A thread may read the secret of the counts while another one waits for the database's answer."""
    state, read = site.app.state, site.app.state.read

    def read_while_another_thread_does(query, **values):
        rows = read(query, **values)
        if query is throttle.FIND and rows:
            site.app.throttle.key = rows[0][0]
        return rows

    with monkeypatch.context() as patched:
        patched.setattr(state, "read", read_while_another_thread_does)
        fail_log_ins(site, 1)
    fail_log_ins(site, 1)
    assert site.state("SELECT failures FROM failure") == [(2,), (2,)]


def test_a_user_is_known_at_100_networks_at_most(site, clock):
    assert attempt_log_in(site, "ann", "pw", OTHER_ADDRESS) == "in"
    for i in range(110):
        clock.now += 1
        assert attempt_log_in(site, "bob", "pw", f"2001:db8:{i:x}::1") == "in"
    assert site.state("SELECT COUNT(*) FROM known_address") == [(101,)]
    fail_log_ins(site, 10, "bob")
    assert (
        attempt_log_in(site, "ann", "pw", ADDRESS) == 1
        and attempt_log_in(site, "ann", "pw", OTHER_ADDRESS) == "in"
    )
    assert attempt_log_in(site, "bob", "pw", f"2001:db8:{109:x}::7") == "in"
    assert attempt_log_in(site, "bob", "pw", "2001:db8:0::1") == 1  # the oldest gave way


def test_a_right_password_does_not_prolong_waits(site, clock):
    """While a right password is verified it counts as an attempt; afterwards the count is what it was."""
    fail_log_ins(site, 9)
    before = site.state("SELECT * FROM failure")
    clock.now += 1000
    assert attempt_log_in(site, "bob", "pw") == "in"
    assert site.state("SELECT * FROM failure") == before


########## How addresses are written ###############################################################


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("1.2.3.4:5678", "1.2.3.4"),
        (' "1.2.3.4:5678" ', "1.2.3.4"),
        ("[2001:db8:2::7]:443", "2001:db8:2::7"),
        ("[2001:db8:2::7]", "2001:db8:2::7"),
        ('"[2001:DB8:2::7]:443"', "2001:db8:2::7"),
        ("2001:db8:2::7%eth0", "2001:db8:2::7"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:1.2.3.4%3", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("::FFFF:102:304", "1.2.3.4"),
        ("1.2.3.4, 10.0.0.2:99", "1.2.3.4"),
        ("1.2.3.4:1, [::ffff:10.0.0.2]:99", "1.2.3.4"),
        ("\t1.2.3.4\t", "1.2.3.4"),
        # what is no address: the last proxy that is trusted
        ("1.2.3.4, unknown, 10.0.0.2", "10.0.0.2"),
        ("1.2.3.4:x", "10.0.0.1"),
        ("1.2.3.4:5:6", "10.0.0.1"),
        ("[1.2.3.4", "10.0.0.1"),
        ("1.2.3.999", "10.0.0.1"),
        ("01.2.3.4", "10.0.0.1"),
        ("[::1]]", "10.0.0.1"),
        (":::", "10.0.0.1"),
        ("[]:80", "10.0.0.1"),
        ("::1%" + "a" * 9000, "10.0.0.1"),
        ("_hidden, 10.0.0.3:8", "10.0.0.3"),
        ("1.2.3.4 5.6.7.8", "10.0.0.1"),
        ("[" * 9000, "10.0.0.1"),
        ("1:" * 5000, "10.0.0.1"),
    ],
)
def test_ports_brackets_quotes_and_zones_in_addresses_are_ignored(tmp_path, forwarded, client):
    site = Site(tmp_path, trusted_proxies=["10.0.0.0/8"])
    assert attempt_log_in(site, "bob", "x", "10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded) == "wrong"
    assert site.state("SELECT audit_address FROM audit") == [(client,)]


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.1:5678", "192.0.2.1"),
        ("[2001:db8::1]:5678", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix:", "unix:"),
        ("/run/x:y", "/run/x:y"),
        ("", ""),
    ],
)
def test_a_client_without_a_proxy_can_log_in_however_the_server_writes_its_address(tmp_path, peer, client):
    for proxies in ([], ["10.0.0.0/8"]):
        (folder := tmp_path / str(len(proxies))).mkdir()
        site = Site(folder, trusted_proxies=proxies)
        assert (
            attempt_log_in(site, "bob", "wrong", peer) == "wrong"
            and attempt_log_in(site, "bob", "pw", peer) == "in"
        )
        assert site.state("SELECT audit_address FROM audit") == [(client,)] * 2


def test_each_client_behind_a_proxy_that_writes_ports_has_a_count_of_their_own(tmp_path, clock):
    site = Site(tmp_path, trusted_proxies=["10.0.0.0/8"])
    for i in range(10):
        assert (
            attempt_log_in(site, f"user{i}", "x", "10.0.0.1", HTTP_X_FORWARDED_FOR=f"6.6.6.6:{1000 + i}")
            == "wrong"
        )
    assert attempt_log_in(site, "ann", "pw", "10.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6:2000") == 1
    assert attempt_log_in(site, "ann", "pw", "10.0.0.1", HTTP_X_FORWARDED_FOR="1.2.3.4:2000") == "in"


def test_networks_may_be_written_as_ipv6(tmp_path):
    site = Site(tmp_path, trusted_proxies=["::ffff:10.0.0.0/104"])
    networks = ["::ffff:192.0.2.0/120", "fe80::/10"]
    token = site("tokens/?add", user="bob", token_name="x", token_networks=networks)["token"]

    def works(address):
        browser = site.browser(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=address)
        return browser.get("/?login", headers={"Authorization": f"Bearer {token}"}).json["login"]

    assert [works(a) for a in ("192.0.2.9:4711", "[fe80::5%eth1]:1", "192.0.3.9", "x")] == [
        True,
        True,
        False,
        False,
    ]


def test_long_addresses_are_not_cached(tmp_path):
    site = Site(tmp_path, trusted_proxies=["10.0.0.0/8"])
    addresses.bare_ip.cache_clear()
    for i in range(50):
        for long in (f"fe80::{i:x}%" + "z" * 5000, " " * 5000 + f"1.2.3.{i}", f"{i}" * 5000):
            site.browser(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=long).post(
                "/?x", json.dumps({}).encode()
            )
            addresses.client_address(
                {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": long}, site.app.proxies
            )
    assert (
        addresses.bare_ip.cache_info().currsize <= 51
    )  # the fifty that are addresses once the blanks are off


def test_refusals_are_the_same_for_right_and_wrong_passwords(site, clock):
    fail_log_ins(site)
    assert post_log_in(site, "bob", "pw").json == post_log_in(site, "bob", "x").json

"""Failed log-ins cost time, and whose they are: the client's address, behind proxies too (modules/state/throttle.py)."""

import json
import threading

import pytest

import mailapi
from support.counting import statements
from support.failed_log_ins import ADDRESS, OTHER_ADDRESS, attempt_log_in, fail_log_ins, post_log_in
from support.site import Site

pytestmark = pytest.mark.every_engine


def in_threads(number: int, work) -> list:
    """Run work(0), work(1), … at the same moment; return their results."""
    together, seen = threading.Barrier(number), []

    def run(i):
        together.wait()
        seen.extend(work(i))

    threads = [threading.Thread(target=run, args=[i]) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


########## The wait ################################################################################


@pytest.mark.parametrize(
    "who",
    [
        lambda i: (f"user{i}", "x", ADDRESS),
        lambda i: ("bob", "x", f"192.0.2.{i}"),
        lambda i: ("nobody here", "x", f"192.0.2.{i}"),
        lambda i: ("nologin", "x", ADDRESS),
    ],
    ids=["one address, many names", "a name", "an unknown name", "a name without a log-in"],
)
def test_ten_failures_are_free_then_the_wait_doubles_up_to_900_seconds(either, clock, who):
    assert [attempt_log_in(either, *who(i)) for i in range(10)] == ["wrong"] * 10
    for i, wait in enumerate([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]):
        assert [attempt_log_in(either, *who(100 + i)) for _ in range(3)] == [
            wait
        ] * 3  # asking again costs nothing more
        clock.now += wait - 1
        assert attempt_log_in(either, *who(100 + i)) == 1
        clock.now += 1
        assert attempt_log_in(either, *who(100 + i)) == "wrong"


def test_known_address_waits_30_seconds_at_most(site, clock):
    assert attempt_log_in(site, "bob", "pw") == "in"
    fail_log_ins(site)
    for wait in [1, 2, 4, 8, 16, 30, 30, 30]:
        assert attempt_log_in(site) == wait
        clock.now += wait
        assert attempt_log_in(site) == "wrong"
    clock.now += 30
    assert attempt_log_in(site, "bob", "pw") == "in"


def test_free_attempts_is_configurable(tmp_path, clock):
    site = Site(tmp_path, free_attempts=2)
    fail_log_ins(site, 2)
    assert attempt_log_in(site) == 1


def test_a_client_that_has_to_wait_gets_no_login_key_and_changes_nothing(site, clock):
    fail_log_ins(site)
    before = site.dump()
    fields = {"pop_user": "bob", "auth": {"user_name": "bob", "password": "pw"}}
    answer = site.browser(REMOTE_ADDR=ADDRESS).post("/pop/?add", json.dumps(fields).encode(), status=429)
    assert list(answer.json) == ["status", "debug", "api_version", "schema_version", "session"]
    assert answer.headers["Content-Type"] == "application/json" and "Set-Cookie" not in answer.headers
    assert site.dump() == before


def test_right_password_is_refused_while_an_unknown_address_has_to_wait(site, clock):
    fail_log_ins(site)
    assert attempt_log_in(site, "bob", "pw") == 1
    clock.now += 1
    assert attempt_log_in(site, "bob", "pw") == "in"


def test_a_session_stays_valid_while_its_address_has_to_wait(site, clock):
    browser = site.browser(REMOTE_ADDR=ADDRESS)
    browser.post_json("/?x", {"auth": {"user_name": "bob", "password": "pw"}})
    fail_log_ins(site, 10, "root")
    assert browser.post_json("/?x", {}).json["login"] is True


def test_user_is_not_locked_out_where_they_logged_in_before(site, clock):
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    fail_log_ins(site, 10, "bob", "x", ADDRESS)
    fail_log_ins(site, 10, "ann", "x", OTHER_ADDRESS)
    assert (
        attempt_log_in(site, "bob", "x", "192.0.2.5") == 1
        and attempt_log_in(site, "root", "pw", OTHER_ADDRESS) == 1
    )
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    site.state("UPDATE failure SET failures = 1000")
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"


def test_logging_in_to_ones_own_account_gives_no_further_guesses(site, clock):
    assert attempt_log_in(site, "ann", "pw") == "in"
    for _ in range(10):
        assert attempt_log_in(site, "bob") == "wrong" and attempt_log_in(site, "ann", "pw") == "in"
    assert attempt_log_in(site, "bob") == 1 and attempt_log_in(site, "root") == 1


def test_failures_are_forgotten_after_an_hour(site, clock):
    fail_log_ins(site)
    site.state("UPDATE failure SET failures = 20")
    clock.now += 3599
    assert attempt_log_in(site) == "wrong" and attempt_log_in(site) == 900  # 20 and one more
    clock.now += 3600
    fail_log_ins(site)
    assert attempt_log_in(site) == 1
    clock.now += 3600
    fail_log_ins(site, 1, "ann", "x", OTHER_ADDRESS)
    assert attempt_log_in(site, "bob", "pw") == "in"
    assert site.state("SELECT COUNT(*) FROM failure") == [(2,)]  # what is forgotten does not pile up


def test_known_address_is_forgotten_after_180_days_without_a_log_in(site, clock):
    assert attempt_log_in(site, "bob", "pw") == "in"
    clock.now += 181 * 86400
    assert attempt_log_in(site, "ann", "pw") == "in"
    assert len(site.state("SELECT * FROM known_address")) == 1
    assert "ann" not in str(site.state("SELECT * FROM known_address"))


def test_addresses_of_a_deleted_user_are_not_known_for_a_later_user_of_the_name(site, clock):
    assert attempt_log_in(site, "bob", "pw") == "in" and attempt_log_in(site, "ann", "pw") == "in"
    site("users/?delete", user_name="bob")
    assert len(site.state("SELECT * FROM known_address")) == 2  # ann's, and root's who deletes
    site("users/?add", user_name="bob", user_authdata="pw")
    fail_log_ins(site, 10, "bob", "x", OTHER_ADDRESS)
    assert attempt_log_in(site, "bob", "pw") == 1


def test_ipv6_counts_by_network_of_64_bits(site, clock):
    for i in range(10):
        fail_log_ins(site, 1, f"user{i}", "x", f"2001:db8:0:1:{i}::{i}")
    assert attempt_log_in(site, "user10", "x", "2001:db8:0:1:ffff::") == 1
    assert attempt_log_in(site, "user10", "x", "2001:db8:0:2::1") == "wrong"


########## Right ones, and many at once ############################################################


def test_a_right_password_is_not_counted(site):
    for _ in range(15):
        assert attempt_log_in(site, "bob", "pw") == attempt_log_in(site, "ann", "pw", OTHER_ADDRESS) == "in"
    assert post_log_in(site, "bob", "").json["status"] == "Password is not set!"
    assert site.state("SELECT * FROM failure") == []


def test_scripts_that_log_in_with_every_request_never_wait(site):
    seen = in_threads(8, lambda i: [attempt_log_in(site, ("bob", "ann")[i % 2], "pw") for _ in range(25)])
    assert seen == ["in"] * 200


@pytest.mark.parametrize("known", [False, True])
def test_parallel_guesses_gain_at_most_one_for_each_thread(site, clock, known):
    if known:
        assert attempt_log_in(site, "bob", "pw") == "in"
    threads = 8
    seen = in_threads(threads, lambda i: [attempt_log_in(site, "bob", f"guess{i} {n}") for n in range(20)])
    assert 10 <= seen.count("wrong") < 10 + threads
    assert (
        attempt_log_in(site, "bob", "guess")
        == attempt_log_in(site, "bob", "pw")
        == min(2 ** (seen.count("wrong") - 10), 30 if known else 900)
    )


def test_a_wrong_password_takes_as_long_as_an_unknown_name(site, monkeypatch):
    """The same statements, and a password that is verified once."""
    verify, verified = mailapi.verify, []
    monkeypatch.setattr(
        mailapi, "verify", lambda given, stored: verified.append(given) or verify(given, stored)
    )
    for name in ("bob", "nobody", "nologin"):  # the first failure of an hour begins a count
        fail_log_ins(site, 1, name)
    work = {}
    for name in ("bob", "nobody", "nologin"):
        del verified[:]
        work[name] = (statements(site, lambda name=name: fail_log_ins(site, 1, name)), list(verified))
    assert work["bob"][0] and work["bob"][1] == ["wrong"]
    assert work["bob"] == work["nobody"] == work["nologin"]


########## Behind a proxy ##########################################################################


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", "1.2.3.4", "198.51.100.7"),
        ("198.51.100.7", "10.0.0.1", "198.51.100.7"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6,1.2.3.4 ,10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "10.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "10.9.9.9, 10.0.0.2", "10.9.9.9"),
        ("2001:db8:1::1", "2001:db8:2::0:7", "2001:db8:2::7"),
        ("2001:db8:2::1", "1.2.3.4", "2001:db8:2::1"),
        ("", "1.2.3.4", "1.2.3.4"),
        ("", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("", None, ""),  # a Unix socket
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4\nx", "10.0.0.1"),
        ("10.0.0.1", ",,", "10.0.0.1"),
        ("10.0.0.1", "a" * 9000, "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4" + ", 10.0.0.2" * 500, "1.2.3.4"),
        ("10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:198.51.100.7", None, "198.51.100.7"),
        ("10.0.0.1", "fe80::1%eth0", "fe80::1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4, ::ffff:10.0.0.2", "1.2.3.4"),
    ],
)
def test_forwarded_for_counts_as_far_as_proxies_are_trusted(tmp_path, peer, forwarded, client):
    site = Site(tmp_path, trusted_proxies=["10.0.0.0/8", "2001:db8:1::/48"])
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    assert attempt_log_in(site, "bob", "x", peer, **headers) == "wrong"
    assert site.state("SELECT audit_address FROM audit") == [(client,)]


def test_without_trusted_proxies_forwarding_headers_are_ignored(site):
    for peer in ("127.0.0.1", ""):
        headers = {"HTTP_X_FORWARDED_FOR": "1.2.3.4", "HTTP_X_FORWARDED_PROTO": "https"}
        assert "Secure" not in post_log_in(site, "bob", "pw", peer, **headers).headers["Set-Cookie"]
    assert site.state("SELECT audit_address FROM audit") == [("127.0.0.1",), ("",)]


def test_spoofed_headers_neither_spread_nor_shift_the_count(tmp_path, clock):
    site = Site(tmp_path, trusted_proxies=["10.0.0.0/8"])
    for i in range(10):
        header = {"HTTP_X_FORWARDED_FOR": f"10.0.0.7, 6.6.6.{i}, 1.2.3.4"}
        assert attempt_log_in(site, f"user{i}", "x", "10.0.0.1", **header) == "wrong"
    assert attempt_log_in(site, "ann", "pw", "10.0.0.1", HTTP_X_FORWARDED_FOR="5.5.5.5, 1.2.3.4") == 1
    assert attempt_log_in(site, "ann", "pw", "10.0.0.1", HTTP_X_FORWARDED_FOR="1.2.3.4, 5.5.5.5") == "in"


@pytest.mark.parametrize(
    ("peer", "scheme", "proto", "secure"),
    [
        ("10.0.0.1", "http", "https", True),
        ("10.0.0.1", "https", "http", False),
        ("10.0.0.1", "https", None, True),
        ("192.0.2.1", "http", "https", False),
        ("192.0.2.1", "https", "http", True),
        ("", "http", "https", True),
    ],
)
def test_forwarded_proto_of_a_trusted_proxy_makes_the_cookie_secure(tmp_path, peer, scheme, proto, secure):
    site = Site(tmp_path, trusted_proxies=["10.0.0.1"])
    headers = {"wsgi.url_scheme": scheme} | ({"HTTP_X_FORWARDED_PROTO": proto} if proto else {})
    assert ("; Secure" in post_log_in(site, "bob", "pw", peer, **headers).headers["Set-Cookie"]) is secure


@pytest.mark.parametrize(
    "wrong", [["proxy.example"], ["10.0.0.1/8"], ["10.0.0.0/33"], [""], [None], [10], "10.0.0.1"]
)
def test_wrong_trusted_proxies_are_refused_at_start(tmp_path, wrong):
    with pytest.raises(
        mailapi.ConfigError, match=r"\Atrusted_proxies(: .+| must be a list, not '10.0.0.1')\.\Z"
    ):
        Site(tmp_path, trusted_proxies=wrong)

"""A Galera cluster of two nodes, and an instance at each: what one does the other sees, and nothing is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.command_line import Server
from support.failures import BUSY, STATE_UNREACHABLE, UNREACHABLE, add_users_until, assert_answers_true
from support.galera import Cluster
from support.shared import Client, SiteOnServer, create_master_database
from support.waiting import wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("pymysql")
    made = Cluster(tmp_path_factory.mktemp("galera"))
    yield made
    made.stop()


class Database:
    """A database of the cluster; as in mariadb.Database its statements go past the API."""

    numbers = iter(range(100))

    def __init__(self, cluster: Cluster):
        self.cluster, self.name = cluster, f"db{next(self.numbers)}"
        cluster.nodes[0].sql(f"CREATE DATABASE {self.name}")

    def sql(self, statement: str, *values, node: int = 0) -> list[tuple]:
        self.cluster.nodes[node].sql("SET GLOBAL wsrep_sync_wait = 1")
        return self.cluster.nodes[node].sql(statement, *values, database=self.name)

    def rows(self, node: int) -> dict[str, list]:
        tables = [name for (name,) in self.sql("SHOW TABLES", node=node)]
        return {table: sorted(self.sql(f"SELECT * FROM {table}", node=node), key=repr) for table in tables}


@pytest.fixture
def database(cluster):
    made = Database(cluster)
    create_master_database(cluster.url(made.name, 0, 1))
    return made


@pytest.fixture
def two(cluster, database, tmp_path) -> list[SiteOnServer]:
    """An instance that asks the first node first, and one that asks the second."""
    return [
        SiteOnServer(tmp_path / name, cluster.url(database.name, *order))
        for name, order in (("one", (0, 1)), ("two", (1, 0)))
    ]


def at(client: Client, server, url: str, **fields) -> dict:
    return client.ask(server.url + url, **fields)[1]


def test_what_one_node_acknowledged_the_other_has_at_once(two, tmp_path):
    with Server(tmp_path / "one") as one, Server(tmp_path / "two") as other:
        for number in range(8):
            client, name = Client(), f"u{number}"
            assert client.log_in(one.url)[1]["login"] is True
            assert at(client, other, "users/?add", user_name=name, user_authdata="secret")["user"] is True
            assert Client().log_in(one.url, name, "secret")[1]["auth_user"] == name
            assert at(client, one, "users/?delete", user_name=name)["status"] == "ok"
            assert Client().log_in(other.url, name, "secret")[1]["login"] is False
            token = at(client, other, "tokens/?add", token_name=name)["token"]
            assert at(Client(token), one, "users/?get")["login"] is True
            at(client, other, "?logout")
            assert at(client, one, "?login")["login"] is False


def together(two, count: int, ask) -> list[list[tuple[int, dict]]]:
    """ask(site, number), so many times at both nodes at the same moment."""
    barrier = threading.Barrier(2)

    def each(site):
        answers = []
        for number in range(count):
            barrier.wait()
            answer = ask(site, number)
            answers.append((answer.status_int, answer.json))
        return answers

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(each, two))


ROOT = {"auth": {"user_name": "root", "password": "pw"}}


def test_writers_on_both_nodes_take_turns(two, database):
    """Of two that want the same name one gets it; nobody's permissions are lost or somebody else's."""
    answers = together(
        two,
        10,
        lambda site, number: site.answer(
            "users/?add", "*", **ROOT, user_name=f"same{number}", user_permissions=[f"by{two.index(site)}"]
        ),
    )
    for number, (mine, yours) in enumerate(zip(*answers)):
        said = sorted((http, answer["status"]) for http, answer in (mine, yours))
        granted = [
            row[0]
            for row in database.sql(
                "SELECT api_permission FROM api_access WHERE api_user = %s", f"same{number}"
            )
        ]
        if (200, "ok") in said:
            assert granted == [
                f"by{[mine, yours].index(next(a for a in (mine, yours) if a[1]['status'] == 'ok'))}"
            ]
        else:
            assert {http for http, _ in said} <= {503}
    assert sum(answer["status"] == "ok" for side in answers for _, answer in side) >= 8
    assert {answer["status"] for side in answers for _, answer in side} <= {
        "ok",
        BUSY,
        "UNIQUE constraint failed: users.user_name",
    }
    assert database.rows(0) == database.rows(1)


def test_what_was_read_is_still_so_when_it_counts(two, database):
    """Each failed log-in counts one more, whichever node it comes to."""
    answers = together(
        two,
        8,
        lambda site, number: site.answer(
            "?login", "*", auth={"user_name": "ann", "password": f"wrong{number}"}
        ),
    )
    refused = [http for side in answers for http, _ in side]
    assert set(refused) <= {200, 429, 503} and refused.count(200) >= 10
    assert (
        database.sql("SELECT failures FROM failure") == [(refused.count(200),)] * 2
    )  # by address and by name
    assert database.rows(0) == database.rows(1)


def test_an_address_order_is_given_once_in_the_whole_cluster(two, database):
    """Each node adds an address, which the other one deletes before it adds the next."""
    given = []
    for number in range(6):
        one, other = two if number % 2 else reversed(two)
        assert one("addresses/?add", address_expression="x@y", address_router="drop")["status"] == "ok"
        [(order,)] = database.sql("SELECT address_order FROM addresses", node=number % 2)
        assert other("addresses/?delete", address_expression="x@y", address_order=order)["status"] == "ok"
        given.append(order)
    assert given == sorted(set(given))


def test_audit_has_what_happened_on_both_nodes(two, database):
    answers = together(
        two,
        6,
        lambda site, number: site.answer("users/?add", "*", **ROOT, user_name=f"a{two.index(site)}-{number}"),
    )
    done = sorted(
        f"a{side}-{number}"
        for side, given in enumerate(answers)
        for number, (http, _) in enumerate(given)
        if http == 200
    )
    assert len(done) >= 10
    rows = two[1]("audit/?get", audit_action="add", audit_http=None)["audit"]
    assert sorted(row["audit_target"] for row in rows if row["audit_status"] == "ok") == done


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_node_that_goes_and_comes_back(cluster, two, database, tmp_path, how):
    """Stopped, the first node leaves the cluster to the second; the second, killed, leaves it to the first, which
    has the quorum. The instance that was at it goes on at the other."""
    node, name, letter = (0, "one", "s") if how == "stopped" else (1, "two", "k")
    over, log = threading.Event(), []
    with Server(tmp_path / name) as server, ThreadPoolExecutor(3) as threads:
        writers = [
            threads.submit(add_users_until, over, server.url, f"{letter}{number}", log) for number in range(3)
        ]
        try:
            wait_until(lambda: len(log) > 20)
            gone = time.monotonic()
            cluster.nodes[node].kill() if how == "killed" else cluster.nodes[node].stop()
            wait_until(lambda: sum(http == 200 for began, _, http, _, _ in log if began > gone) > 20)
            cluster.restart(cluster.nodes[node])
            wait_until(lambda: [http for _, _, http, *_ in log][-20:] == [200] * 20)
            back = time.monotonic()
            wait_until(lambda: sum(began > back for began, *_ in log) > 20)
        finally:
            over.set()
        for writer in writers:
            writer.result()
        assert "Traceback" not in server.log() and "se/cret" not in server.log()
    assert_answers_true({key: (http, answer["status"]) for _, key, http, answer, _ in log}, database, letter)
    assert {(http, headers["Retry-After"]) for _, _, http, _, headers in log if http != 200} <= {
        (503, "1"),
        (503, "5"),
    }
    assert {http for began, _, http, _, _ in log if began > back} == {200}
    assert database.rows(0) == database.rows(1)


def test_a_node_without_the_others_serves_nobody(cluster, two, database, tmp_path):
    """The first is killed: the second cannot know whether the first goes on, and refuses until it is back."""
    alone = SiteOnServer(tmp_path / "alone", cluster.url(database.name, 1))
    assert alone("?login")["login"] is True and two[1]("?login")["login"] is True
    cluster.nodes[0].kill()
    wait_until(lambda: alone.answer("users/?add", "*", **ROOT, user_name="lost").status_int == 503)
    answer = two[1].answer("users/?add", "*", **ROOT, user_name="lost")
    assert (answer.status_int, answer.json["status"] in (UNREACHABLE, STATE_UNREACHABLE, BUSY)) == (503, True)
    cluster.make_primary(cluster.nodes[1])
    cluster.wait(1)
    assert two[0]("users/?add", user_name="found")["status"] == "ok"
    cluster.restart(cluster.nodes[0])
    assert alone("users/?add", user_name="again")["status"] == "ok"
    assert database.rows(0) == database.rows(1)

# SPDX-License-Identifier: Apache-2.0
"""
A private PostgreSQL server of the distribution, durable as in earnest (fsync is on), and a standby of it.

    Database    what can be done through an address: new databases, rows
    Postgres    a server of our own: also started, stopped, killed, set up otherwise
    Standby     a copy that follows a Postgres, synchronously unless told otherwise, and can take its place
"""
import base64
import glob
import hashlib
import hmac
import os
import pwd
import secrets
import signal
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from . import process
from .process import Missing, Service, wait_for

OWNER = "doorbuster"          # may log in and create databases, no more
PASSWORD = "dev-password-1"
SUPERUSER = "postgres"
SUPERUSER_PASSWORD = "dev-password-2"
CONNECT_SECONDS = 30
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def driver():
    try:
        import psycopg2
        return psycopg2
    except ImportError:
        raise Missing("psycopg2 is not installed; script/bootstrap --all does it (package python3-psycopg2)") from None


def programs():
    """The directory of initdb, postgres and their like: the newest that is installed."""
    def version(path):
        return tuple(int(part) for part in path.split("/")[4].split(".") if part.isdigit())

    places = sorted((place for place in glob.glob("/usr/lib/postgresql/*/bin") if os.path.exists(place + "/initdb")),
        key=version)
    return Path(places[-1] if places else os.path.dirname(os.path.realpath(process.program("initdb", "postgresql"))))


def check():
    """Raises Missing when a PostgreSQL server cannot be started here."""
    driver()
    programs()
    account()


def account():
    """Who runs the server: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise Missing("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def quick_secret(password):
    """What the server keeps of a password (RFC 5802), made in one round instead of 4096. Who logs in does as many
    rounds, and tests log in thousands of times."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    proof = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored, proof = (base64.b64encode(part).decode() for part in (salt, stored, proof))
    return f"SCRAM-SHA-256$1:{salt}${stored}:{proof}"


class Database:
    """A server known by the address of one of its databases, whose user may create databases."""
    serial = 0
    lock = threading.Lock()

    def __init__(self, url):
        self.owner_url = url

    def url(self, database="postgres", **other):
        """The address of a database; other: user=, password=, port= to differ from the usual."""
        parts = urlsplit(self.owner_url)
        user = other.get("user", parts.username)
        password = other.get("password", parts.password)
        place = f"{parts.hostname}:{other.get('port', parts.port)}"
        who = user + (f":{password}" if password is not None else "")
        return urlunsplit((parts.scheme, f"{who}@{place}", "/" + database, other.get("query", ""), ""))

    def connect(self, database="postgres", **other):
        """A connection of psycopg2 that commits every statement by itself."""
        return connect(self.url(database, **other))

    def sql(self, statement, *values, database="postgres", **other):
        """The rows of one statement ([] when it has none); values stand for its %s."""
        return sql(self.url(database, **other), statement, *values)

    def create_database(self, word="test", template="template0"):
        """A new database, empty or like the template, which nobody may be connected to; its name."""
        with Database.lock:
            Database.serial += 1
            name = f"{word}_{os.getpid()}_{Database.serial}_{secrets.token_hex(3)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name):
        """Also when somebody is connected to it. FORCE may not end an autovacuum worker; without it the server does."""
        try:
            self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        except driver().Error:
            self.sql(f'DROP DATABASE IF EXISTS "{name}"')


def connect(url):
    connection = driver().connect(url, connect_timeout=CONNECT_SECONDS)
    connection.autocommit = True
    return connection


def sql(url, statement, *values):
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description is not None else []
    finally:
        connection.close()


class Postgres(Service, Database):
    """A server of our own. settings: more of postgresql.conf, as text or numbers."""
    name = "postgres"
    death_signal = "QUIT"

    def __init__(self, **settings):
        check()
        Service.__init__(self)
        self.port = process.free_port()
        self.data = self.directory / "data"
        self.settings = {
            "max_connections": 300,
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "shared_preload_libraries": "pg_stat_statements",
            "timezone": "Asia/Kathmandu",  # not UTC, so that nobody relies on it
            **settings,
        }
        Database.__init__(self, f"postgres://{OWNER}:{PASSWORD}@127.0.0.1:{self.port}/postgres")
        try:
            self.make_data()
            with open(self.data / "postgresql.conf", "a") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in self.settings.items())
        except BaseException:
            self.remove()
            raise

    def make_data(self):
        secret = self.directory / "password"
        secret.write_text(SUPERUSER_PASSWORD + "\n")
        if self.user() is not None:
            os.chown(secret, pwd.getpwnam(self.user()).pw_uid, -1)
        self.run("initdb", f"--pgdata={self.data}", f"--username={SUPERUSER}", f"--pwfile={secret}", "--no-sync",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
            "--no-instructions")

    def run(self, name, *arguments):
        """One of PostgreSQL's programs, as the user that runs the server."""
        command = [*self.as_user(), str(programs() / name), *arguments]
        done = subprocess.run(command, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**os.environ, "PGPASSWORD": SUPERUSER_PASSWORD})
        if done.returncode != 0:
            raise RuntimeError(f"{name} failed: {done.stdout}{done.stderr}")

    def user(self):
        return account()

    def command(self):
        # A socket of the file system has room for 107 bytes.
        sockets = self.directory if len(str(self.directory)) < 80 else ""
        return [programs() / "postgres", "-D", self.data, "-c", "listen_addresses=127.0.0.1",
            "-c", f"port={self.port}", "-c", f"unix_socket_directories={sockets}"]

    def is_ready(self):
        try:
            self.super_sql("SELECT 1")
            return True
        except driver().OperationalError:
            return False

    def start(self, seconds=process.START_SECONDS):
        Service.start(self, seconds)
        if not self.is_standby() and not self.super_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", OWNER):
            self.super_sql("CREATE EXTENSION pg_stat_statements")
            self.super_sql(f"ALTER ROLE {SUPERUSER} PASSWORD '{quick_secret(SUPERUSER_PASSWORD)}'")
            self.super_sql(f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{quick_secret(PASSWORD)}' IN ROLE pg_monitor")
        return self

    def is_standby(self):
        return self.super_sql("SELECT pg_is_in_recovery()") == [(True,)]

    def super_url(self, database="postgres"):
        return self.url(database, user=SUPERUSER, password=SUPERUSER_PASSWORD)

    def super_sql(self, statement, *values, database="postgres"):
        """As the superuser, who may also look into pg_stat_statements (in the database postgres)."""
        return sql(self.super_url(database), statement, *values)

    def set(self, **settings):
        """Changes settings and waits until new connections have them; those that need it, after restart()."""
        before = self.super_sql("SELECT pg_conf_load_time()")
        for name, value in settings.items():
            self.super_sql(f"ALTER SYSTEM SET {name} = %s", str(value))
        self.super_sql("SELECT pg_reload_conf()")
        wait_for(lambda: self.super_sql("SELECT pg_conf_load_time()") != before, "settings loaded")

    def cut_clients(self):
        """Ends every connection but ours, as an administrator can; how many."""
        return len(self.super_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"))

    def forget_statements(self):
        self.super_sql("SELECT pg_stat_statements_reset()")

    def statements(self, database):
        """{text: calls} of what has been run in a database since forget_statements()."""
        rows = self.super_sql("SELECT query, sum(calls)::bigint FROM pg_stat_statements s JOIN pg_database d"
            " ON d.oid = s.dbid WHERE datname = %s GROUP BY query", database)
        return dict(rows)

    def stop(self, mode="fast"):
        """smart waits for the clients, fast ends their connections, immediate is a crash that needs recovery."""
        Service.stop(self, STOP_SIGNALS[mode])

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def kill9(self):
        """The machine lost its power, for all that a process can tell: all processes of the server at once."""
        if not self.is_running():
            return
        self.process.send_signal(signal.SIGSTOP)  # so that it starts no other
        victims = children(self.pid)
        for pid in [*victims, self.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        wait_for(lambda: not any(map(is_alive, victims)), "the server's processes are gone")


class Standby(Postgres):
    """Follows `primary`. When is_synchronous, the primary acknowledges no commit that is not on the standby's disk."""

    def __init__(self, primary, is_synchronous=True, **settings):
        self.primary = primary
        self.is_synchronous = is_synchronous
        Postgres.__init__(self, cluster_name="standby", **settings)

    def make_data(self):
        self.run("pg_basebackup", f"--pgdata={self.data}", "--host=127.0.0.1", f"--port={self.primary.port}",
            f"--username={SUPERUSER}", "--wal-method=stream", "--checkpoint=fast", "--no-sync",
            "--write-recovery-conf")

    def start(self, seconds=process.START_SECONDS):
        """Serves reads, and has all that the primary has."""
        Postgres.start(self, seconds)
        if self.is_standby():
            if self.is_synchronous:
                self.primary.set(synchronous_standby_names="standby")
            wanted = "sync" if self.is_synchronous else "async"
            wait_for(lambda: self.primary.super_sql("SELECT 1 FROM pg_stat_replication WHERE application_name ="
                " 'standby' AND state = 'streaming' AND sync_state = %s", wanted), f"a standby that streams, {wanted}")
        return self

    def promote(self):
        """Becomes a primary that waits for no standby; returns when it takes writes."""
        self.super_sql("SELECT pg_promote(true, 60)")
        wait_for(lambda: not self.is_standby(), "promoted")
        self.set(synchronous_standby_names="")


def children(pid):
    """The processes whose parent this one is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # gone meanwhile
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def is_alive(pid):
    """A process that has not ended; one that nobody has asked for its exit status has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False

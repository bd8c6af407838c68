# SPDX-License-Identifier: Apache-2.0
"""
Private servers for tests, from the packages of the distribution, and a proxy that makes the network bad:

    with Postgres() as postgres:
        url = postgres.url(postgres.create_database())

tests/ has to be on sys.path. A server that cannot be had here raises Missing, which says what to install. From
other languages: tests/with_services.py COMMAND.
"""
from . import haproxy, mail, postgres, redis
from .haproxy import Haproxy
from .mail import MailServer
from .postgres import Database, Postgres, Standby
from .process import Missing, free_port, wait_for
from .proxy import TcpProxy
from .redis import Redis

__all__ = ["CHECKS", "Database", "Haproxy", "MailServer", "Missing", "Postgres", "Redis", "Standby", "TcpProxy",
    "can_have", "free_port", "wait_for"]

# What raises Missing when tests on that service have to be left out.
CHECKS = {"postgres": postgres.check, "redis": redis.check, "haproxy": haproxy.check, "mail": mail.check}


def can_have(name):
    try:
        CHECKS[name]()
        return True
    except Missing:
        return False

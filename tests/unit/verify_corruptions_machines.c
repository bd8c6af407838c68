/* SPDX-License-Identifier: Apache-2.0 */
/* Ways of spoiling machines, their leases, what they sell, and the waiting line. */
#include "verify_corruptions.h"

#define COPY_OF(table) LOOSE(table) "INSERT INTO " table " SELECT * FROM " table
#define MACHINE(id, what) "UPDATE machines SET " what " WHERE id = " #id ";"
#define LEASE(id, what) "UPDATE leases SET " what " WHERE id = " #id ";"
#define TICKET(id, what) "UPDATE tickets SET " what " WHERE id = " #id ";"
#define STOCK(id, stock) "UPDATE products SET stock = " #stock " WHERE id = " #id ";"

const struct corruption machine_corruptions[] = {
    /* --- machines --- */
    {"a machine is broken", MACHINE(4, "status = 'broken'"), .failed = "machines",
        .named = "machine 4 has no such status: broken"},
    {"an idle machine has a lease", MACHINE(2, "status = 'idle', is_draining = 1"), .failed = "machines",
        .named = "machine 2 is idle, but has lease 8"},
    {"an idle machine is due", MACHINE(4, "due_at = 1"), .failed = "machines",
        .named = "machine 4 is idle, but something of a lease is left"},
    {"a machine is held for ever", MACHINE(1, "due_at = NULL"), .failed = "machines",
        .named = "machine 1 has lease 7, which is never due"},
    {"a lease goes on that never started", MACHINE(2, "started_at = NULL"), .failed = "machines",
        .named = "machine 2 has lease 8, which never started"},
    {"a machine waits for a choice that was made", MACHINE(2, "product_id = 5"), .failed = "machines",
        .named = "machine 2 waits for a choice, but has one"},
    {"a machine processes nothing", MACHINE(1, "chosen_at = NULL"), .failed = "machines",
        .named = "machine 1 is processing, but nothing was chosen"},
    {"a choice came before its lease", MACHINE(1, "chosen_at = 359"), .failed = "machines",
        .named = "machine 1 has lease 7, which chose before it started"},
    {"a machine has no name", MACHINE(4, "name = ''"), .failed = "machines",
        .named = "machine 4 has a value that cannot be"},
    {"a machine drains a little", MACHINE(4, "is_draining = 2"), .failed = "machines",
        .named = "machine 4 has a value that cannot be"},
    {"a machine is there twice", COPY_OF("machines") " WHERE id = 4", .failed = "machines",
        .named = "machine 4 is there 2 times"},

    /* --- leases --- */
    {"a lease has an outcome of its own", LEASE(2, "outcome = 'lost'"), .failed = "leases",
        .named = "lease 2 has no such outcome: lost"},
    {"a lease is completed without a choice", LEASE(2, "outcome = 'completed'") MACHINE(2, "usage_count = 2"),
        .failed = "leases", .named = "lease 2 is completed, but nothing was chosen"},
    {"a choice that was paid for timed out", LEASE(4, "outcome = 'timed_out'"), .failed = "leases",
        .named = "lease 4 timed out after a product was chosen"},
    {"a lease ended with its machine, which goes on", LEASE(4, "outcome = 'deleted'"), .failed = "leases",
        .named = "lease 4 ended with machine 1, which is still there"},
    {"a lease has half a choice", LEASE(4, "chosen_at = NULL"), .failed = "leases",
        .named = "lease 4 has half a choice"},
    {"a lease ended before it chose", LEASE(4, "ended_at = 209"), .failed = "leases",
        .named = "lease 4 ended before it chose"},
    {"a lease ended before it started", LEASE(5, "ended_at = 299"), .failed = "leases",
        .named = "lease 5 ended before it started"},
    {"a lease chose before it started", LEASE(4, "chosen_at = 199"), .failed = "leases",
        .named = "lease 4 chose before it started"},
    {"a lease ended soon", LEASE(5, "ended_at = 'soon'"), .failed = "leases",
        .named = "lease 5 has a value that cannot be"},
    {"a lease is lost in the middle", "DELETE FROM leases WHERE id = 2", .failed = "leases",
        .named = "lease 3 comes after a gap: there is no 2"},
    {"the lease before one that goes on is lost",
        MACHINE(2, "lease_id = 9") TICKET(5, "first_lease_id = 10") "UPDATE pool SET next_lease_id = 10",
        .failed = "leases", .named = "lease 9 comes after a gap: there is no 8"},
    {"a lease that goes on is lost",
        MACHINE(2, "status = 'idle', is_draining = 1, lease_id = NULL, started_at = NULL, due_at = NULL"),
        .failed = "leases", .named = "the next lease is 9, but the last is 7"},
    {"a lease has ended twice", COPY_OF("leases") " WHERE id = 2", .failed = "leases one-holder",
        .named = "lease 2 has ended 2 times"},
    {"a lease that has ended goes on",
        "INSERT INTO leases (id, machine_id, started_at, outcome, ended_at) VALUES (8, 2, 510, 'reset', 600)",
        .failed = "leases one-holder", .named = "lease 8 of machine 2 goes on, but has ended"},
    {"two machines have one lease", MACHINE(2, "lease_id = 7"), .failed = "leases",
        .named = "lease 7 is had by 2 machines at once"},

    /* --- who holds a machine --- */
    {"two users held a machine, one of them still", LEASE(4, "ended_at = 361"), .failed = "one-holder",
        .named = "lease 7 of machine 1 started at 1970-01-01T00:00:00.360Z, but lease 4 ended at "
                 "1970-01-01T00:00:00.361Z"},
    {"two users held a machine", LEASE(5, "ended_at = 331"), .failed = "one-holder",
        .named = "lease 6 of machine 2 started at 1970-01-01T00:00:00.330Z, but lease 5 ended at "},
    {"a machine was given to the next user when it was taken",
        LEASE(6, "machine_id = 1, started_at = 345") "UPDATE purchase_log SET user_id = ' machine 1', nth = "
                                                     "4 WHERE id = 17;" MACHINE(1, "usage_count = 2")
                                                         MACHINE(2, "usage_count = 0")
                                                             LEASE(6, "chosen_at = 346, ended_at = 347"),
        .failed = "one-holder",
        .named = "lease 6 of machine 1 started at 1970-01-01T00:00:00.345Z, but lease 4"},

    /* --- how often it was used --- */
    {"a machine was used without a lease", MACHINE(4, "usage_count = 2"), .failed = "usage-count",
        .named = "machine 4 says 2, but has completed 0 leases"},
    {"a completed lease is not counted", LEASE(4, "outcome = 'completed'"), .failed = "usage-count",
        .named = "machine 1 says 1, but has completed 2 leases"},
    {"a lease that was reset is counted", LEASE(6, "outcome = 'reset'"), .failed = "usage-count",
        .named = "machine 2 says 1, but has completed 0 leases"},

    /* --- what machines have sold --- */
    {"a machine has sold without a lease", SELL(12, 5, " machine 1", 4) STOCK(5, 4),
        .failed = "machine-sales",
        .named = "purchase 12 PUR-20261120-0012 of \" machine 1\" has no lease that it was sold by"},
    {"a machine has sold that there never was", SELL(12, 5, " machine 9", 1) STOCK(5, 4),
        .failed = "machine-sales", .named = "of \" machine 9\" has no lease that it was sold by"},
    {"a user begins with a blank", SELL(12, 5, " x", 1) STOCK(5, 4), .failed = "machine-sales",
        .named = "of \" x\" has no lease that it was sold by"},
    {"a user who is called nearly as a machine has bought twice",
        SELL(12, 2, " machine 1x",
            1) "UPDATE purchase_log SET user_id = ' machine 1x', nth = 2 WHERE id = 11;" STOCK(2,
            3) "UPDATE products SET per_user_limit = 1 WHERE id = 2;"
               "DELETE FROM purchase_log WHERE id IN (7, 9, 10);" STOCK(2, 6),
        .failed = "machine-sales no-duplicate-buyer unique-buyers",
        .named = "of \" machine 1x\" is purchase 2 of this user, who may have 1"},
    {"another machine has sold it", "UPDATE purchase_log SET user_id = ' machine 4' WHERE id = 17",
        .failed = "machine-sales",
        .named = "purchase 17 PUR-20261120-0017 of \" machine 4\" has no lease that it was sold by"},
    {"a lease says another product", LEASE(6, "product_id = 6"), .failed = "machine-sales",
        .named = "purchase 17 PUR-20261120-0017 of \" machine 2\" has no lease that it was sold by"},
    {"one of two units is lost and the books are cooked",
        "DELETE FROM purchase_log WHERE id = 14; UPDATE purchase_log SET nth = 2 WHERE id = 16;" STOCK(5, 6),
        .failed = "machine-sales", .named = "lease 1 of machine 1 has bought 2, but 1 of them are there"},
    {"all that a lease has bought is lost and the books are cooked",
        "DELETE FROM purchase_log WHERE id = 17;" STOCK(5, 6), .failed = "machine-sales",
        .named = "lease 6 of machine 2 has bought 1, but 0 of them are there"},
    {"what a lease that goes on has bought is lost and the books are cooked",
        "DELETE FROM purchase_log WHERE id = 19; UPDATE products SET initial_stock = 1 WHERE id = 6",
        .failed = "machine-sales", .named = "lease 7 of machine 1 has bought 2, but 1 of them are there"},
    {"two leases have bought one unit",
        LEASE(4, "purchase_id = 14") "DELETE FROM purchase_log WHERE id = 16;" STOCK(5, 6),
        .failed = "machine-sales",
        .named = "lease 4 of machine 1 has bought purchase 14, which lease 1 has bought"},
    {"the units of a machine have a gap", "UPDATE purchase_log SET nth = 4 WHERE id = 16",
        .failed = "units-in-order",
        .named =
            "purchase 16 PUR-20261120-0016 of \" machine 1\" is called unit 4 of this user and should be 3"},
    {"a user has two units of what machines sell",
        "UPDATE purchase_log SET user_id = 'e1', nth = 2 WHERE id = 16;"
        "DELETE FROM leases WHERE id = 4; UPDATE tickets SET state = 'left', machine_id = NULL WHERE id = "
        "1;" LEASE(5, "id = 4, ticket_id = NULL") LEASE(6, "id = 5") MACHINE(1, "lease_id = 6")
            MACHINE(2, "lease_id = 7") TICKET(3, "state = 'left', machine_id = NULL, end_lease_id = 5")
                TICKET(2, "end_lease_id = 4") TICKET(3, "first_lease_id = 5")
                    TICKET(5, "first_lease_id = 8") "UPDATE pool SET next_lease_id = 8",
        .failed = "no-duplicate-buyer unique-buyers",
        .named = "purchase 16 PUR-20261120-0016 of \"e1\" is purchase 2 of this user, who may have 1"},
    {"a sale that never went on is sold out", "UPDATE products SET updated_at = 999 WHERE id = 7",
        .failed = "sale-state", .named = "product 7 G is sold out, but never had a unit"},

    /* --- tickets --- */
    {"a ticket has a state of its own", TICKET(4, "state = 'lost'"), .failed = "tickets",
        .named = "ticket 4 has no such state: lost"},
    {"a ticket that waits has ended", TICKET(5, "ended_at = 530"), .failed = "tickets",
        .named = "ticket 5 waits, but has ended"},
    {"a ticket that left has not ended", TICKET(2, "ended_at = NULL"), .failed = "tickets",
        .named = "ticket 2 is left, but has not ended"},
    {"a ticket that left has a machine", TICKET(2, "machine_id = 1"), .failed = "tickets",
        .named = "ticket 2 is left, but has machine 1"},
    {"a ticket that was served has no machine", TICKET(1, "machine_id = NULL"), .failed = "tickets",
        .named = "ticket 1 is served, but has no machine"},
    {"a ticket ended before it was made", TICKET(4, "end_lease_id = 5"), .failed = "tickets",
        .named = "ticket 4 ended before it was made: at lease 5, from lease 6"},
    {"a ticket was made after all leases", TICKET(5, "first_lease_id = 10"), .failed = "tickets",
        .named = "ticket 5 speaks of a lease that there is not yet"},
    {"a ticket was made before the one before", TICKET(4, "first_lease_id = 4, end_lease_id = 4"),
        .failed = "tickets", .named = "ticket 4 was made at lease 4, but the one before later"},
    {"a ticket is lost in the middle", "DELETE FROM tickets WHERE id = 4", .failed = "tickets",
        .named = "ticket 5 comes after a gap: there is no 4"},
    {"the last ticket is lost", "UPDATE pool SET next_ticket_id = 7", .failed = "tickets",
        .named = "the next ticket is 7, but the last is 5"},
    {"a ticket is there twice", COPY_OF("tickets") " WHERE id = 4", .failed = "tickets",
        .named = "ticket 4 is there 2 times"},
    {"a ticket is of no kind", TICKET(4, "is_attached = 'half'"), .failed = "tickets",
        .named = "ticket 4 has a value that cannot be"},

    /* --- who was served --- */
    {"a ticket was served with a lease of nobody who waited", LEASE(5, "ticket_id = NULL"),
        .failed = "served-tickets",
        .named = "ticket 3 was served with lease 5, which was given to nobody who waited"},
    {"a lease was given to a ticket that left", LEASE(6, "ticket_id = 2"), .failed = "served-tickets",
        .named = "lease 6 was given to ticket 2, which is left"},
    {"a lease was given to a ticket that there never was", MACHINE(2, "ticket_id = 9"),
        .failed = "served-tickets", .named = "lease 8 was given to ticket 9, which does not exist"},
    {"a ticket has two leases", LEASE(6, "ticket_id = 1"), .failed = "served-tickets",
        .named = "lease 6 was given to ticket 1, which was served with lease 4"},
    {"a ticket was served with another machine", TICKET(1, "machine_id = 2"), .failed = "served-tickets",
        .named = "ticket 1 was served with lease 4 of machine 2, which is one of machine 1"},
    {"a ticket was served with a lease that was lost", "DELETE FROM leases WHERE id = 5",
        .failed = "leases served-tickets", .named = "ticket 3 was served with lease 5, which does not exist"},

    /* --- the line --- */
    {"who did not wait was served before who waited",
        LEASE(4, "ticket_id = NULL") TICKET(1, "state = 'left', machine_id = NULL, end_lease_id = 5"),
        .failed = "nobody-overtaken",
        .named = "lease 4 of machine 1 was given to nobody who waited, while ticket 1 waited"},
    {"who came later was served first",
        LEASE(4, "ticket_id = 2") TICKET(1, "state = 'left', machine_id = NULL, end_lease_id = 5")
            TICKET(2, "state = 'served', machine_id = 1, end_lease_id = 4"),
        .failed = "nobody-overtaken",
        .named = "ticket 2 was served with lease 4, but one before it waited until lease 4"},
    {"who came later was served, and the first still waits",
        TICKET(2, "state = 'waiting', end_lease_id = NULL, ended_at = NULL") LEASE(6, "ticket_id = 4")
            TICKET(4, "state = 'served', machine_id = 2") MACHINE(2, "ticket_id = 5")
                TICKET(5, "state = 'served', machine_id = 2, first_lease_id = 8, end_lease_id = 8, ended_at "
                          "= 510") "UPDATE machines SET ticket_id = 6 WHERE id = 1; INSERT INTO tickets "
                                   "VALUES (6, 0, 'left', 9000, "
                                   "9, 9, NULL, 520, 530); UPDATE pool SET next_ticket_id = 7; UPDATE "
                                   "machines SET ticket_id = "
                                   "NULL WHERE id = 1",
        .failed = "nobody-overtaken", .named = "but one before it waited until lease 8"},
    {"a machine was given to who did not wait, while somebody waits", TICKET(5, "first_lease_id = 8"),
        .failed = "nobody-overtaken",
        .named = "lease 8 of machine 2 was given to nobody who waited, while ticket 5 waited"},
    {"somebody waits while a machine is idle", MACHINE(4, "is_draining = 0"), .failed = "line-moves",
        .named = "machine 4 is idle, while ticket 5 waits"},

    /* --- numbers --- */
    {"nobody knows which lease comes next", "DELETE FROM pool", .failed = "sequences",
        .named = "there are 0 rows that say which machine, lease and ticket come next"},
    {"two rows know which lease comes next", COPY_OF("pool"), .failed = "sequences",
        .named = "there are 2 rows that say which machine, lease and ticket come next"},
    {"the next machine is no number", "UPDATE pool SET next_machine_id = 'x'", .failed = "sequences",
        .named = "the next machine, lease or ticket is no number above 0"},
    {"the id of a machine will be given out again", "UPDATE pool SET next_machine_id = 4",
        .failed = "sequences", .named = "machine 4 has an id that comes again: the next one is 4"},
    {"the id of a machine that is gone will be given out again",
        "DELETE FROM machines WHERE id = 4; UPDATE pool SET next_machine_id = 3", .failed = "sequences",
        .named = "machine 3, which had lease 3, comes again: the next one is 3"},
    {"the number of a lease that goes on will be given out again",
        "UPDATE pool SET next_lease_id = 8; DELETE FROM tickets WHERE id = 5; UPDATE pool SET next_ticket_id "
        "= 5",
        .failed = "sequences", .named = "lease 8 comes again: the next one is 8"},
    {"the number of a ticket will be given out again", "UPDATE pool SET next_ticket_id = 5",
        .failed = "sequences", .named = "ticket 5 comes again: the next one is 5"},
    {"what a machine has sold will be sold again",
        "UPDATE sequences SET next_value = 22 WHERE name = 'purchases'", .failed = "sequences",
        .named = "purchase id 22, which lease 3 has bought, comes again: the next one is 22"},
};

const size_t machine_corruption_count = sizeof machine_corruptions / sizeof machine_corruptions[0];

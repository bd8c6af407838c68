/* SPDX-License-Identifier: Apache-2.0 */
/* Ways of spoiling wallets and the transfers of their coins, in the store that market_store_make makes. */
#include "verify_corruptions.h"

#define WALLET(account, what) "UPDATE wallets SET " what " WHERE account_id = " #account ";"
#define TRANSFER(id, what) "UPDATE transfers SET " what " WHERE id = " #id ";"
#define ADD_CREDIT(id, to, previous, amount, balance, reference)                                    \
    "INSERT INTO transfers VALUES (" #id ", 'credit', NULL, " #to ", NULL, " #previous ", " #amount \
    ", NULL, " #balance ", NULL, NULL, '" reference "', zeroblob(16), 1795218499000);"
#define LOST(purchase) "DELETE FROM purchase_log WHERE id = " #purchase ";"
#define STOCK(stock) "UPDATE products SET stock = " #stock " WHERE id = 8;"

const struct corruption wallet_corruptions[] = {
    /* --- who has which wallet --- */
    {"two accounts have one key", LOOSE("wallets") WALLET(5, "public_key = x'" KEY_C "'"),
        .failed = "wallets", .named = "the wallet of account 5 has the key of account 3"},
    {"an account has two wallets",
        LOOSE("wallets") "INSERT INTO wallets SELECT * FROM wallets WHERE account_id = 5",
        .failed = "wallets", .named = "account 5 has 2 wallets"},
    {"a wallet belongs to nobody", "DELETE FROM accounts WHERE id = 5", .failed = "wallets",
        .named = "the wallet of account 5 has no account"},
    {"an account is named by another key",
        "UPDATE accounts SET username = ' key x', username_key = ' key x' WHERE "
        "id = 5",
        .failed = "wallets", .named = "the wallet of account 5 has an account with the name \" key x\""},
    {"somebody can log in to a wallet's account with a password",
        "UPDATE accounts SET password_hash = (SELECT password_hash FROM accounts WHERE id = 1) WHERE id = 5",
        .failed = "wallets", .named = "the wallet of account 5 has an account with a password"},
    {"an account is named by a key and has no wallet", "DELETE FROM wallets WHERE account_id = 5",
        .failed = "wallets", .named = "account 5 is named by a key, but has no wallet"},
    {"a key is too short", WALLET(5, "public_key = x'ee'"), .failed = "wallets",
        .named = "the wallet of account 5 has a value that cannot be"},
    {"two wallets have one address, in other letters",
        LOOSE("accounts") "UPDATE accounts SET email = 'CID@x.example', email_key = 'cid@x.example' WHERE id "
                          "= 4",
        .failed = "accounts", .named = "account 4 has the address of account 3"},
    {"an account with a name has no password", "UPDATE accounts SET password_hash = '' WHERE id = 1",
        .failed = "accounts", .named = "account 1 has a password that is not kept as argon2id"},

    /* --- transfers --- */
    {"a transfer is of a kind of its own", TRANSFER(3, "kind = 'gift'"), .failed = "transfers",
        .named = "transfer 3 is of no such kind: gift"},
    {"a credit comes out of the shop", TRANSFER(3, "kind = 'spend'"), .failed = "transfers",
        .named = "transfer 3 is a spend between the wrong ones"},
    {"nothing is moved", ADD_CREDIT(9, 5, NULL, 0, 0, "nothing") WALLET(5, "last_transfer_id = 9"),
        .failed = "transfers", .named = "transfer 9 moves 0.00"},
    {"a spend says what the shop had before", TRANSFER(4, "to_previous_id = 1"), .failed = "transfers",
        .named = "transfer 4 does not say what each of its wallets had"},
    {"a transfer has bought something", TRANSFER(5, "product_id = 8"), .failed = "transfers",
        .named = "transfer 5 is a transfer that does not say what was bought, or should not"},
    {"an opening was named", TRANSFER(1, "nonce = 'x'"), .failed = "transfers",
        .named = "transfer 1 is an opening, but was named"},
    {"a nonce is longer than it may be", TRANSFER(4, "nonce = printf('%065d', 0)"), .failed = "transfers",
        .named = "transfer 4 is not named as it must be"},
    {"a fingerprint is lost", TRANSFER(4, "fingerprint = NULL"), .failed = "transfers",
        .named = "transfer 4 is not named as it must be"},
    {"a transfer was made soon", TRANSFER(5, "created_at = 'soon'"), .failed = "transfers",
        .named = "transfer 5 has a value that cannot be"},
    {"an account pays itself", TRANSFER(5, "to_account = 3"),
        .failed = "transfers wallet-sums transfer-chains",
        .named = "transfer 5 goes from account 3 to itself"},
    {"a transfer is there twice",
        LOOSE("transfers") "INSERT INTO transfers SELECT * FROM transfers WHERE id = 1",
        .failed = "transfers openings wallet-sums coins-issued transfer-chains",
        .named = "transfer 1 is there 2 times"},
    {"the ids of transfers will be given out again", "DELETE FROM sequences WHERE name = 'transfers'",
        .failed = "sequences", .named = "the sequence transfers is missing or below 1"},
    {"the purchase of a spend will be given out again", TRANSFER(8, "purchase_id = 40"),
        .failed = "sequences",
        .named = "purchase id 40, which spend 8 has paid for, comes again: the next one is 27"},

    /* --- names and openings --- */
    {"a payer has used a nonce twice", TRANSFER(7, "nonce = 'n-1'"), .failed = "nonces",
        .named = "transfer 7 of account 3 has the nonce \"n-1\" of transfer 4"},
    {"a reference has two credits",
        ADD_CREDIT(9, 5, NULL, 1, 1, "gift") WALLET(5, "balance_minor = 1, last_transfer_id = 9"),
        .failed = "nonces", .named = "transfer 9 has the reference \"gift\" of credit 3"},
    {"a wallet is opened again", TRANSFER(3, "kind = 'opening', nonce = NULL, fingerprint = NULL"),
        .failed = "openings",
        .named = "transfer 3 opens the wallet of account 4, which had transfer 2 before"},
    {"a wallet is opened twice",
        TRANSFER(3, "kind = 'opening', nonce = NULL, fingerprint = NULL, to_previous_id = NULL"),
        .failed = "openings transfer-chains",
        .named = "transfer 3 opens the wallet of account 4, which transfer 2 opens"},

    /* --- balances and sums --- */
    {"a wallet has spent more than it had",
        TRANSFER(1, "amount_minor = 4000, to_balance_minor = 4000") TRANSFER(4, "from_balance_minor = 2750")
            TRANSFER(5, "from_balance_minor = 750") TRANSFER(7, "from_balance_minor = -500")
                WALLET(3, "balance_minor = -500"),
        .failed = "balances", .named = "the wallet of account 3 has -5.00"},
    {"a wallet had less than nothing in between",
        TRANSFER(4, "amount_minor = 10001, from_balance_minor = -1") TRANSFER(5,
            "from_account = 4, to_account = "
            "3, from_previous_id = 3, to_previous_id = 4, from_balance_minor = 8500, to_balance_minor = 1999")
            TRANSFER(6, "from_balance_minor = 7250") TRANSFER(7, "from_balance_minor = 749")
                TRANSFER(8, "from_balance_minor = 6000") WALLET(3, "balance_minor = 749")
                    WALLET(4, "balance_minor = 6000"),
        .failed = "balances", .named = "transfer 4 leaves account 3 with -0.01"},
    {"a wallet holds more than a client can read",
        ADD_CREDIT(9, 5, NULL, 999999999999999, 999999999999999, "much") ADD_CREDIT(10, 5, 9, 1,
            1000000000000000, "one") WALLET(5, "balance_minor = 1000000000000000, last_transfer_id = 10"),
        .failed = "balances", .named = "the wallet of account 5 has 10000000000000.00"},
    {"a coin has gone from one wallet to another by itself",
        WALLET(3, "balance_minor = 5400") WALLET(4, "balance_minor = 10100"), .failed = "wallet-sums",
        .named = "the wallet of account 3 has 54.00, but its transfers come to 55.00"},
    {"a coin has come from nowhere", WALLET(5, "balance_minor = 100"), .failed = "wallet-sums coins-issued",
        .named = "205.00 were issued, but 156.00 are in wallets and 50.00 were spent"},
    {"coins were issued to nobody", ADD_CREDIT(9, 77, NULL, 100, 100, "lost"),
        .failed = "coins-issued transfer-chains",
        .named = "transfer 9 is one of account 77, which has no wallet"},

    /* --- chains --- */
    {"a history leaves a transfer out", TRANSFER(7, "from_previous_id = 4, from_balance_minor = 7500"),
        .failed = "transfer-chains", .named = "transfer 5 is not in the history of account 3"},
    {"a wallet has forgotten its last transfer", WALLET(3, "last_transfer_id = 5"),
        .failed = "transfer-chains", .named = "transfer 7 is not in the history of account 3"},
    {"a wallet had a transfer of another one last", WALLET(5, "last_transfer_id = 8"),
        .failed = "transfer-chains",
        .named = "the wallet of account 5 had transfer 8 last, which is not one of its own"},
    {"a history leads to a transfer of another wallet", TRANSFER(7, "from_previous_id = 6"),
        .failed = "transfer-chains",
        .named = "transfer 7 of account 3 comes after transfer 6, which is not one of its own"},
    {"a history goes round", TRANSFER(4, "from_previous_id = 7"), .failed = "transfer-chains",
        .named = "transfer 4 of account 3 leads back to transfer 7"},
    {"a balance afterwards is another", TRANSFER(5, "to_balance_minor = 12501"), .failed = "transfer-chains",
        .named = "transfer 6 of account 4 does not go on from what transfer 5 has left"},
    {"a history begins with coins from nowhere", TRANSFER(1, "to_balance_minor = 10001"),
        .failed = "transfer-chains",
        .named = "transfer 1 of account 3 does not go on from what an empty wallet holds"},

    /* --- spends and purchases --- */
    {"a purchase that was paid for is lost and the books are cooked", LOST(26) STOCK(3), .failed = "spends",
        .named = "spend 7 of account 3 has no purchase: there is no 26"},
    {"the debits outlasted a crash and the purchases did not",
        LOST(24) LOST(25) LOST(26) STOCK(5) "UPDATE products SET updated_at = 1 WHERE id = 8",
        .failed = "spends", .named = "spend 4 of account 3 has no purchase: there is no 24"},
    {"the purchase outlasted a crash and the debit did not",
        "DELETE FROM transfers WHERE id = 7;" WALLET(3, "balance_minor = 6750, last_transfer_id = 5"),
        .failed = "spends", .named = "purchase 26 PUR-20261120-0026 of \" key " KEY_C "\" was not paid for"},
    {"a purchase was made by another key", "UPDATE purchase_log SET user_id = ' key " KEY_E "' WHERE id = 25",
        .failed = "spends",
        .named = "spend 6 of account 4 has purchase 25 PUR-20261120-0025 of \" key " KEY_E
                 "\", which is not the payer"},
    {"a purchase that was paid for is a user's", "UPDATE purchase_log SET user_id = 'w1' WHERE id = 25",
        .failed = "spends", .named = "PUR-20261120-0025 of \"w1\", which is not the payer"},
    {"another product was paid for", TRANSFER(6, "product_id = 2"), .failed = "spends",
        .named = "of product 8, but paid for product 2"},
    {"a purchase was paid for later", TRANSFER(6, "created_at = created_at + 1"), .failed = "spends",
        .named = ", which was made at another time"},
    {"two spends have one purchase",
        TRANSFER(8, "product_id = 8, purchase_id = 25, created_at = 1795218446000"), .failed = "spends",
        .named = "spend 8 has the purchase of spend 6: 25"},
    {"a user is called nearly as a wallet", SELL(12, 8, " key x", 1) STOCK(1), .failed = "spends",
        .named = "purchase 12 PUR-20261120-0012 of \" key x\" was not paid for"},
    {"a user who is called nearly as a wallet has bought twice",
        SELL(12, 8, " key x", 1) SELL(20, 8, " key x", 2)
            STOCK(0) "UPDATE products SET state = 'ENDED', end_reason = "
                     "'SOLD_OUT' WHERE id = 8",
        .failed = "spends no-duplicate-buyer unique-buyers",
        .named = "of \" key x\" is purchase 2 of this user, who may have 1"},
    {"the units of a wallet have a gap", "UPDATE purchase_log SET nth = 3 WHERE id = 26",
        .failed = "units-in-order", .named = "is called unit 3 of this user and should be 2"},
};

const size_t wallet_corruption_count = sizeof wallet_corruptions / sizeof wallet_corruptions[0];

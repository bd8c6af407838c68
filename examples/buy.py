#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Buys the first featured product of a marketplace that has a price and is in stock: a new key registers, signs an
intent, and checks the receipt with the server's key. Needs python3-cryptography.

usage: examples/buy.py [URL]    if not given: http://127.0.0.1:3000
"""
import json
import secrets
import sys
import time
import urllib.error
import urllib.request

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000"


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        sys.exit(f"buy.py: {path}: {refusal.code} {refusal.read().decode()}")
    except OSError as error:
        sys.exit(f"buy.py: {path}: no answer from {URL}: {error}")


def canonical(value):
    """As RFC 8785 writes it, which is what is signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


key = Ed25519PrivateKey.generate()
public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
ask("/api/auth/register", {"email": f"{public_key[:16]}@example.com", "name": "Customer", "public_key": public_key})

on_sale = [each for each in ask("/api/products/featured")["data"] if each["stock"] > 0 and each["price"] > 0]
if not on_sale:
    sys.exit("buy.py: there is nothing to buy: no featured product has a price and is in stock")
product = on_sale[0]
intent = {"action": "spend", "amount": str(product["price"]), "product_id": product["id"],
    "timestamp": int(time.time()), "nonce": secrets.token_hex(16)}
bought = ask("/api/wallet/transact",
    {"intent": intent, "public_key": public_key, "signature": key.sign(canonical(intent)).hex()})

receipt = bought["receipt"]
signature = bytes.fromhex(receipt.pop("signature"))
server_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(ask("/api/keys")["public_key"]))
server_key.verify(signature, canonical(receipt))  # raises when it is not the server's
print(f"bought {product['name']}, order {bought['order_id']}; {bought['new_balance']} MC left; the receipt is signed")
